package controllers

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/cluster-api/util/conditions"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/actuator"
	"github.com/beskar7/beskar7/pkg/provision"
	"github.com/beskar7/beskar7/pkg/redfish"
	"github.com/beskar7/beskar7/pkg/redfish/redfishfake"
)

// machineOf is the provisioned machine of the host, with the conditions that its controller gives it.
func machineOf(h *v1beta1.PhysicalHost) *v1beta1.Beskar7Machine {
	m := newMachine()
	m.Status.Initialization.Provisioned = ptr.To(true)
	machineConditions(&machineWork{machine: m, owner: newOwner(), cluster: newCluster(), host: h})
	return m
}

// The machine of a system that is not there, or of no use, is not ready; what else its host lacks leaves a running system alone.
func TestAMachineIsAsReadyAsItsSystem(t *testing.T) {
	type kind struct {
		bound bool
		state v1beta1.HostState
	}
	booting, bound := kind{false, v1beta1.StateBooting}, kind{true, v1beta1.StateProvisioned}
	for _, c := range []struct {
		of     kind
		reason string
		ready  bool
	}{
		{booting, v1beta1.ReasonBooting, true},
		{booting, v1beta1.ReasonBootstrapFailed, false},
		{booting, v1beta1.ReasonBootOverdue, false},
		{booting, v1beta1.ReasonUnreachable, true},
		{kind{false, v1beta1.StateProvisioning}, v1beta1.ReasonBooting, false},
		{kind{false, v1beta1.StateProvisioning}, v1beta1.ReasonBootstrapFailed, false},
		{kind{false, v1beta1.StateProvisioning}, v1beta1.ReasonImageUnusable, false},
		{bound, v1beta1.ReasonPowerLost, false},
		{bound, v1beta1.ReasonUnreachable, true},
		{bound, v1beta1.ReasonLoginRefused, true},
		{bound, v1beta1.ReasonSecretNotFound, true},
		{bound, v1beta1.ReasonDeleting, true},
		{kind{true, v1beta1.StatePaused}, v1beta1.ReasonHostPaused, true},
		{kind{true, v1beta1.StateQuarantined}, v1beta1.ReasonQuarantined, true},
	} {
		h := claimedHost()
		h.Spec.Claim.Bound, h.Status.State = c.of.bound, c.of.state
		conditions.Set(h, condition(v1beta1.ReadyCondition, metav1.ConditionFalse, c.reason, "why"))
		m := machineOf(h)
		if got := conditions.IsTrue(m, v1beta1.ReadyCondition); got != c.ready {
			t.Errorf("host %s, bound %v, Ready=False/%s: the machine's Ready is %v/%s", c.of.state, c.of.bound, c.reason, got, conditions.GetReason(m, v1beta1.ReadyCondition))
		}
		if m := conditions.GetMessage(m, v1beta1.ReadyCondition); !c.ready && !strings.Contains(m, "why") {
			t.Errorf("%s: the machine says %q, and not what its host says", c.reason, m)
		}
	}
}

// A failed bootstrap stays the first thing to say until a system was seen: also while the server is booted anew, and while its BMC
// is out of reach.
func TestAFailedBootstrapIsSaidUntilASystemIsSeen(t *testing.T) {
	away := &actuator.Failure{Kind: redfish.KindUnreachable, Message: "no answer", Count: 9}
	for _, state := range []provision.State{provision.Booting, provision.Provisioning} {
		for _, failure := range []*actuator.Failure{nil, away} {
			h := claimedHost()
			g := &gathered{facts: provision.Facts{Observed: true, Claim: provision.ClaimHeld, Report: provision.ReportFailed}, observation: actuator.Observation{Failure: failure}}
			hostConditions(h, g, provision.Decision{State: state})
			h.Status.State = v1beta1.HostState(state)
			if got := conditions.GetReason(h, v1beta1.ReadyCondition); got != v1beta1.ReasonBootstrapFailed {
				t.Errorf("%s, failure %v: the host says %s", state, failure, got)
			}
			if m := machineOf(h); conditions.IsTrue(m, v1beta1.ReadyCondition) {
				t.Errorf("%s, failure %v: the machine is ready", state, failure)
			}
		}
	}
}

