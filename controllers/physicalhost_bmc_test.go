package controllers

import (
	"context"
	"runtime"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/cluster-api/util/conditions"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/actuator"
	"github.com/beskar7/beskar7/pkg/coordinator/bmcqueue"
	"github.com/beskar7/beskar7/pkg/provision"
	"github.com/beskar7/beskar7/pkg/redfish"
)

// A credential that was refused before a restart is not tried after it, until the Secret changes.
func TestARefusedCredentialIsHeldBackAfterARestart(t *testing.T) {
	first := newRig(t, newHost(), newSecret("bmc"))
	first.look(2) // the Secret has its label
	secret := &corev1.Secret{}
	first.get(secret, "bmc")
	for name, c := range map[string]struct {
		parked v1beta1.ParkedCredential
		want   bool
	}{
		"the same Secret":     {v1beta1.ParkedCredential{SecretUID: string(secret.UID), SecretVersion: secret.ResourceVersion}, true},
		"the Secret changed":  {v1beta1.ParkedCredential{SecretUID: string(secret.UID), SecretVersion: "1"}, false},
		"it was made anew":    {v1beta1.ParkedCredential{SecretUID: "uid-former", SecretVersion: secret.ResourceVersion}, false},
		"nothing was refused": {},
	} {
		t.Run(name, func(t *testing.T) {
			h := first.getHost()
			if c.parked.SecretUID != "" {
				c.parked.Since = metav1.NewTime(time.Now().Truncate(time.Second).Add(-10 * time.Minute)) // the gate has a clock of its own
				h.Status.ParkedCredential = &c.parked
			}
			r := newRig(t, h, secret.DeepCopy())
			r.look(1)
			status := r.gate.Status(namespace + "/h")
			if parked := status.State == bmcqueue.StateParked; parked != c.want {
				t.Fatalf("the gate says %+v", status)
			}
			host := r.getHost()
			if !c.want {
				if host.Status.ParkedCredential != nil {
					t.Errorf("status keeps %+v", host.Status.ParkedCredential)
				}
				return
			}
			if m := conditions.GetMessage(host, v1beta1.BMCReachableCondition); conditions.GetReason(host, v1beta1.BMCReachableCondition) != v1beta1.ReasonLoginRefused || !strings.Contains(m, v1beta1.RetryNowAnnotation) {
				t.Errorf("BMCReachable says %q", m)
			}
			if at := h.Status.ParkedCredential.Since.Add(parkFor); !status.NextAttempt.Equal(at) {
				t.Errorf("next try %s, want %s", status.NextAttempt, at)
			}
		})
	}
}

// A host that is held back because another BMC refused the credentials that both use says so: who tries first, and what to do.
func TestAHostHeldBackByACanarySaysSo(t *testing.T) {
	labelled := newRig(t, newHost(), newSecret("bmc"))
	labelled.look(2)
	secret := &corev1.Secret{}
	labelled.get(secret, "bmc")
	r := newRig(t, labelled.getHost(), secret.DeepCopy())
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.gate.Run(ctx) }()
	defer func() { cancel(); <-ended }()
	hour := func() time.Duration { return time.Hour }
	for host, address := range map[string]string{"first": "https://192.0.2.8:443", "second": "https://192.0.2.9:443"} {
		r.gate.Register(bmcqueue.Poll{Endpoint: address, Host: namespace + "/" + host, Credential: credentialKey(secret.UID, "u", "p"), Interval: hour,
			Run: func(context.Context) bmcqueue.Result { return bmcqueue.Result{Failure: bmcqueue.LoginFailed} }})
	}
	refused := func(host string) bool { return r.gate.Status(namespace+"/"+host).State == bmcqueue.StateParked }
	for deadline := time.Now().Add(time.Minute); !refused("first") || !refused("second"); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("the canaries were not refused")
		}
	}
	r.look(1)
	h := r.getHost()
	c := conditions.Get(h, v1beta1.BMCReachableCondition)
	if c == nil || c.Status != metav1.ConditionFalse || c.Reason != v1beta1.ReasonCredentialUnproven {
		t.Fatalf("%+v", c)
	}
	for _, says := range []string{"https://192.0.2.", `Secret "bmc"`, v1beta1.RetryNowAnnotation} {
		if !strings.Contains(c.Message, says) {
			t.Errorf("%q is not in %q", says, c.Message)
		}
	}
	if at := h.Status.NextAttempt; at == nil || time.Until(at.Time) < 50*time.Minute {
		t.Errorf("the next attempt: %v", at)
	}
	if conditions.GetReason(h, v1beta1.ReadyCondition) != v1beta1.ReasonCredentialUnproven || h.Status.ParkedCredential != nil {
		t.Errorf("%+v, parked %+v: it was not refused here", conditions.Get(h, v1beta1.ReadyCondition), h.Status.ParkedCredential)
	}
}

