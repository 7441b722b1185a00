package controllers

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/coordinator"
	"github.com/beskar7/beskar7/pkg/provision"
)

func (r *rig) wantState(want v1beta1.HostState) *v1beta1.PhysicalHost {
	r.t.Helper()
	host := r.getHost()
	if host.Status.State != want {
		r.t.Fatalf("state %s, want %s; Ready: %s", host.Status.State, want, conditions.GetMessage(host, v1beta1.ReadyCondition))
	}
	return host
}

// idle says that nothing waits at the gate.
func (r *rig) idle() {
	r.t.Helper()
	if n := r.gate.Length(); n != 0 {
		r.t.Fatalf("%d operations wait for hardware", n)
	}
}

// An unbound orphan is left alone for the grace time, then its release is marked, durably.
func TestAnUnboundOrphanIsReleasedAfterItsTime(t *testing.T) {
	r := newRig(t, claimedHost(), newCluster(), newSecret("bmc"))
	r.look(3)
	r.wantState(v1beta1.StateOrphaned)
	r.idle()
	r.sleep(coordinator.DefaultGrace - time.Second)
	r.look(2)
	if host := r.wantState(v1beta1.StateOrphaned); host.Spec.Claim.Release != nil {
		t.Fatal("released before its time")
	}
	r.idle()
	r.sleep(2 * time.Second)
	r.look(3)
	host := r.wantState(v1beta1.StateReleasing)
	if host.Spec.Claim.Release == nil || host.Spec.Claim.Release.Reason != v1beta1.ReasonOrphaned {
		t.Fatalf("no durable mark: %+v", host.Spec.Claim)
	}
	if r.gate.Length() != 1 {
		t.Fatal("the release asks for no hardware work")
	}
	r.sleep(time.Hour)
	r.look(1)
	host = r.wantState(v1beta1.StateReleaseBlocked)
	if m := conditions.GetMessage(host, v1beta1.ReleaseBlockedCondition); !strings.Contains(m, v1beta1.ReleaseUnverifiedAnnotation+"="+claimID) {
		t.Fatalf("no command in %q", m)
	}
}

// With a stale cache the machine seems to be gone: the live read knows better.
func TestAStaleCacheOrphansNobody(t *testing.T) {
	r := newRig(t, claimedHost(), newCluster(), newSecret("bmc"))
	r.look(3)
	r.sleep(2 * coordinator.DefaultGrace)
	live := newRig(t, r.getHost(), newMachine(), newCluster(), newSecret("bmc"))
	r.host.Reader = live.api
	r.look(2)
	if host := r.getHost(); host.Spec.Claim.Release != nil || host.Spec.Quarantine != nil {
		t.Fatalf("claim %+v, quarantine %+v", host.Spec.Claim, host.Spec.Quarantine)
	}
}

// A claim that its machine never confirmed ends after the grace time, without a look at the hardware.
func TestAnUnconfirmedClaimExpires(t *testing.T) {
	m := newMachine()
	m.Spec.HostRef = nil
	r := newRig(t, claimedHost(), m, newCluster(), newSecret("bmc"))
	r.look(3)
	r.wantState(v1beta1.StateClaimed)
	r.idle()
	r.sleep(2 * coordinator.DefaultGrace)
	r.look(1)
	if host := r.getHost(); host.Spec.Claim != nil || host.Spec.Boot != nil {
		t.Fatalf("claim %+v, boot %+v", host.Spec.Claim, host.Spec.Boot)
	}
	r.look(2)
	r.wantState(v1beta1.StateEnrolling)
}

func TestAnOrphanWithoutItsClusterIsLeftAlone(t *testing.T) {
	r := newRig(t, claimedHost(), newSecret("bmc"))
	r.look(2)
	r.sleep(10 * coordinator.DefaultGrace)
	r.look(2)
	if host := r.wantState(v1beta1.StateOrphaned); host.Spec.Claim.Release != nil {
		t.Fatal("released")
	}
	r.idle()
}

