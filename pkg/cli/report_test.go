package cli

import (
	"encoding/json"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/beskar7/beskar7/pkg/config"
)

const waitSeries = metricCooldowns

var thresholds = map[string]struct {
	queue, success, conflicts, waits, busy float64
	enabled                                bool
	verdicts                               string
	advice                                 []string
}{
	"all well":                                {queue: 25, success: 96, conflicts: 4, verdicts: "ok ok ok"},
	"little to do":                            {queue: 9, verdicts: "optimise ok ok"},
	"at the limits":                           {queue: 40, success: 85, conflicts: 15, waits: 1, verdicts: "ok watch ok", advice: []string{"provisioning.maxQueueSize 50 75", "claimCoordinator.enabled false true"}},
	"queue over 70 %":                         {queue: 36, verdicts: "ok ok ok", advice: []string{"provisioning.maxQueueSize 50 75"}},
	"queue over 80 %":                         {queue: 41, verdicts: "action ok ok", advice: []string{"provisioning.maxQueueSize 50 75"}},
	"conflicts of 10 %":                       {queue: 15, success: 90, conflicts: 10, verdicts: "ok watch ok"},
	"conflicts over 15 %":                     {queue: 15, success: 84, conflicts: 16, verdicts: "ok action ok", advice: []string{"claimCoordinator.enabled false true"}},
	"conflicts in spite of the coordinator":   {queue: 15, success: 84, conflicts: 16, enabled: true, verdicts: "ok action ok"},
	"waits, but no BMC is busy":               {queue: 15, waits: 50, verdicts: "ok ok ok"},
	"waits over 100 an hour and busy BMCs":    {queue: 15, waits: 2, busy: 1, verdicts: "ok ok action", advice: []string{"provisioning.bmcCooldownPeriod 10s 15s"}},
	"waits over 50 an hour and busy BMCs":     {queue: 15, waits: 1, busy: 1, verdicts: "ok ok watch", advice: []string{"provisioning.bmcCooldownPeriod 10s 15s"}},
	"busy BMCs, but nothing waits for longer": {queue: 15, busy: 9, verdicts: "ok ok ok"},
}

// The guide's thresholds, from rates over a window and over all replicas.
func TestTheGuidesThresholds(t *testing.T) {
	for name, c := range thresholds {
		w := newWorld(t)
		for _, series := range []string{successSeries, conflictSeries, waitSeries, busySeries} {
			w.set("a", series, 1000) // a lifetime that must not count
			w.set("b", series, 7)
		}
		w.set("b", "process_start_time_seconds", 1)
		look := func() (all []scrape) {
			for _, replica := range []string{"a", "b"} {
				one, err := parseScrape(replica, []byte(w.metrics(replica)))
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, one)
			}
			return all
		}
		before := look()
		w.set("a", metricQueue, c.queue)
		w.add("a", conflictSeries, c.conflicts)
		w.add("a", busySeries, c.busy)
		w.set("b", "process_start_time_seconds", 1000) // it began anew
		w.set("b", successSeries, c.success)
		w.set("b", conflictSeries, 0)
		w.set("b", busySeries, 0)
		w.set("b", waitSeries, c.waits)
		settings := config.Defaults()
		settings.ClaimCoordinator.Enabled = c.enabled
		j := judge(window{before: before, after: look(), length: time.Minute}, settings)
		var verdicts, advised []string
		for _, m := range j.Measures {
			verdicts = append(verdicts, m.Verdict)
		}
		for _, a := range j.Advice {
			advised = append(advised, a.Key+" "+a.From+" "+a.To)
		}
		if strings.Join(verdicts, " ") != c.verdicts || strings.Join(advised, ",") != strings.Join(c.advice, ",") {
			t.Errorf("%s: %v %v, want %s %v\n%+v", name, verdicts, advised, c.verdicts, c.advice, j)
		}
	}
}

