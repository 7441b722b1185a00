package controllers

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/cluster-api/util"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/provision"
)

// gatherLife looks for a sign of life of what was booted.
func (r *PhysicalHostReconciler) gatherLife(ctx context.Context, host *v1beta1.PhysicalHost, g *gathered) error {
	f, claim := &g.brief.Facts, host.Spec.Claim
	if claim.Bound || g.machine == nil {
		return nil
	}
	if g.cluster == nil {
		f.NodeUnknown = true // a restore may bring the Cluster last: until then nobody knows what became of a boot
		return nil
	}
	sight, err := r.gatherNode(ctx, host, g)
	if err != nil {
		return err
	}
	// A Node that cannot be looked for is not a missing Node: once the control plane was up, only its answer counts. Before that
	// nobody could join, so that what another boot does with the bootstrap data is the same as what the first one did.
	certain := sight.known || !ptr.Deref(g.cluster.Status.Initialization.ControlPlaneInitialized, false)
	f.NodeUnknown = !certain && !f.NodeSeen && !f.NodeNamed
	booted := bootedAt(host, g.observation)
	if booted.IsZero() || f.NodeSeen || f.NodeNamed || f.Report != provision.ReportNone {
		return nil
	}
	due := booted.Add(bootTimeout(host))
	overdue := !r.Clock.Now().Before(due)
	f.BootOverdue, g.bootUncertain = certain && overdue, !certain && overdue
	g.deadlines = append(g.deadlines, due)
	return nil
}

// gatherNode looks for the claim's Node, by its provider id, or by its name alone.
func (r *PhysicalHostReconciler) gatherNode(ctx context.Context, host *v1beta1.PhysicalHost, g *gathered) (nodeSight, error) {
	f, claim := &g.brief.Facts, host.Spec.Claim
	providerID := v1beta1.ProviderID(host.Namespace, host.Name, claim.ID)
	sight, err := findNode(ctx, r.ClusterCache, client.ObjectKeyFromObject(g.cluster), providerID, claim.Machine)
	if err != nil {
		return sight, err
	}
	owner, err := util.GetOwnerMachine(ctx, r.Client, g.machine.ObjectMeta)
	if client.IgnoreNotFound(err) != nil {
		return sight, err
	}
	f.NodeSeen = sight.node != nil || (owner != nil && owner.Spec.ProviderID == providerID && owner.Status.NodeRef.IsDefined())
	if !f.NodeSeen && sight.named != nil && mayBeOf(sight.named, claim) {
		f.NodeNamed, g.nodeNamed = true, sight.named
	}
	return sight, nil
}

// mayBeOf says whether a Node of a claim's host name, without the claim's provider id, can be of this claim: not with the id of
// another claim, as a former tenant's, and either alive now, or registered since the claim was made. A Node that waits for its
// network is not Ready, and runs.
func mayBeOf(node *corev1.Node, claim *v1beta1.Claim) bool {
	if _, _, _, another := parseProviderID(node.Spec.ProviderID); another {
		return false
	}
	return nodeReady(node) || claim.ClaimedAt != nil && !node.CreationTimestamp.Time.Before(claim.ClaimedAt.Time)
}

// lifeFault is what is wrong with a host that is not booted, or not cut, because of what ran on it.
func lifeFault(host *v1beta1.PhysicalHost, g *gathered, d provision.Decision) (readiness, bool) {
	f := g.facts
	off := foundOff(host, f)
	held := f.Claim == provision.ClaimHeld
	switch {
	case held && f.Bound && off && !f.Observed && !f.Install && !f.AlwaysOn, d.State == provision.Lost:
		return notReady(v1beta1.ReasonSystemLost, lostMessage(host, g)), true
	case d.State == provision.BootFailed:
		return notReady(v1beta1.ReasonBootFailed, failedMessage(host, g)), true
	case held && off:
		return offFault(host, g, d)
	}
	return runningFault(host, g, d)
}