// What the last failure or reading of a BMC says counts, while another log-in merely goes first.
func TestWhileACanaryTries(t *testing.T) {
	trying := bmcqueue.Status{State: bmcqueue.StateIdle, HeldBy: "https://192.0.2.9:443"}
	g := &gathered{queue: trying}
	if c := reachability(newHost(), g); c.Status != metav1.ConditionUnknown || c.Reason != v1beta1.ReasonCredentialUnproven || !strings.Contains(c.Message, trying.HeldBy) {
		t.Errorf("never contacted: %+v", c)
	}
	g.facts.Observed = true
	if c := reachability(newHost(), g); c.Status != metav1.ConditionTrue {
		t.Errorf("read before: %+v", c)
	}
}

// The refusal is kept with the Secret that was refused, never with the one that came after it.
func TestWhoseRefusalIsKept(t *testing.T) {
	now := metav1.NewTime(epoch)
	refusal := func(outdated bool) *actuator.Failure {
		return &actuator.Failure{Kind: redfish.KindUnauthorized, LoginFailed: true, Message: "refused", At: epoch, Outdated: outdated}
	}
	g := &gathered{connected: &connection{secretUID: "u", versions: []string{"1", "2"}}}
	s := &v1beta1.PhysicalHostStatus{}
	g.observation.Failure = refusal(true)
	if reportParked(s, g, now); s.ParkedCredential != nil {
		t.Errorf("the new Secret counts as refused: %+v", s.ParkedCredential)
	}
	if c := reachability(newHost(), g); c.Status != metav1.ConditionFalse || c.Reason != v1beta1.ReasonNotYetContacted {
		t.Errorf("%+v", c)
	}
	g.observation.Failure = refusal(false)
	if reportParked(s, g, now); s.ParkedCredential == nil || s.ParkedCredential.SecretVersion != "2" {
		t.Fatalf("the refusal is not kept: %+v", s.ParkedCredential)
	}
	since := s.ParkedCredential.Since
	s.ParkedCredential.SecretVersion = "1" // a label came since
	if reportParked(s, g, metav1.NewTime(epoch.Add(time.Minute))); s.ParkedCredential == nil || s.ParkedCredential.SecretVersion != "2" || s.ParkedCredential.Since != since {
		t.Fatalf("the same credentials, another label: %+v", s.ParkedCredential)
	}
	g.observation.Failure, g.facts.Observed, g.observation.At = nil, true, epoch.Add(-time.Minute)
	if reportParked(s, g, now); s.ParkedCredential == nil {
		t.Error("an older reading ended it")
	}
	g.observation.At = epoch.Add(time.Minute)
	if reportParked(s, g, now); s.ParkedCredential != nil {
		t.Error("a log-in that worked did not end it")
	}
}

// Back-off is visible: what is tried, how often it failed and why, and when it is tried again.
func TestBackOffIsVisible(t *testing.T) {
	at := epoch.Add(90*time.Second + 300*time.Millisecond)
	for name, c := range map[string]struct {
		gate  bmcqueue.Status
		phase string
		next  bool
	}{
		"backing off": {bmcqueue.Status{State: bmcqueue.StateBackOff, Kind: "Insert", Attempts: 3, LastError: "busy", NextAttempt: at, Since: epoch}, "BackingOff", true},
		"parked":      {bmcqueue.Status{State: bmcqueue.StateParked, Kind: "Insert", Attempts: 3, LastError: "busy", NextAttempt: at, Since: epoch}, "Parked", true},
		"in progress": {bmcqueue.Status{State: bmcqueue.StateSettling, Kind: "Insert", Attempts: 3, LastError: "busy", NextAttempt: at, Since: epoch}, "InProgress", false},
	} {
		t.Run(name, func(t *testing.T) {
			s := &v1beta1.PhysicalHostStatus{}
			reportOperation(s, c.gate, &gathered{})
			if s.Attempts != 3 || s.Operation == nil || s.Operation.Phase != c.phase || s.Operation.LastError != "busy" || s.Operation.Kind != "Insert" {
				t.Errorf("attempts %d, operation %+v", s.Attempts, s.Operation)
			}
			if (s.NextAttempt != nil) != c.next || c.next && !s.NextAttempt.Time.Equal(epoch.Add(90*time.Second)) {
				t.Errorf("next attempt %v", s.NextAttempt)
			}
			reportOperation(s, bmcqueue.Status{State: bmcqueue.StateIdle}, &gathered{})
			if s.Attempts != 0 || s.Operation != nil || s.NextAttempt != nil {
				t.Errorf("what has ended is still shown: %+v", s)
			}
		})
	}
	// A wish that the gate handed back and got again goes on where it was; another one does not.
	handedBack := bmcqueue.Outcome{Ending: bmcqueue.EndedFailed, Kind: "Insert", ID: "c/Insert", Attempts: 5, Message: "refused"}
	for kind, want := range map[string]int32{"Insert": 6, "Eject": 1} {
		s := &v1beta1.PhysicalHostStatus{}
		reportOperation(s, bmcqueue.Status{State: bmcqueue.StateBackOff, Kind: kind, ID: "c/" + kind, Attempts: 1, NextAttempt: at, Outcome: handedBack}, &gathered{})
		if told := s.Operation.LastError == "refused"; s.Attempts != want || told != (kind == "Insert") {
			t.Errorf("%s: %d attempts, %q", kind, s.Attempts, s.Operation.LastError)
		}
	}
	// An endpoint that backs off shows when it is read again, though nobody asked for an operation.
	s := &v1beta1.PhysicalHostStatus{}
	if reportOperation(s, bmcqueue.Status{State: bmcqueue.StateBackOff, LastError: "refused", NextAttempt: at}, &gathered{}); s.NextAttempt == nil {
		t.Error("the next poll of a BMC out of reach is not shown")
	}
}

