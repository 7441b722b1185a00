package metrics

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/beskar7/beskar7/pkg/coordinator"
	"github.com/beskar7/beskar7/pkg/coordinator/bmcqueue"
)

// The product's side of this package knows no Kubernetes, so that this is said in a test.
var (
	_ coordinator.Observer        = (*Recorder)(nil)
	_ coordinator.ArbiterObserver = (*Recorder)(nil)
)

// sets are short, so that what is shown can be compared as a whole.
var sets = Options{Kinds: []string{"InsertMedia"}, Vendors: []string{"dell"}, States: []string{"Available", "Claimed"}, Phases: []string{"Claimed"},
	Attempts: []string{"Parked"}, Failures: []string{"BootOverdue"}}

func recorder(t *testing.T) (*Recorder, *prometheus.Registry) {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	r, err := New(registry, sets)
	if err != nil {
		t.Fatal(err)
	}
	return r, registry
}

// exercise makes every metric show at least one series.
func exercise(r *Recorder) {
	r.ClaimAttempted("ns", "success", "")
	r.ClaimAttempted("ns", "conflict", "host_taken")
	r.ClaimAttempted("ns", "made up", "made up")
	r.ClaimTook("ns", 20*time.Millisecond)
	r.ClaimRetried("ns")
	r.SetHosts(map[string]int{"Available": 3, "made up": 1}, map[string]int{"Parked": 2})
	r.PhaseTook("Claimed", 3*time.Second)
	r.PhaseTook("Available", time.Hour)
	r.ProvisioningFailed("BootOverdue")
	r.ProvisioningFailed("made up")
	r.Tried("InsertMedia", "dell", bmcqueue.ClassProvision, bmcqueue.Busy, time.Second, 2*time.Second)
	r.Tried("made up", "10.0.0.1", bmcqueue.ClassRest, bmcqueue.None, time.Second, time.Second)
	r.Tried(pollKind, "", bmcqueue.ClassRest, bmcqueue.None, time.Hour, time.Second)
	r.Ended("InsertMedia", bmcqueue.ClassProvision, bmcqueue.EndedDisplaced, bmcqueue.None)
	r.Ended("InsertMedia", bmcqueue.ClassProvision, bmcqueue.EndedSucceeded, bmcqueue.None)
	r.Panicked("ns/h", "InsertMedia", nil)
	r.CooldownWaited()
	r.ClientWaited("GET", 50*time.Millisecond)
	r.ClientAsked("MADE UP", 5*time.Millisecond)
	r.SetQueue(4, 50, 2)
	r.SetDriver(true)
	r.ArbiterElected()
	r.ArbiterLeads(true)
	r.ArbiterQueue(3)
	r.ArbiterProcessed(time.Millisecond)
	r.MediaServed("image", 206, 1000)
	r.MediaServed("../../etc/passwd", 9999, -5)
}