// A bound orphan is quarantined, running; a person ends its claim, and the host never comes back by itself.
func TestABoundOrphanWaitsForAPerson(t *testing.T) {
	h := claimedHost()
	h.Spec.Claim.Bound = true
	r := newRig(t, h, newCluster(), newSecret("bmc"))
	r.look(2)
	r.sleep(2 * coordinator.DefaultGrace)
	r.look(3)
	host := r.wantState(v1beta1.StateQuarantined)
	if host.Spec.Claim == nil || host.Spec.Quarantine.Reason != v1beta1.ReasonOrphaned {
		t.Fatalf("claim %+v, quarantine %+v", host.Spec.Claim, host.Spec.Quarantine)
	}
	r.idle()
	command := v1beta1.ReleaseUnverifiedAnnotation + "=" + claimID
	if m := conditions.GetMessage(host, v1beta1.ReadyCondition); !strings.Contains(m, command) {
		t.Fatalf("the message has no command that ends it: %q", m)
	}
	edit(r, &v1beta1.PhysicalHost{}, "h", func(h *v1beta1.PhysicalHost) {
		h.Annotations = map[string]string{v1beta1.ReleaseUnverifiedAnnotation: claimID}
	})
	r.look(3)
	if host := r.wantState(v1beta1.StateQuarantined); host.Spec.Claim != nil || host.Spec.Boot != nil || host.Spec.Quarantine.Reason != "ReleasedUnverified" {
		t.Fatalf("claim %+v, quarantine %+v", host.Spec.Claim, host.Spec.Quarantine)
	}
	r.idle()
}

// The command of an older claim ends no newer one.
func TestGiveUpNamesItsClaim(t *testing.T) {
	h := claimedHost()
	h.Spec.Claim.Release = &v1beta1.Release{Reason: "MachineDeleted", RequestedAt: metav1.NewTime(epoch)}
	h.Annotations = map[string]string{v1beta1.ReleaseUnverifiedAnnotation: "ffffffffffffffff"}
	r := newRig(t, h, newSecret("bmc"))
	r.look(3)
	r.wantState(v1beta1.StateReleasing)
	edit(r, &v1beta1.PhysicalHost{}, "h", func(h *v1beta1.PhysicalHost) { h.Annotations[v1beta1.ReleaseUnverifiedAnnotation] = claimID })
	r.look(2)
	if host := r.wantState(v1beta1.StateQuarantined); host.Spec.Claim != nil {
		t.Fatalf("claim %+v", host.Spec.Claim)
	}
}

// The host goes away between its last look and the write of its status: that is no error.
func TestAStatusOfAGoneHostIsNoError(t *testing.T) {
	h := newHost()
	r := newRig(t)
	if err := r.host.report(t.Context(), h, &gathered{}, provision.Decide(provision.Facts{Claim: provision.ClaimNone})); err != nil {
		t.Fatal(err)
	}
}

func TestPausedHostsAreLeftAlone(t *testing.T) {
	for name, change := range map[string]func(*v1beta1.PhysicalHost){
		"spec.paused": func(h *v1beta1.PhysicalHost) { h.Spec.Paused = true },
		"annotation":  func(h *v1beta1.PhysicalHost) { h.Annotations = map[string]string{"cluster.x-k8s.io/paused": ""} },
		"move":        func(h *v1beta1.PhysicalHost) { h.Annotations = map[string]string{clusterctlDeleteForMove: ""} },
	} {
		t.Run(name, func(t *testing.T) {
			h := claimedHost()
			h.Spec.Claim.Release = &v1beta1.Release{Reason: "MachineDeleted", RequestedAt: metav1.NewTime(epoch)}
			change(h)
			r := newRig(t, h, newSecret("bmc"))
			r.sleep(time.Hour)
			r.look(3)
			r.wantState(v1beta1.StatePaused)
			r.idle()
		})
	}
}

