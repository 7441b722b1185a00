package controllers

import (
	"context"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/controllers/settings"
	"github.com/beskar7/beskar7/pkg/provision"
)

func TestGauges(t *testing.T) {
	h, parked, busy, full := newHost(), newHost(), newHost(), newHost()
	h.Status.State = v1beta1.StateAvailable
	parked.Name, parked.Status.State = "parked", v1beta1.StateEnrolling
	parked.Status.NextAttempt, parked.Status.ParkedCredential = ptr.To(metav1.NewTime(epoch)), &v1beta1.ParkedCredential{Since: metav1.NewTime(epoch)}
	busy.Name, busy.Status.State, busy.Status.NextAttempt = "busy", v1beta1.StateEnrolling, ptr.To(metav1.NewTime(epoch))
	full.Name, full.Status.State = "full", v1beta1.StateClaimed
	full.Status.Operation = &v1beta1.HostOperation{Kind: "Insert", Phase: phaseRefused}
	r, b, driving := newRig(t, h, parked, busy, full), &board{}, true
	g := Gauges{Client: r.api, Queue: b.stats, QueueLimit: func() int { return 50 }, Driving: func() bool { return driving }, Metrics: b}
	if err := g.set(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(b.hosts, map[string]int{"Available": 1, "Enrolling": 2, "Claimed": 1}) || b.waiting != 6 || b.inFlight != 9 || !b.driver {
		t.Errorf("%+v", b)
	}
	if want := map[string]int{phaseParked: 1, phaseBackingOff: 1, phaseRefused: 1}; !reflect.DeepEqual(b.awaiting, want) {
		t.Errorf("awaiting %v, want %v", b.awaiting, want)
	}
	driving = false
	if err := g.set(t.Context()); err != nil || b.driver || b.hosts != nil || b.awaiting != nil {
		t.Fatalf("a process that does not drive says %+v (error %v)", b, err)
	}
}

// TestADriverIsSeenAtOnce: the interval may be five minutes, which is how long Beskar7NoDriver waits.
func TestADriverIsSeenAtOnce(t *testing.T) {
	h := newHost()
	h.Status.State = v1beta1.StateAvailable
	r := newRig(t, h)
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		b, elected, ended := &board{}, make(chan struct{}), make(chan struct{})
		g := Gauges{Client: r.api, Queue: b.stats, QueueLimit: func() int { return 50 }, Driving: func() bool { return true }, Metrics: b,
			Elected: elected, Interval: settings.Period{Of: func() time.Duration { return 5 * time.Minute }}}
		go func() { _ = g.Run(ctx); close(ended) }()
		synctest.Wait()
		if b.driver {
			t.Error("set before this process drives")
		}
		close(elected)
		synctest.Wait()
		if !b.driver || b.hosts["Available"] != 1 {
			t.Errorf("the new driver says %+v", b)
		}
		cancel()
		<-ended
	})
}

// notes is a HostMetrics that can be read.
type notes struct {
	phases map[string]time.Duration
	failed []string
}

func (n *notes) PhaseTook(state string, took time.Duration) {
	if n.phases == nil {
		n.phases = map[string]time.Duration{}
	}
	n.phases[state] += took
}

func (n *notes) ProvisioningFailed(reason string) { n.failed = append(n.failed, reason) }

func TestPhasesAreMeasuredOnceWhenTheyEnd(t *testing.T) {
	h := newHost()
	h.Finalizers = []string{v1beta1.HostFinalizer}
	r, n := newRig(t, h, newSecret("bmc")), &notes{}
	r.host.Metrics = n
	r.look(2)
	if state := r.getHost().Status.State; state != v1beta1.StateEnrolling || n.phases != nil {
		t.Fatalf("%s, and measured %v", state, n.phases)
	}
	r.sleep(7 * time.Second)
	edit(r, &v1beta1.PhysicalHost{}, "h", func(h *v1beta1.PhysicalHost) {
		h.Annotations = map[string]string{clusterv1.PausedAnnotation: ""}
	})
	r.look(3)
	if want := map[string]time.Duration{string(v1beta1.StateEnrolling): 7 * time.Second}; !reflect.DeepEqual(n.phases, want) {
		t.Fatalf("measured %v, want %v", n.phases, want)
	}
	stale, now := hostSaying(v1beta1.StateEnrolling, false, v1beta1.ReasonNotObserved, ""), hostSaying(v1beta1.StatePaused, false, v1beta1.ReasonHostPaused, "")
	r.host.measure(announcementOf(now), stale, now, &gathered{}) // the cache does not show our last write yet
	if n.phases[string(v1beta1.StateEnrolling)] != 7*time.Second || len(n.phases) != 1 {
		t.Fatalf("measured again: %v", n.phases)
	}
}

func TestFailedBootsAreCountedOnce(t *testing.T) {
	r, n := newRig(t), &notes{}
	r.host.Metrics = n
	before := claimedHost()
	before.Status.State = v1beta1.StateBooting
	after := before.DeepCopy()
	after.Status.LastFailure = ptr.To(metav1.NewTime(epoch))
	for _, report := range []provision.Report{provision.ReportNone, provision.ReportFailed} {
		g := &gathered{facts: provision.Facts{Report: report}}
		r.host.measure(announcementOf(before), before, after, g)
		r.host.measure(announcementOf(after), after, after.DeepCopy(), g)
	}
	if want := []string{v1beta1.ReasonBootOverdue, v1beta1.ReasonBootstrapFailed}; !slices.Equal(n.failed, want) {
		t.Errorf("counted %v, want %v", n.failed, want)
	}
	r.host.Metrics = nil
	r.host.measure(announcementOf(before), before, after, &gathered{})
}

// TestMetricLabelsAreWhatTheAPIKnows: a state that is missing here would be counted as another.
func TestMetricLabelsAreWhatTheAPIKnows(t *testing.T) {
	crd, err := os.ReadFile("../config/crd/bases/infrastructure.cluster.x-k8s.io_physicalhosts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(crd), "state is a label for people.\n                enum:\n")
	if !found {
		t.Fatal("the CRD has no enum of states")
	}
	enum, _, _ := strings.Cut(rest, "type:")
	want := strings.Fields(strings.ReplaceAll(enum, "- ", ""))
	o := MetricLabels()
	if got := slices.Sorted(slices.Values(o.States)); !slices.Equal(got, slices.Sorted(slices.Values(want))) {
		t.Errorf("states %v, the CRD has %v", got, want)
	}
	for _, phase := range o.Phases {
		if !slices.Contains(o.States, phase) {
			t.Errorf("phase %s is no state", phase)
		}
	}
	if want := []string{"Observe", "Inspect", "ShutDown", "ForceOff", "Eject", "Insert", "Arm", "Disarm", "PowerOn"}; !slices.Equal(o.Kinds, want) {
		t.Errorf("kinds %v, want %v", o.Kinds, want)
	}
}
