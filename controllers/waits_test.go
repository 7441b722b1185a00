package controllers

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/coordinator"
	"github.com/beskar7/beskar7/pkg/provision"
	"github.com/beskar7/beskar7/pkg/redfish"
)

// states are those of the API.
func states(t *testing.T) []provision.State {
	t.Helper()
	text, err := os.ReadFile("../config/crd/bases/infrastructure.cluster.x-k8s.io_physicalhosts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	type schema struct {
		Properties map[string]struct {
			Properties map[string]struct{ Enum []provision.State }
		}
	}
	var crd struct {
		Spec struct {
			Versions []struct {
				Schema struct{ OpenAPIV3Schema schema }
			}
		}
	}
	if err := yaml.Unmarshal(text, &crd); err != nil {
		t.Fatal(err)
	}
	all := crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["status"].Properties["state"].Enum
	if len(all) == 0 {
		t.Fatal("the CRD has no states")
	}
	return all
}

// waiting is a host in a state, for long, with what may keep it there.
type waiting struct {
	claimed bool
	change  func(*v1beta1.PhysicalHost, *gathered)
	// command that ends the wait.
	command string
}

func nothing(*v1beta1.PhysicalHost, *gathered) {}

func waitingHosts() map[provision.State][]waiting {
	const retry, give = "annotate ph h infrastructure.cluster.x-k8s.io/retry-now", "kubectl -n ns delete machines.cluster.x-k8s.io m"
	const consented, unverified, released = `"consentToErase":true`, "release-unverified=" + claimID, "patch ph h --type merge -p \"{\\\"spec\\\":{\\\"claim\\\":{\\\"release\\\""
	orphan := func(s coordinator.Standing, cluster *clusterv1.Cluster) func(*v1beta1.PhysicalHost, *gathered) {
		return func(h *v1beta1.PhysicalHost, g *gathered) {
			g.standing, g.machine, g.cluster = s, nil, cluster
			g.holding = coordinator.Holding{Host: h, Cluster: cluster, Now: g.now, ClaimedSince: g.now.Add(-time.Hour)}
		}
	}
	return map[provision.State][]waiting{
		provision.Enrolling:  {{false, nothing, retry}},
		provision.Inspecting: {{false, nothing, retry}, {false, failing("Inspect"), retry}},
		provision.Cleaning:   {{false, nothing, retry}, {false, failing("Eject"), `"consentToErase":false`}},
		provision.PoweredOn:  {{false, nothing, consented}},
		provision.NotEmpty:   {{false, nothing, consented}},
		provision.Duplicate: {{false, func(_ *v1beta1.PhysicalHost, g *gathered) { g.duplicateOf = "ns/a" }, "delete ph h"},
			{true, func(_ *v1beta1.PhysicalHost, g *gathered) { g.duplicateOf = "ns/a" }, give}},
		provision.OtherServer: {{false, func(_ *v1beta1.PhysicalHost, g *gathered) { g.facts.OtherServer = true }, v1beta1.AcceptServerAnnotation},
			{true, func(_ *v1beta1.PhysicalHost, g *gathered) { g.facts.OtherServer = true }, give}},
		provision.Maintenance: {{false, nothing, `"maintenance":false`}},
		provision.Claimed:     {{true, nothing, give}},
		provision.Provisioning: {{true, nothing, give}, {true, failing("Insert"), give},
			{true, func(_ *v1beta1.PhysicalHost, g *gathered) { g.contentReason = v1beta1.ReasonBootstrapDataMissing }, give}},
		provision.Booting: {{true, nothing, give},
			{true, func(_ *v1beta1.PhysicalHost, g *gathered) { g.facts.BootOverdue = true }, give},
			{true, func(_ *v1beta1.PhysicalHost, g *gathered) { g.bootUncertain = true }, give},
			{true, func(_ *v1beta1.PhysicalHost, g *gathered) { g.facts.Report = provision.ReportFailed }, give}},
		provision.Provisioned: {{true, func(h *v1beta1.PhysicalHost, g *gathered) {
			g.facts.Bound, g.facts.Install, g.facts.KeepOn, g.facts.Steady = true, true, true, true
			h.Status.Power = string(provision.PowerStateOff)
		}, give}},
		provision.Releasing:      {{true, marked, "status.nextAttempt"}},
		provision.ReleaseBlocked: {{true, marked, unverified}},
		provision.Orphaned: {{true, orphan(coordinator.StandingOrphaned, nil), released},
			{true, orphan(coordinator.StandingOrphanBound, newCluster()), released}},
		provision.Quarantined: {{false, quarantine, "/spec/quarantine"}, {true, quarantine, unverified}},
		provision.Paused: {{false, func(h *v1beta1.PhysicalHost, _ *gathered) {
			h.Annotations = map[string]string{clusterv1.PausedAnnotation: ""}
		}, "annotate ph h cluster.x-k8s.io/paused-"},
			{true, func(_ *v1beta1.PhysicalHost, g *gathered) { g.cluster.Spec.Paused = ptr.To(true) }, "patch cluster c"},
			{true, func(_ *v1beta1.PhysicalHost, g *gathered) {
				g.machine.Annotations = map[string]string{clusterv1.PausedAnnotation: ""}
			}, "annotate beskar7machine m cluster.x-k8s.io/paused-"},
			{false, func(h *v1beta1.PhysicalHost, _ *gathered) { h.Spec.Paused = true }, `"paused":false`}},
		provision.State(v1beta1.StateBootFailed): {}, // left as they are: their own messages say what to do
		provision.State(v1beta1.StateLost):       {},
		provision.Available:                      {}, // nothing is waited for
		provision.Deleting:                       {}, // gone with the next write
	}
}