// Deleting a claimed host waits for its release; an unclaimed one goes, and its Secret is free.
func TestDeletingAHost(t *testing.T) {
	h := claimedHost()
	h.Finalizers = []string{v1beta1.HostFinalizer}
	r := newRig(t, h, newMachine(), newCluster(), newSecret("bmc"))
	r.look(1)
	if err := r.api.Delete(t.Context(), r.getHost()); err != nil {
		t.Fatal(err)
	}
	r.look(2)
	r.getHost()
	edit(r, &v1beta1.PhysicalHost{}, "h", func(h *v1beta1.PhysicalHost) { h.Spec.Claim, h.Spec.Boot = nil, nil })
	r.look(2)
	if err := r.api.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: "h"}, &v1beta1.PhysicalHost{}); client.IgnoreNotFound(err) != nil || err == nil {
		t.Fatalf("the unclaimed host is still there (%v)", err)
	}
	if r.guarded("bmc") {
		t.Fatal("its Secret keeps the finalizer")
	}
}

func TestFaultsSayWhatToDo(t *testing.T) {
	for name, c := range map[string]struct {
		host    func(*v1beta1.PhysicalHost)
		secret  string
		reason  string
		message []string
	}{
		"no Secret": {func(*v1beta1.PhysicalHost) {}, "other", v1beta1.ReasonSecretNotFound, []string{`Secret "bmc" does not exist in namespace "ns"`, "create it"}},
		"no CA bundle": {func(h *v1beta1.PhysicalHost) {
			h.Spec.RedfishConnection.CABundleSecretRef = &v1beta1.SecretReference{Name: "bmc"}
		}, "bmc", v1beta1.ReasonSecretInvalid, []string{`no key "ca.crt"`}},
		"bad address": {func(h *v1beta1.PhysicalHost) { h.Spec.RedfishConnection.Address = "ftp://x" }, "bmc", v1beta1.ReasonConnectionInvalid, []string{"spec.redfishConnection"}},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost()
			c.host(h)
			r := newRig(t, h, newSecret(c.secret))
			r.look(3)
			host := r.getHost()
			for _, kind := range []string{v1beta1.BMCReachableCondition, v1beta1.AvailableCondition, v1beta1.ReadyCondition} {
				if conditions.IsTrue(host, kind) || conditions.GetReason(host, kind) != c.reason {
					t.Errorf("%s: %s %q", kind, conditions.GetReason(host, kind), conditions.GetMessage(host, kind))
				}
				for _, words := range c.message {
					if m := conditions.GetMessage(host, kind); !strings.Contains(m, words) {
						t.Errorf("%s does not say %q: %q", kind, words, m)
					}
				}
			}
		})
	}
}

func TestHealthCountsEachBootOnce(t *testing.T) {
	h := claimedHost()
	boot := func(after time.Duration) {
		h.Status.Booted = &v1beta1.BootRecord{ClaimID: claimID, At: metav1.NewTime(epoch.Add(after))}
	}
	look := func(after time.Duration, overdue bool, report provision.Report, action provision.Action) int32 {
		g := &gathered{facts: provision.Facts{BootOverdue: overdue, Report: report}}
		reportHealth(h, g, provision.Decision{State: provision.Booting, Action: action}, metav1.NewTime(epoch.Add(after)))
		return ptr.Deref(h.Status.HealthScore, fullHealth)
	}
	boot(0)
	for i, step := range []struct {
		boot, at time.Duration
		overdue  bool
		report   provision.Report
		action   provision.Action
		want     int32
	}{
		{0, time.Minute, false, provision.ReportNone, provision.None, 100},
		{0, 10 * time.Minute, false, provision.ReportFailed, provision.None, 50},
		{0, 11 * time.Minute, false, provision.ReportFailed, provision.None, 50},
		{0, 30 * time.Minute, true, provision.ReportFailed, provision.ForceOff, 50},
		{40 * time.Minute, 80 * time.Minute, true, provision.ReportNone, provision.ForceOff, 25},
		{90 * time.Minute, 95 * time.Minute, false, provision.ReportSucceeded, provision.MarkBound, 35},
		{90 * time.Minute, 96 * time.Minute, false, provision.ReportSucceeded, provision.None, 35},
	} {
		boot(step.boot)
		if got := look(step.at, step.overdue, step.report, step.action); got != step.want {
			t.Fatalf("step %d: score %d, want %d", i, got, step.want)
		}
	}
	if !h.Status.LastFailure.Time.Equal(epoch.Add(80 * time.Minute)) {
		t.Fatalf("last failure at %s", h.Status.LastFailure)
	}
}