func TestReportOfTheInstalledManager(t *testing.T) {
	w := installed(t, map[string]string{"provisioning.maxQueueSize": "40"})
	w.set("a", metricQueue, 36)
	w.tick = func(time.Duration) { w.add("a", conflictSeries, 4); w.add("b", successSeries, 6) }
	out := w.run(0, "config", "report", "--window=2m")
	w.has(out, "2 replicas, window 2m0s", "[action]  queue utilisation  90 % (36 of 40)", "40 % (4 of 10 attempts)",
		`kubectl -n beskar7-system patch configmap beskar7-config --type merge -p '{"data":{"provisioning.maxQueueSize":"60"}}'`,
		`{"op":"add","path":"/spec/template/spec/containers/1/args/-","value":"--enable-claim-coordinator-leader-election=true"}`)
	w.tick = func(time.Duration) {}
	w.has(w.run(0, "config", "report"), "no claim was tried")
	w = installed(t, nil)
	w.set("a", metricQueue, 45)
	w.has(w.run(0, "config", "report"), "kubectl -n beskar7-system create configmap beskar7-config --from-literal=provisioning.maxQueueSize=75")
	// What is to be run goes where the metrics came from.
	w.has(w.run(0, "config", "report", "--context=it's blue", "--kubeconfig=k"), `kubectl --kubeconfig 'k' --context 'it'\''s blue' -n beskar7-system create configmap`)
	w.run(2, "hosts", "explain", "m1", "--algorithm=random")
	w.has(w.err.String(), "--algorithm is one of [deterministic round-robin priority]")
}

// During a roll-out a Pod that is listed may be gone, or not serve yet: that is no reason to give up, for a while.
func TestReportDuringARollOut(t *testing.T) {
	w := installed(t, nil)
	w.deaf = 3
	w.has(w.run(0, "config", "report"), "2 replicas")
	w.deaf = 1000
	began := w.now
	w.run(1, "config", "report")
	w.has(w.err.String(), "Pod a is gone")
	if waited := w.now.Sub(began); waited > 30*time.Second || w.deaf < 900 {
		t.Errorf("gave up after %s", waited)
	}
}

func TestReportOfAddressesAndSavedScrapes(t *testing.T) {
	w := newWorld(t)
	w.tick = func(time.Duration) { w.add("a", conflictSeries, 1); w.add("b", successSeries, 1) }
	a, b := w.serve("a"), w.serve("b")
	var got struct {
		judgement
		Commands []string
	}
	settings := file(t, "s.yaml", "kind: ConfigMap\nmetadata: {name: beskar7-config}\ndata: {claimCoordinator.enabled: \"true\"}\n")
	text := w.run(0, "config", "report", "-o=json", "--url", a.URL+"/metrics", "--url", b.URL+"/metrics", "--settings", settings)
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(text, "null") {
		t.Errorf("a list without items is not a list:\n%s", text)
	}
	if got.Replicas != 2 || got.Measures[1].Value != 50 || len(got.Advice) != 0 || len(got.Commands) != 0 {
		t.Errorf("%+v", got)
	}
	before, after := file(t, "1", w.metrics("a")), ""
	w.add("a", conflictSeries, 3)
	w.add("a", successSeries, 9)
	after = file(t, "2", w.metrics("a"))
	w.has(w.run(0, "config", "report", "--scrape", before, "--scrape", after, "--window=5m"), "25 % (3 of 12 attempts)", "window 5m0s", `patch deployment`)
	w.has(w.run(0, "config", "report", "--scrape", after), "unknown: one look at counters says nothing of now", "queue utilisation")
	w.run(1, "config", "report", "--scrape", settings)
	w.run(1, "config", "report", "--url", a.URL+"/nothing")
	w.has(w.err.String(), "404")
	w.run(2, "config", "report", "--window=0")
}

// Where metrics are not for everybody, the report shows a token: of metrics-reader to Pods, of a file to addresses.
func TestReportWithAToken(t *testing.T) {
	guarded := deployment()
	guarded.Spec.Template.Spec.Containers[1].Args = []string{"--leader-elect=true", "--diagnostics-address=:8443"}
	started := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: metricsAccount}}
	w := newWorld(t, guarded, pod("a", started), pod("b", started), account)
	w.has(w.run(0, "config", "report"), "2 replicas")
	door := w.guard(w.serve("a"))
	token := file(t, "token", "fake-token\n")
	ca := file(t, "ca.crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: door.Certificate().Raw})))
	w.run(0, "config", "report", "--url", door.URL+"/metrics", "--token-file", token, "--ca-file", ca)
	w.run(0, "config", "report", "--url", door.URL+"/metrics", "--token-file", token, "--insecure-skip-verify")
	w.run(1, "config", "report", "--url", door.URL+"/metrics", "--ca-file", ca)
	w.has(w.err.String(), "401", "--token-file")
	w.run(1, "config", "report", "--url", door.URL+"/metrics", "--token-file", token)
	w.has(w.err.String(), "certificate")
	w = newWorld(t, guarded, pod("a", started)) // no account
	w.run(1, "config", "report")
	w.has(w.err.String(), metricsAccount)
}