func failing(kind string) func(*v1beta1.PhysicalHost, *gathered) {
	return func(h *v1beta1.PhysicalHost, _ *gathered) {
		h.Status.Operation = &v1beta1.HostOperation{Kind: kind, LastError: "no"}
	}
}

func marked(h *v1beta1.PhysicalHost, g *gathered) {
	failing("Eject")(h, g)
	h.Spec.Claim.Release = &v1beta1.Release{Reason: "MachineDeleted"}
	g.facts.Claim, g.facts.ReleaseOverdue = provision.ClaimReleasing, true
}

func quarantine(h *v1beta1.PhysicalHost, _ *gathered) {
	h.Spec.Quarantine = &v1beta1.Quarantine{Reason: v1beta1.ReasonOrphaned}
}

// Whatever a host waits for, after its time it says so, with the command that ends it; and its machine passes that on.
func TestEveryWaitSaysWhatEndsIt(t *testing.T) {
	cases := waitingHosts()
	for _, state := range states(t) {
		all, known := cases[state]
		if !known {
			t.Errorf("state %s: what ends it?", state)
		}
		for i, c := range all {
			h := newHost()
			g := &gathered{now: epoch, facts: provision.Facts{Observed: true, Inventoried: true}}
			if c.claimed {
				h = claimedHost()
				g.machine, g.cluster, g.facts.Claim = newMachine(), newCluster(), provision.ClaimHeld
			}
			g.holding = coordinator.Holding{Host: h, Machine: g.machine, Cluster: g.cluster, Now: epoch, ClaimedSince: epoch}
			h.Status.State, h.Status.StateSince = v1beta1.HostState(state), metav1.NewTime(epoch.Add(-24*time.Hour))
			c.change(h, g)
			hostConditions(h, g, provision.Decision{State: state})
			ready := conditions.Get(h, v1beta1.ReadyCondition)
			if ready.Status != metav1.ConditionFalse || !strings.Contains(ready.Message, c.command) {
				t.Errorf("%s, case %d: %s/%s does not say %q: %q", state, i, ready.Status, ready.Reason, c.command, ready.Message)
			}
			if at := strings.LastIndex(ready.Message, "kubectl "); at >= 0 && state != provision.OtherServer && state != provision.Duplicate {
				if last := ready.Message[at:]; strings.Contains(last, " (") || strings.Contains(last, "; ") || strings.Contains(last, ". ") {
					t.Errorf("%s, case %d: words follow the command, which cannot be copied: %q", state, i, last)
				}
			}
			if words := conditions.GetMessage(machineOf(h), v1beta1.ReadyCondition); c.claimed && !conditions.IsTrue(machineOf(h), v1beta1.ReadyCondition) && !strings.Contains(words, c.command) {
				t.Errorf("%s, case %d: the machine does not say %q: %q", state, i, c.command, words)
			}
		}
	}
}

// What ends by itself as a rule is not complained of before its time, and is looked at again when that is over.
func TestAWaitIsNotOverdueBeforeItsTime(t *testing.T) {
	for state, w := range waits {
		h, g := claimedHost(), &gathered{now: epoch}
		h.Status.State, h.Status.StateSince = v1beta1.HostState(state), metav1.NewTime(epoch)
		if said := overdue(h, g, state); said != "" || len(g.deadlines) != 1 || !g.deadlines[0].Equal(epoch.Add(w.limit(h))) {
			t.Errorf("%s: it says %q; looked at again at %v", state, said, g.deadlines)
		}
	}
}