// One answer of "busy" takes nothing from a running system and its host. A BMC that stays away is a condition of its own.
func TestABMCThatFailsAndOneThatIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRunningRig(t, redfishfake.New(redfishfake.Options{Power: redfish.PowerOn}), boundHost(), newMachine(), newOwner(), newCluster(), newSecret("bmc"))
		want := func(when string, reach metav1.ConditionStatus, hostReady bool) *v1beta1.PhysicalHost {
			t.Helper()
			h := r.settle()
			c := conditions.Get(h, v1beta1.BMCReachableCondition)
			if c.Status != reach || conditions.IsTrue(h, v1beta1.ReadyCondition) != hostReady || !conditions.IsTrue(machineOf(h), v1beta1.ReadyCondition) {
				t.Fatalf("%s: BMCReachable %s/%s, host Ready %s, machine Ready %v", when, c.Status, c.Reason, conditions.GetReason(h, v1beta1.ReadyCondition),
					conditions.IsTrue(machineOf(h), v1beta1.ReadyCondition))
			}
			return h
		}
		want("at first", metav1.ConditionTrue, true)
		r.fail(1, redfish.KindBusy, "503")
		r.pass(100 * time.Second) // a poll of a bound host comes every 90
		h := want("after one busy answer", metav1.ConditionUnknown, true)
		if h.Status.Attempts != 1 || h.Status.NextAttempt == nil {
			t.Errorf("it backs off, and status shows %d attempts, the next at %v", h.Status.Attempts, h.Status.NextAttempt)
		}
		r.pass(100 * time.Second)
		if h = want("after the next answer", metav1.ConditionTrue, true); h.Status.Attempts != 0 || h.Status.NextAttempt != nil {
			t.Errorf("it answers again, and status shows %d attempts, the next at %v", h.Status.Attempts, h.Status.NextAttempt)
		}
		r.fail(100, redfish.KindUnreachable, "no answer")
		r.pass(100 * time.Second)
		want("after one failure", metav1.ConditionUnknown, true)
		r.pass(100 * time.Second)
		want("after two", metav1.ConditionUnknown, true)
		r.pass(100 * time.Second)
		h = want("after three", metav1.ConditionFalse, false)
		if got := conditions.GetReason(h, v1beta1.ReadyCondition); got != v1beta1.ReasonUnreachable || h.Status.Attempts != 3 {
			t.Errorf("the host says %s after %d attempts", got, h.Status.Attempts)
		}
		r.mu.Lock()
		r.faults = nil
		r.mu.Unlock()
		r.pass(100 * time.Second)
		want("when it is back", metav1.ConditionTrue, true)
	})
}

// What needs the BMC now says at once that it fails, and where its tries are counted.
func TestWhatNeedsTheBMCSaysAtOnceThatItFails(t *testing.T) {
	once := actuator.Observation{Failure: &actuator.Failure{Kind: redfish.KindBusy, Message: "503", Count: 1}}
	for _, state := range []provision.State{provision.Provisioning, provision.Booting, provision.Releasing} {
		h := claimedHost()
		g := &gathered{facts: provision.Facts{Observed: true, Claim: provision.ClaimHeld}, observation: once}
		hostConditions(h, g, provision.Decision{State: state})
		c := conditions.Get(h, v1beta1.ReadyCondition)
		if c.Status != metav1.ConditionFalse || c.Reason != v1beta1.ReasonBusy || !strings.Contains(c.Message, "503") || !strings.Contains(c.Message, "status.nextAttempt") {
			t.Errorf("%s: %s/%s %q", state, c.Status, c.Reason, c.Message)
		}
		if got := conditions.Get(h, v1beta1.BMCReachableCondition); got.Status != metav1.ConditionUnknown || got.Reason != v1beta1.ReasonBusy {
			t.Errorf("%s: BMCReachable %s/%s", state, got.Status, got.Reason)
		}
	}
}

// A host that never answered, and one whose log-in or certificate is refused, is out of reach at the first try.
func TestWhatAPersonMustMendIsNotWaitedFor(t *testing.T) {
	for name, c := range map[string]struct {
		failure  actuator.Failure
		observed bool
	}{
		"never reached":       {actuator.Failure{Kind: redfish.KindUnreachable, Count: 1}, false},
		"certificate refused": {actuator.Failure{Kind: redfish.KindCertificate, Count: 1}, true},
		"log-in refused":      {actuator.Failure{Kind: redfish.KindUnauthorized, LoginFailed: true, Count: 1}, true},
	} {
		g := &gathered{facts: provision.Facts{Observed: c.observed}, observation: actuator.Observation{Failure: &c.failure}}
		if got := reachability(newHost(), g); got.Status != metav1.ConditionFalse {
			t.Errorf("%s: %s/%s", name, got.Status, got.Reason)
		}
	}
}

// A bound host that is off takes its system with it, whether its BMC answers at the moment or not.
func TestABoundHostThatIsOffTakesReadyFromItsMachine(t *testing.T) {
	for _, failure := range []*actuator.Failure{nil, {Kind: redfish.KindUnreachable, Message: "no answer", Count: 9}} {
		h := boundHost()
		h.Status.Power, h.Status.State = string(provision.PowerStateOff), v1beta1.StateProvisioned
		g := &gathered{facts: provision.Facts{Observed: true, Claim: provision.ClaimHeld, Bound: true, Install: true, KeepOn: true, Steady: true, Power: provision.PowerStateOff}, observation: actuator.Observation{Failure: failure}}
		hostConditions(h, g, provision.Decision{State: provision.Provisioned})
		if m := machineOf(h); conditions.IsTrue(m, v1beta1.ReadyCondition) || conditions.GetReason(m, v1beta1.ReadyCondition) != v1beta1.ReasonPowerLost {
			t.Errorf("failure %v: the machine's Ready is %s", failure, conditions.GetReason(m, v1beta1.ReadyCondition))
		}
	}
}