func TestMetricsAreCleanAndAllShow(t *testing.T) {
	r, registry := recorder(t)
	exercise(r)
	problems, err := testutil.GatherAndLint(registry)
	if err != nil || len(problems) > 0 {
		t.Fatalf("promlint: %v %v", problems, err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]bool{}
	for _, family := range families {
		shown[family.GetName()] = true
	}
	for _, row := range Descriptions() {
		if !shown[row.Name] {
			t.Errorf("%s shows nothing", row.Name)
		}
	}
	if len(shown) != len(Descriptions()) {
		t.Errorf("%d metrics, %d described", len(shown), len(Descriptions()))
	}
	if problems, _ := promlint.New(strings.NewReader("# TYPE bad_metric counter\nbad_metric 1\n")).Lint(); len(problems) == 0 {
		t.Error("the linter finds nothing in a bad metric")
	}
}

// exercised is what exercise leaves, of the metrics that count.
const exercised = `
# HELP beskar7_bmc_operations_total Runs of BMC operations and polls by outcome, and operations that ended without a run.
# TYPE beskar7_bmc_operations_total counter
beskar7_bmc_operations_total{kind="InsertMedia",outcome="busy"} 1
beskar7_bmc_operations_total{kind="InsertMedia",outcome="displaced"} 1
beskar7_bmc_operations_total{kind="InsertMedia",outcome="login_failed"} 0
beskar7_bmc_operations_total{kind="InsertMedia",outcome="ok"} 0
beskar7_bmc_operations_total{kind="InsertMedia",outcome="other"} 0
beskar7_bmc_operations_total{kind="InsertMedia",outcome="refused"} 0
beskar7_bmc_operations_total{kind="InsertMedia",outcome="superseded"} 0
beskar7_bmc_operations_total{kind="InsertMedia",outcome="unreachable"} 0
beskar7_bmc_operations_total{kind="InsertMedia",outcome="withdrawn"} 0
beskar7_bmc_operations_total{kind="Poll",outcome="busy"} 0
beskar7_bmc_operations_total{kind="Poll",outcome="login_failed"} 0
beskar7_bmc_operations_total{kind="Poll",outcome="ok"} 1
beskar7_bmc_operations_total{kind="Poll",outcome="other"} 0
beskar7_bmc_operations_total{kind="Poll",outcome="unreachable"} 0
beskar7_bmc_operations_total{kind="other",outcome="ok"} 1
# HELP beskar7_host_claim_attempts_total Tries to claim a host: success, conflict (lost to someone else or to a change), no_host, error.
# TYPE beskar7_host_claim_attempts_total counter
beskar7_host_claim_attempts_total{conflict_reason="",namespace="ns",outcome="error"} 0
beskar7_host_claim_attempts_total{conflict_reason="",namespace="ns",outcome="no_host"} 0
beskar7_host_claim_attempts_total{conflict_reason="",namespace="ns",outcome="success"} 1
beskar7_host_claim_attempts_total{conflict_reason="host_changed",namespace="ns",outcome="conflict"} 0
beskar7_host_claim_attempts_total{conflict_reason="host_gone",namespace="ns",outcome="conflict"} 0
beskar7_host_claim_attempts_total{conflict_reason="host_taken",namespace="ns",outcome="conflict"} 1
beskar7_host_claim_attempts_total{conflict_reason="machine_changed",namespace="ns",outcome="conflict"} 0
beskar7_host_claim_attempts_total{conflict_reason="other",namespace="ns",outcome="error"} 1
# HELP beskar7_media_bytes_total Bytes that the media server sent, by kind of file.
# TYPE beskar7_media_bytes_total counter
beskar7_media_bytes_total{file="image"} 1000
beskar7_media_bytes_total{file="composed"} 0
beskar7_media_bytes_total{file="other"} 0
beskar7_media_bytes_total{file="seed"} 0
# HELP beskar7_media_requests_total Requests to the media server by HTTP status code.
# TYPE beskar7_media_requests_total counter
beskar7_media_requests_total{code="200"} 0
beskar7_media_requests_total{code="206"} 1
beskar7_media_requests_total{code="404"} 0
beskar7_media_requests_total{code="502"} 0
beskar7_media_requests_total{code="503"} 0
beskar7_media_requests_total{code="other"} 1
# HELP beskar7_provisioning_queue_length Requested BMC operations that wait for their turn.
# TYPE beskar7_provisioning_queue_length gauge
beskar7_provisioning_queue_length 4
# HELP beskar7_provisioning_failures_total Boots that ended without a sign of life in time, or with a failed bootstrap.
# TYPE beskar7_provisioning_failures_total counter
beskar7_provisioning_failures_total{reason="BootOverdue"} 1
beskar7_provisioning_failures_total{reason="other"} 1
# HELP beskar7_hosts PhysicalHosts by the state in their status, as counted by the replica that drives BMCs.
# TYPE beskar7_hosts gauge
beskar7_hosts{state="Available"} 3
beskar7_hosts{state="Claimed"} 0
beskar7_hosts{state="other"} 1
`

func TestWhatIsRecorded(t *testing.T) {
	r, registry := recorder(t)
	exercise(r)
	names := []string{"beskar7_bmc_operations_total", "beskar7_host_claim_attempts_total", "beskar7_media_bytes_total",
		"beskar7_media_requests_total", "beskar7_provisioning_queue_length", "beskar7_provisioning_failures_total", "beskar7_hosts"}
	if err := testutil.GatherAndCompare(registry, strings.NewReader(exercised), names...); err != nil {
		t.Fatal(err)
	}
	if n := testutil.ToFloat64(r.configValid); n != 1 {
		t.Errorf("config valid %v at the start", n)
	}
	if n := testutil.CollectAndCount(r.phaseDuration); n != 1 {
		t.Errorf("%d phases, want the one of provisioning", n)
	}
	r.SetHosts(map[string]int{"Claimed": 1}, map[string]int{})
	if was, is := testutil.ToFloat64(r.hosts.WithLabelValues("Available")), testutil.ToFloat64(r.hosts.WithLabelValues("Claimed")); was != 0 || is != 1 {
		t.Errorf("%v Available and %v Claimed, want 0 and 1", was, is)
	}
	r.SetHosts(nil, nil)
	if n := testutil.CollectAndCount(r.hosts) + testutil.CollectAndCount(r.backlog); n != 0 {
		t.Errorf("a replica that does not count shows %d series", n)
	}
}

func TestRegisteringTwiceFails(t *testing.T) {
	_, registry := recorder(t)
	if _, err := New(registry, sets); err == nil || !strings.Contains(err.Error(), "beskar7_provisioning_queue_length") {
		t.Fatalf("error %v", err)
	}
}

func TestReferenceHasARowForEveryMetric(t *testing.T) {
	text := Reference()
	for _, row := range Descriptions() {
		if !strings.Contains(text, fmt.Sprintf("| `%s` | %s |", row.Name, row.Type)) {
			t.Errorf("%s is missing", row.Name)
		}
	}
}