// A claimed host that is being deleted says what that waits for, and the command that brings it about.
func TestDeletingAClaimedHostSaysWhatItWaitsFor(t *testing.T) {
	for _, bound := range []bool{true, false} {
		h := inventoried(claimedHost())
		h.Spec.Claim.Bound = bound
		h.Finalizers = []string{v1beta1.HostFinalizer}
		if !bound {
			h.Status.Booted = &v1beta1.BootRecord{ClaimID: claimID, At: metav1.NewTime(epoch)}
		}
		g := &gathered{machine: newMachine(), facts: provision.Facts{Observed: true, Claim: provision.ClaimHeld, Bound: bound, Deleting: true, Power: provision.PowerStateOn, Media: provision.MediaOurs}}
		d := provision.Decide(g.facts)
		hostConditions(h, g, d)
		c := conditions.Get(h, v1beta1.ReadyCondition)
		if c.Status != metav1.ConditionFalse || c.Reason != v1beta1.ReasonDeleting || !strings.Contains(c.Message, "kubectl -n ns delete machines.cluster.x-k8s.io m") {
			t.Errorf("bound %v: %s/%s %q", bound, c.Status, c.Reason, c.Message)
		}
		h.Status.State = v1beta1.HostState(d.State)
		if m := machineOf(h); bound && !conditions.IsTrue(m, v1beta1.ReadyCondition) {
			t.Error("its machine, whose system runs, is not ready")
		}
		h.Spec.Claim.Release = &v1beta1.Release{Reason: "MachineDeleted"}
		g.facts.Claim = provision.ClaimReleasing
		hostConditions(h, g, provision.Decision{State: provision.Releasing})
		if m := conditions.GetMessage(h, v1beta1.ReadyCondition); !strings.Contains(m, "being deleted, and goes when") {
			t.Errorf("while it is released it says %q", m)
		}
	}
}

// The deletion of a machine whose host a person paused says that, and the command that ends the pause.
func TestDeletingAMachineOfAPausedHostNamesThePause(t *testing.T) {
	h := claimedHost()
	h.Annotations = map[string]string{clusterv1.PausedAnnotation: ""}
	r := newRig(t, h, newMachine(), newOwner(), newCluster(), newSecret("bmc"))
	r.deleteMachine()
	r.look(2)
	r.lookAtMachine(3)
	r.look(2)
	r.lookAtMachine(2)
	m := &v1beta1.Beskar7Machine{}
	r.get(m, "m")
	if words := conditions.GetMessage(m, v1beta1.ReadyCondition); !strings.Contains(words, "release that machine m asked for waits") || !strings.Contains(words, "kubectl -n ns annotate ph h cluster.x-k8s.io/paused-") {
		t.Errorf("the machine says %q", words)
	}
}

