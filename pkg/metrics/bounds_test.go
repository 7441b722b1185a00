package metrics

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/beskar7/beskar7/pkg/coordinator/bmcqueue"
)

// allowed are the labels that metrics may have, each with why its values are few. A label that names a host, a BMC or an address is
// not among them, and the configuration guide asks for none: its metrics have no such label.
var allowed = map[string]string{
	"namespace":       "the first two hundred are told apart",
	"outcome":         "closed: claimOutcomes, failureLabel, endingLabels",
	"conflict_reason": "closed: conflictReasons",
	"state":           "closed: Options.States",
	"phase":           "closed: Options.Phases, Options.Attempts",
	"reason":          "closed: Options.Failures",
	"kind":            "closed: Options.Kinds",
	"vendor":          "closed: Options.Vendors",
	"verb":            "closed: methods",
	"file":            "closed: mediaFiles",
	"code":            "closed: the status codes of HTTP",
}

func TestNoLabelNamesAHost(t *testing.T) {
	used := map[string]bool{}
	for _, row := range Descriptions() {
		for _, label := range row.Labels {
			if used[label] = true; allowed[label] == "" {
				t.Errorf("%s has the label %s: say in this test why its values are few", row.Name, label)
			}
			for _, word := range []string{"host", "bmc", "address", "endpoint", "machine", "node", "uid", "url"} {
				if strings.Contains(label, word) {
					t.Errorf("%s has the label %s: one series per host", row.Name, label)
				}
			}
		}
	}
	for label := range allowed {
		if !used[label] {
			t.Errorf("no metric has the label %s", label)
		}
	}
}

// TestLabelValuesAreFew calls every method with a thousand values for each of its words, as a bug, a strange BMC or a large fleet might.
func TestLabelValuesAreFew(t *testing.T) {
	r, registry := recorder(t)
	const many = 1000
	for i := range many {
		word := fmt.Sprintf("10.0.%d.%d", i/256, i%256)
		flood(r, word, i)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		values := map[string][]string{}
		for _, m := range family.GetMetric() {
			for _, l := range m.GetLabel() {
				if !slices.Contains(values[l.GetName()], l.GetValue()) {
					values[l.GetName()] = append(values[l.GetName()], l.GetValue())
				}
			}
		}
		for label, all := range values {
			bound := 70 // as there are codes of HTTP
			if label == "namespace" {
				bound = maxNamespaces + 1
			}
			if len(all) > bound {
				t.Errorf("%s has %d values of %s, want at most %d", family.GetName(), len(all), label, bound)
			}
			if label != "namespace" && slices.ContainsFunc(all, func(v string) bool { return strings.HasPrefix(v, "10.0.") }) {
				t.Errorf("%s takes over any value of %s", family.GetName(), label)
			}
		}
	}
}

func flood(r *Recorder, word string, i int) {
	r.ClaimAttempted(word, word, word)
	r.ClaimTook(word, time.Second)
	r.ClaimRetried(word)
	r.SetHosts(map[string]int{word: 1}, map[string]int{word: 1})
	r.PhaseTook(word, time.Second)
	r.ProvisioningFailed(word)
	r.Tried(word, word, bmcqueue.ClassRest, bmcqueue.Failure(i), time.Second, time.Second)
	for _, ending := range []bmcqueue.Ending{bmcqueue.Ending(word), bmcqueue.EndedRefused} {
		r.Ended(word, bmcqueue.ClassRest, ending, bmcqueue.None)
	}
	r.Panicked(word, word, nil)
	r.ClientWaited(word, time.Second)
	r.ClientAsked(word, time.Second)
	r.MediaServed(word, i, 1)
}

// TestWhatIsCountedBeginsAtZero: a rate needs the 0 before the first event, and an alert over what never happened needs the series.
// Left out are histograms of operations by kind and vendor (most pairs never occur), what a namespace begins with its first claim,
// what the client of the API server counts, and the gauges that a round over the fleet sets.
func TestWhatIsCountedBeginsAtZero(t *testing.T) {
	_, registry := recorder(t)
	late := []string{"beskar7_bmc_operation_duration_seconds", "beskar7_bmc_queue_wait_seconds", "beskar7_host_claim_attempts_total",
		"beskar7_host_claim_duration_seconds", "beskar7_host_claim_retries_total", "rest_client_rate_limiter_duration_seconds",
		"rest_client_request_duration_seconds", "beskar7_hosts", "beskar7_hosts_awaiting_attempt"}
	shown := names(t, registry)
	for _, row := range Descriptions() {
		if there, want := slices.Contains(shown, row.Name), !slices.Contains(late, row.Name); there != want {
			t.Errorf("%s is there from the start: %t, want %t", row.Name, there, want)
		}
	}
	r, registry := recorder(t)
	r.ClaimTook("ns", time.Second)
	for _, name := range []string{"beskar7_host_claim_attempts_total", "beskar7_host_claim_retries_total"} {
		if !slices.Contains(names(t, registry), name) {
			t.Errorf("%s does not begin with the first claim of a namespace", name)
		}
	}
}

func names(t *testing.T, registry *prometheus.Registry) []string {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, family := range families {
		all = append(all, family.GetName())
	}
	return all
}