// offFault is lifeFault for a held host that is off.
func offFault(host *v1beta1.PhysicalHost, g *gathered, d provision.Decision) (readiness, bool) {
	f := g.facts
	waits := d.State == provision.Provisioning && d.Action == provision.None
	switch {
	case f.Maintenance:
		return notReady(whyOff(f, v1beta1.ReasonMaintenance), "off, and spec.maintenance is set: it is not powered on before that ends: "+patchHost(host, `{"spec":{"maintenance":false}}`)), true
	case f.Deleting:
		return notReady(whyOff(f, v1beta1.ReasonDeleting), "off, and the PhysicalHost is being deleted: it is not powered on; "+replaceMachine(host, g)+", and the host is released and goes"), true
	case f.Bound && f.Install && !f.KeepOn:
		return notReady(v1beta1.ReasonPoweredOff, "the server is off, and spec.powerPolicy is Observe: power it on, or set spec.powerPolicy to KeepOn"), true
	case d.State == provision.Booting && !f.Observed && host.Status.Booted != nil && host.Status.Booted.OffAt != nil:
		return notReady(v1beta1.ReasonSwitchedOff, silence(host)+": whether it is booted again is decided once its BMC is read"), true
	case d.Resting():
		return notReady(v1beta1.ReasonSwitchedOff, silence(host)+": it is booted again, see status.attempts and status.nextAttempt; look at its console and at its image"), true
	case !f.Bound && f.Booted && f.NodeUnknown && waits:
		return notReady(v1beta1.ReasonNodeUnknown, fmt.Sprintf("off after its boot, and cluster %s cannot be asked whether its system became a Node: its bootstrap data are good for one, so it is not booted again before the cluster answers; mend the cluster's API server, or %s",
			host.Spec.Claim.Cluster, replaceMachine(host, g))), true
	}
	return runningFault(host, g, d)
}

// foundOff: what a bound system's machine is to say is not believed after one slip of a BMC.
func foundOff(host *v1beta1.PhysicalHost, f provision.Facts) bool {
	return provision.Power(host.Status.Power) == provision.PowerStateOff && (!f.Bound || f.Steady || !f.Observed)
}

// whyOff is the reason of a host that is off and left so: a bound one has no system any more, which its machine has to say.
func whyOff(f provision.Facts, unbound string) string {
	if f.Bound {
		return v1beta1.ReasonPoweredOff
	}
	return unbound
}

// runningFault is lifeFault for what runs, unbound.
func runningFault(host *v1beta1.PhysicalHost, g *gathered, d provision.Decision) (readiness, bool) {
	f := g.facts
	if f.Claim != provision.ClaimHeld || f.Bound || f.Power != provision.PowerStateOn {
		return readiness{}, false
	}
	switch {
	case f.NodeNamed && f.Report != provision.ReportFailed:
		return notReady(v1beta1.ReasonNodeNotOurs, strangeNode(host, g)), true
	case d.State == provision.Provisioning && d.Action == provision.None:
		return notReady(v1beta1.ReasonRunningUnknown, "the server runs, and nobody can say whether it was booted for this claim: it is left as it is. If what runs is of no use, power the server off, and it is booted from its medium; or "+replaceMachine(host, g)), true
	case d.State == provision.Booting && g.rowOverdue && g.boots > 1 && !f.BootOverdue && !g.bootUncertain && f.Report == provision.ReportNone:
		return notReady(v1beta1.ReasonBootOverdue, fmt.Sprintf("no Node and no phone-home within %s of the first of %d boots; look at its console%s",
			duration(bootTimeout(host)), g.boots, hinted(bootHints(host, g)))), true
	}
	return readiness{}, false
}