// The namespace is deleted: bootstrap Secret, Machine and Cluster go at once. The BMC's Secret stays as long as the release needs it.
func TestANamespaceThatIsDeletedIsLeftByEverything(t *testing.T) {
	host := claimedHost()
	host.Finalizers = []string{v1beta1.HostFinalizer}
	r := newRig(t, host, newMachine(), newSecret("bmc"))
	r.look(1)
	for _, o := range []client.Object{r.getHost(), newSecret("bmc")} {
		if err := r.api.Delete(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	r.deleteMachine()
	r.lookAtMachine(2)
	r.look(2)
	if r.getHost().Spec.Claim.Release == nil || !r.guarded("bmc") {
		t.Fatalf("claim %+v, the BMC's Secret is kept: %v", r.getHost().Spec.Claim, r.guarded("bmc"))
	}
	edit(r, &v1beta1.PhysicalHost{}, "h", func(h *v1beta1.PhysicalHost) { h.Spec.Claim, h.Spec.Boot = nil, nil }) // as the release ends
	r.lookAtMachine(2)
	r.look(3)
	for name, o := range map[string]client.Object{"h": &v1beta1.PhysicalHost{}, "m": &v1beta1.Beskar7Machine{}, "bmc": newSecret("")} {
		if r.api.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, o) == nil {
			t.Errorf("%T %s is still there, finalizers %v", o, name, o.GetFinalizers())
		}
	}
}

// What is on a host that is not empty is named: never by a URL, which may be a secret as a whole.
func TestNotEmptySaysWhatIsThere(t *testing.T) {
	slot := func(image string) []redfish.Slot {
		return []redfish.Slot{{ID: "CD1", Inserted: true, Image: image}, {ID: "CD2"}}
	}
	cd := func(e redfish.OverrideEnabled) redfish.BootOverride {
		return redfish.BootOverride{Enabled: e, Target: "UsbCd"}
	}
	for name, c := range map[string]struct {
		slots  []redfish.Slot
		boot   redfish.BootOverride
		reason string
		says   string
	}{
		"medium":             {slot("https://user:secret@images.example:8443/secret/a.iso?secret=1"), redfish.BootOverride{}, v1beta1.ReasonForeignMedia, "slot CD1 holds an image from host images.example"},
		"medium of a share":  {slot(`\\files.example\secret\a.iso`), redfish.BootOverride{}, v1beta1.ReasonForeignMedia, "slot CD1 holds an image from host files.example"},
		"medium of no name":  {slot(""), redfish.BootOverride{}, v1beta1.ReasonForeignMedia, "slot CD1 holds an image,"},
		"override, once":     {nil, cd(redfish.OverrideOnce), v1beta1.ReasonBootOverrideSet, "UsbCd, for the next boot"},
		"override, for ever": {nil, cd(redfish.OverrideContinuous), v1beta1.ReasonBootOverrideSet, "UsbCd, for every boot"},
		"both":               {slot("https://images.example/secret.iso"), cd(redfish.OverrideOnce), v1beta1.ReasonForeignMedia, "boot override is set"},
	} {
		h, g := newHost(), &gathered{facts: provision.Facts{Observed: true, Inventoried: true}}
		g.observation.Slots, g.observation.State.Boot = c.slots, c.boot
		hostConditions(h, g, provision.Decision{State: provision.NotEmpty})
		for _, kind := range []string{v1beta1.AvailableCondition, v1beta1.ReadyCondition} {
			got := conditions.Get(h, kind)
			if got.Reason != c.reason || !strings.Contains(got.Message, c.says) || strings.Contains(got.Message, "secret") {
				t.Errorf("%s: %s %s %q", name, kind, got.Reason, got.Message)
			}
		}
	}
}

// No hint at a medium that somebody took while we ourselves take it out.
func TestNobodyIsAccusedOfWhatWeDo(t *testing.T) {
	for name, change := range map[string]func(*v1beta1.PhysicalHost, *gathered){
		"being released": func(h *v1beta1.PhysicalHost, _ *gathered) { h.Spec.Claim.Release = &v1beta1.Release{} },
		"being ejected": func(h *v1beta1.PhysicalHost, _ *gathered) {
			h.Status.Operation = &v1beta1.HostOperation{Kind: string(provision.Eject)}
		},
		"came to nothing": func(_ *v1beta1.PhysicalHost, g *gathered) {
			g.observation.Spent = map[string]bool{"CD1": true}
		},
	} {
		h, g := boundHost(), &gathered{facts: provision.Facts{Observed: true, Claim: provision.ClaimHeld, Bound: true, Power: provision.PowerStateOn, Media: provision.MediaOther}}
		if hint := bootHints(h, g); !strings.Contains(hint, "not in the BMC's slot any more") {
			t.Errorf("without %s, the hint is %q", name, hint)
		}
		change(h, g)
		if hint := bootHints(h, g); strings.Contains(hint, "not in the BMC's slot any more") {
			t.Errorf("%s: %q", name, hint)
		}
	}
}

// What a host says of a broken system takes Ready from its machine.
func TestEverySystemFaultCounts(t *testing.T) {
	given := map[string]bool{}
	for _, bound := range []bool{true, false} {
		for _, state := range []provision.State{provision.Booting, provision.Provisioned} {
			for _, change := range []func(*gathered){func(g *gathered) { g.facts.BootOverdue = true }, func(g *gathered) { g.facts.Report = provision.ReportFailed }, func(*gathered) {}} {
				h, g := claimedHost(), &gathered{facts: provision.Facts{Observed: true, Claim: provision.ClaimHeld, Bound: bound}}
				h.Status.Power = string(provision.PowerStateOff)
				change(g)
				if fault, broken := systemFault(h, g, provision.Decision{State: state}); broken {
					given[fault.reason] = true
				}
			}
		}
	}
	for reason := range given {
		if !slices.Contains(systemFaults, reason) {
			t.Errorf("a host gives %s for a system that is broken, and its machine stays ready", reason)
		}
	}
}