// A wish that the gate has no room for is shown with the host, and handed to it again.
func TestARefusedWishIsReported(t *testing.T) {
	full, g := bmcqueue.Ticket{Reason: bmcqueue.ReasonFull, RetryAfter: 15 * time.Second}, &gathered{now: epoch}
	g.submitted(epoch, provision.Insert, full)
	if len(g.deadlines) != 1 || !g.deadlines[0].Equal(epoch.Add(15*time.Second)) {
		t.Errorf("looked at again at %v", g.deadlines)
	}
	h := claimedHost()
	reportOperation(&h.Status, bmcqueue.Status{State: bmcqueue.StateIdle}, g)
	op := h.Status.Operation
	if op == nil || op.Kind != string(provision.Insert) || op.Phase != "Refused" || !strings.Contains(op.LastError, "provisioning.maxQueueSize") {
		t.Fatalf("%+v", op)
	}
	hostConditions(h, g, provision.Decision{State: provision.Provisioning})
	if c := conditions.Get(h, v1beta1.ReadyCondition); c.Reason != v1beta1.ReasonOperationFailing || !strings.Contains(c.Message, "queue") {
		t.Errorf("Ready says %+v", c)
	}
	was := op.DeepCopy()
	g.now = epoch.Add(time.Minute)
	if reportOperation(&h.Status, bmcqueue.Status{State: bmcqueue.StateIdle}, g); *h.Status.Operation != *was || h.Status.NextAttempt != nil {
		t.Errorf("written again for nothing: %+v", h.Status.Operation)
	}
	g = &gathered{}
	g.submitted(epoch, provision.Insert, bmcqueue.Ticket{Accepted: true, Reason: bmcqueue.ReasonQueued})
	if reportOperation(&h.Status, bmcqueue.Status{State: bmcqueue.StateIdle}, g); h.Status.Operation != nil {
		t.Errorf("still shown: %+v", h.Status.Operation)
	}
}

func goodReport() *v1beta1.BMCReport {
	return &v1beta1.BMCReport{MediaSlots: []v1beta1.MediaSlot{{ID: "1", Types: []string{"CD"}, CanInsert: true}}, ResetTypes: []string{"On", "ForceOff"},
		Capabilities: []string{redfish.CapabilityBootOnceCD}}
}

// A host whose BMC cannot boot from our medium stays out of the pool, and says what is missing and what to do.
func TestPreflight(t *testing.T) {
	const licence = "no virtual media: many BMCs want a licence or a setting for it; enable remote media on the BMC"
	for name, c := range map[string]struct {
		change func(*v1beta1.BMCReport)
		fit    bool
	}{
		"all there":         {func(*v1beta1.BMCReport) {}, true},
		"resets not listed": {func(b *v1beta1.BMCReport) { b.ResetTypes = nil }, true},
		"types not listed":  {func(b *v1beta1.BMCReport) { b.MediaSlots[0].Types = nil }, true},
		"a lesser problem": {func(b *v1beta1.BMCReport) {
			b.Problems = []string{"plain http"}
		}, true},
		"no slot":        {func(b *v1beta1.BMCReport) { b.MediaSlots, b.Problems = nil, []string{licence} }, false},
		"console only":   {func(b *v1beta1.BMCReport) { b.MediaSlots[0].CanInsert = false }, false},
		"USB stick only": {func(b *v1beta1.BMCReport) { b.MediaSlots[0].Types = []string{"USBStick"} }, false},
		"no CD boot":     {func(b *v1beta1.BMCReport) { b.Capabilities = nil }, false},
		"no power off":   {func(b *v1beta1.BMCReport) { b.ResetTypes = []string{"On"} }, false},
	} {
		t.Run(name, func(t *testing.T) {
			h, g := newHost(), &gathered{facts: provision.Facts{Observed: true}}
			h.Status.Hardware, h.Status.BMC = &v1beta1.Hardware{}, goodReport()
			c.change(h.Status.BMC)
			hostConditions(h, g, provision.Decision{State: provision.Available})
			for _, kind := range []string{v1beta1.AvailableCondition, v1beta1.ReadyCondition} {
				if conditions.IsTrue(h, kind) != c.fit {
					t.Errorf("%s: %+v", kind, conditions.Get(h, kind))
				}
			}
			if c.fit {
				return
			}
			m := conditions.GetMessage(h, v1beta1.AvailableCondition)
			if conditions.GetReason(h, v1beta1.AvailableCondition) != v1beta1.ReasonUnsupported || !strings.Contains(m, v1beta1.RetryNowAnnotation) || !strings.Contains(m, "lacks") {
				t.Errorf("Available says %q", m)
			}
			if p := h.Status.BMC.Problems; len(p) > 0 && (!strings.Contains(m, p[0]) || !strings.Contains(conditions.GetMessage(h, v1beta1.InspectedCondition), p[0])) {
				t.Errorf("Available says %q, Inspected %q", m, conditions.GetMessage(h, v1beta1.InspectedCondition))
			}
		})
	}
}