func lostMessage(host *v1beta1.PhysicalHost, g *gathered) string {
	switch {
	case g.facts.Bound:
		return "lost its system: a Live system lives in memory, and the server is off. Its bootstrap data were good for one boot, so it is left off: " + replaceMachine(host, g) +
			", and another one takes its place. Only if the image bears another boot with the data of the first: spec.powerPolicy AlwaysOn"
	case g.nodeNamed != nil:
		return fmt.Sprintf("off, and Node %s of cluster %s was its system, which may have used its bootstrap data: these are good for one boot, so it is left off: %s, and another one takes its place",
			g.nodeNamed.Name, host.Spec.Claim.Cluster, replaceMachine(host, g))
	}
	return "off, and its system reported that its bootstrap failed, for which it used its bootstrap data: these are good for one boot, so it is left off: " +
		replaceMachine(host, g) + ", and another one takes its place"
}

func failedMessage(host *v1beta1.PhysicalHost, g *gathered) string {
	return fmt.Sprintf("%s, after %d boots of which none gave a sign of life; it is not booted again (provisioning.maxBoots). Look at its console, its image and its disks; then try again: %s; or %s",
		silence(host), g.boots, retryNow(host), replaceMachine(host, g))
}

// silence says how the last boot ended.
func silence(host *v1beta1.PhysicalHost) string {
	b := host.Status.Booted
	if b != nil && b.OffAt != nil {
		if after := b.OffAt.Sub(b.At.Time); after < bootTimeout(host) {
			return fmt.Sprintf("switched itself off, or lost its power, %s after its last boot", duration(after.Round(time.Second)))
		}
	}
	return fmt.Sprintf("no Node and no phone-home within %s of its last boot", duration(bootTimeout(host)))
}

func strangeNode(host *v1beta1.PhysicalHost, g *gathered) string {
	want := v1beta1.ProviderID(host.Namespace, host.Name, host.Spec.Claim.ID)
	if id := g.nodeNamed.Spec.ProviderID; id != "" {
		return fmt.Sprintf("Node %s of cluster %s runs with provider id %q, which cannot be changed, and not with this claim's, %q: the Machine will have no Node. The server is left running. Mend what tells its kubelet the id, and %s",
			g.nodeNamed.Name, host.Spec.Claim.Cluster, id, want, replaceMachine(host, g))
	}
	return fmt.Sprintf("Node %s of cluster %s runs without a provider id, so that the Machine has no Node. The server is left running. If it is this server, tell the cluster: kubectl patch node %s -p '{\"spec\":{\"providerID\":\"%s\"}}'",
		g.nodeNamed.Name, host.Spec.Claim.Cluster, g.nodeNamed.Name, want)
}

// replaceMachine is how a person has the machine of a host replaced.
func replaceMachine(host *v1beta1.PhysicalHost, g *gathered) string {
	return "delete the Machine (" + deleteMachine(host, g.machine) + ")"
}

// unsettled remembers since when this process has seen the claims of hosts in a position that ends when its grace is over: not
// confirmed by its machine, or without one. It is not recorded: the time in which no manager ran must not count, as nobody looked
// then, and what was gone for a moment of a `clusterctl move` or a restore may be back by now. So a restart begins a new grace.
// The zero value is ready for use.
type unsettled struct {
	mu   sync.Mutex
	seen map[string]sighting
}

type sighting struct {
	position position
	since    time.Time
}

// position is what is in doubt. Another claim, a machine that comes or goes, and a Cluster that comes or goes begin a new one.
type position struct {
	claim            string
	machine, cluster bool // there is one of the claim's name
}

// since is when the host was first seen in the position it is in now.
func (u *unsettled) since(host string, now time.Time, p position) time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	if s, found := u.seen[host]; found && s.position == p {
		return s.since
	}
	if u.seen == nil {
		u.seen = map[string]sighting{}
	}
	u.seen[host] = sighting{p, now}
	return now
}

// forget is for a host whose claim is settled, and for one that is gone.
func (u *unsettled) forget(host string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.seen, host)
}