// The report of the BMC and its problems are in status, where `kubectl describe` shows them.
func TestTheReportIsInStatus(t *testing.T) {
	h := newHost()
	s := &h.Status
	reportInventory(h, actuator.Observation{Hardware: &redfish.Hardware{}, Identity: &redfish.Identity{Vendor: "generic", Product: "p", FirmwareVersion: "1",
		RedfishVersion: "1.17.0", SystemID: "1", ResetTypes: []string{"On"}, BootTargets: []string{"Cd"}, Capabilities: []string{"c"}, Problems: []string{"a licence is missing"},
		MediaSlots: []redfish.Slot{{ID: "CD1", Types: []string{"CD"}, CanInsert: true}}}})
	b := s.BMC
	if b == nil || b.Vendor != "generic" || len(b.MediaSlots) != 1 || b.MediaSlots[0].ID != "CD1" || !b.MediaSlots[0].CanInsert ||
		len(b.Problems) != 1 || len(b.Capabilities) != 1 || len(b.BootTargets) != 1 || len(b.ResetTypes) != 1 || b.FirmwareVersion != "1" {
		t.Fatalf("%+v", b)
	}
	reportInventory(h, actuator.Observation{})
	if s.BMC != b {
		t.Error("an observation without an inventory took the last one away")
	}
}

// A host that rests is asked seldom enough for ten requests in ten minutes, whatever the jitter.
func TestPollsOfRestingHosts(t *testing.T) {
	bound, awaited, ending := claimedHost(), claimedHost(), claimedHost()
	bound.Spec.Claim.Bound, ending.Spec.Claim.Bound = true, true
	ending.Spec.Claim.Release = &v1beta1.Release{}
	for host, want := range map[*v1beta1.PhysicalHost]time.Duration{newHost(): pollIdle, bound: pollBound, awaited: pollAwaited, ending: pollAwaited} {
		if got := pollEvery(host); got != want {
			t.Errorf("claim %+v: every %s, want %s", host.Spec.Claim, got, want)
		}
	}
	for _, rest := range []time.Duration{pollIdle, pollBound} {
		if n := 10*time.Minute/(rest*9/10) + 1; n > 10 {
			t.Errorf("%d polls in ten minutes", n)
		}
	}
}

// A BMC that lacks something is looked at again after an hour, and not in between.
func TestAnUnfitHostIsInspectedAgain(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r := newRig(t, newHost(), newSecret("bmc"))
	ended := make(chan error, 1)
	go func() { ended <- r.gate.Run(ctx) }()
	defer func() { cancel(); <-ended }()
	seen := func() actuator.Observation { o, _ := r.host.Actuator.Observed(namespace + "/h"); return o }
	until := func(what string, done func() bool) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); !done(); runtime.Gosched() {
			if r.look(1); time.Now().After(deadline) {
				t.Fatalf("never %s", what)
			}
		}
	}
	until("inspected", func() bool { return r.getHost().Status.BMC != nil && !seen().InspectedAt.IsZero() })
	host, first := r.getHost(), seen().InspectedAt
	host.Status.BMC.MediaSlots = nil
	if next := r.host.inspectUnfit(host); seen().Stale || !next.Equal(first.Add(unfitAgain)) {
		t.Fatalf("asked for again at once, or at %s", next)
	}
	r.sleep(unfitAgain)
	host = r.getHost()
	host.Status.BMC.MediaSlots = nil
	if r.host.inspectUnfit(host); !seen().Stale {
		t.Fatal("not asked for after an hour")
	}
	until("inspected again", func() bool { return seen().InspectedAt.After(first) })
}
