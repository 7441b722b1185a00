package crash

import (
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	clusterctlv1 "sigs.k8s.io/cluster-api/cmd/clusterctl/api/v1alpha3"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/redfish"
	"github.com/beskar7/beskar7/test/crash/witness"
)

// deed is what a person or the world does at a cut, in the midst of a request.
type deed struct{ do func(*world) }

// undone is how many turns later a person takes back what can be taken back.
const undone = 14

var deeds map[string]deed

func init() { // they use worlds, and worlds use them
	deeds = map[string]deed{
		"pause the cluster": {func(w *world) {
			pauseCluster(w.site, true)
			w.later(undone, func() { pauseCluster(w.site, false) })
		}},
		"pause the host": {func(w *world) {
			annotate(w, clusterv1.PausedAnnotation, "", true)
			w.later(undone, func() { annotate(w, clusterv1.PausedAnnotation, "", false) })
		}},
		"move":              {move},
		"orphan":            {orphan},
		"quarantine":        {quarantine},
		"give up":           {giveUp},
		"cut the mains":     {cutMains},
		"another server":    {anotherServer},
		"late claim":        {func(w *world) { lateClaim(w, "x") }},
		"late claim for it": {func(w *world) { lateClaim(w, "m") }},
		"delete the host": {func(w *world) {
			w.user.blocked, w.user.hostsGone = true, true
			w.site.store.remove("PhysicalHost", "h", false)
		}},
		"delete the machine": {func(w *world) {
			w.user.deleted["m"] = true
			w.site.store.remove("Beskar7Machine", "m", false)
		}},
		"lose the cluster": {func(w *world) {
			w.user.blocked = true
			w.site.store.remove("Cluster", "c", true)
			w.later(2, func() { w.site.store.remove("Beskar7Machine", "m", false) })
		}},
		"lose the owner": {func(w *world) {
			w.user.blocked = true
			w.site.store.remove("Machine", "m", true)
			w.later(2, func() { w.site.store.remove("Beskar7Machine", "m", false) })
		}},
		"delete the bootstrap Secret": {func(w *world) {
			w.user.blocked = true
			w.site.store.remove("Secret", "m", false)
		}},
		"delete the BMC Secret": {func(w *world) {
			w.site.store.remove("Secret", "bmc", false)
			w.later(undone, func() { w.user.mendsSecret = true })
		}},
		"delete the namespace": {func(w *world) {
			w.user.blocked, w.user.hostsGone = true, true
			for key := range w.site.store.snapshot() {
				w.site.store.remove(key.kind, key.name, false)
			}
		}},
	}
}

func pauseCluster(s *site, pause bool) {
	edit(s.store, &clusterv1.Cluster{}, "c", func(c *clusterv1.Cluster) { c.Spec.Paused = ptr.To(pause) })
}

func annotate(w *world, key, value string, set bool) {
	edit(w.site.store, &v1beta1.PhysicalHost{}, "h", func(h *v1beta1.PhysicalHost) {
		if h.Annotations == nil {
			h.Annotations = map[string]string{}
		}
		if h.Annotations[key] = value; !set {
			delete(h.Annotations, key)
		}
	})
}

// orphan: the machine is gone without giving anything back. What was bound is quarantined, and a person ends its claim.
func orphan(w *world) {
	w.user.deleted["m"], w.user.quarantined = true, true
	w.site.store.remove("Beskar7Machine", "m", true)
	var decide func()
	decide = func() {
		h, ok := get(w.site.store, &v1beta1.PhysicalHost{}, "h")
		if ok && h.Spec.Claim != nil && h.Spec.Claim.Bound && h.Spec.Quarantine != nil {
			annotate(w, v1beta1.ReleaseUnverifiedAnnotation, h.Spec.Claim.ID, true)
		} else if ok && h.Spec.Claim != nil {
			w.later(undone, decide)
		}
	}
	w.later(undone, decide)
}

func quarantine(w *world) {
	set := func(q *v1beta1.Quarantine) {
		edit(w.site.store, &v1beta1.PhysicalHost{}, "h", func(h *v1beta1.PhysicalHost) { h.Spec.Quarantine = q })
	}
	set(&v1beta1.Quarantine{Reason: "Person", Message: "to be looked at", Since: metav1.Now()})
	w.later(undone, func() { set(nil) })
}

// giveUp ends the release unverified, now or as soon as there is one.
func giveUp(w *world) {
	h, ok := get(w.site.store, &v1beta1.PhysicalHost{}, "h")
	if !ok || h.Spec.Claim == nil {
		return
	}
	w.user.quarantined = true
	annotate(w, v1beta1.ReleaseUnverifiedAnnotation, h.Spec.Claim.ID, true)
}

// lateClaim is the write of an arbiter that was deposed and does not know it yet, for a machine that is no more, or that has not
// asked this arbiter: if the host is free at this moment, it has it.
func lateClaim(w *world, machine string) {
	edit(w.site.store, &v1beta1.PhysicalHost{}, "h", func(h *v1beta1.PhysicalHost) {
		if h.Spec.Claim == nil {
			h.Spec.Claim = &v1beta1.Claim{ID: "feedfacefeedface", Machine: machine, Cluster: "c", LeaseHolder: "deposed"}
			h.Spec.Boot = &v1beta1.Boot{ImageURL: "http://images/a.iso", OSFamily: "generic", BootMode: w.life.boot, BootstrapSecret: machine}
		}
	})
}

func cutMains(w *world) {
	w.user.blocked = true
	for _, s := range w.servers {
		before := s.truth()
		s.fake.CutPower()
		if before.Power != "Off" {
			_ = s.change("", witness.Outside, "", func() error { return nil })
		}
	}
}

// anotherServer answers at the addresses for a while: a typo in a DHCP server, say. Its power, media and override are those of the
// recorded one, so that nothing but its identity tells. Before one was recorded, nobody can know.
func anotherServer(w *world) {
	for _, s := range w.servers {
		h, ok := get(w.site.store, &v1beta1.PhysicalHost{}, s.host)
		if !ok || h.Status.Hardware == nil || h.Status.Hardware.SystemUUID != s.identity.SystemUUID {
			continue
		}
		own := s.identity
		other := own
		other.SystemUUID, other.SerialNumber = "4c4c4544-0000-4000-8000-0000000000ff", "another"
		swap := func(id redfish.Identity, op string) {
			s.fake.SetIdentity(id)
			s.history.Asked(witness.Request{At: time.Now(), Host: s.host, Op: op, Before: s.truth(), After: s.truth()})
		}
		swap(other, witness.Another)
		w.later(undone, func() { swap(own, witness.Own) })
	}
}

// move is `clusterctl move`: pause, wait for block-move, copy without status, delete what was copied, unpause. The process of the
// old cluster goes on all the while, and some turns longer.
func move(w *world) {
	if m, ok := get(w.site.store, &v1beta1.Beskar7Machine{}, "m"); !ok || !m.DeletionTimestamp.IsZero() {
		return // clusterctl refuses
	}
	pauseCluster(w.site, true)
	w.later(1, w.moveOn)
}

func (w *world) moveOn() {
	for key, o := range w.site.store.snapshot() {
		if _, blocked := o.typed.GetAnnotations()[clusterctlv1.BlockMoveAnnotation]; blocked && key.kind == "Beskar7Machine" {
			w.later(1, w.moveOn)
			return
		}
	}
	w.old = w.site
	w.site = &site{name: "second", world: w, store: newStore("second", w.history)}
	order := []string{"Secret", "Cluster", "PhysicalHost", "Machine", "Beskar7Machine"}
	var next func()
	next = func() {
		if len(order) == 0 {
			w.moved()
			return
		}
		w.copyAll(order[0])
		order = order[1:]
		w.later(1, next)
	}
	next()
}

// copyAll creates the objects of one kind in the new cluster, with spec and without status.
func (w *world) copyAll(kind string) {
	for key, o := range w.old.store.snapshot() {
		if key.kind != kind {
			continue
		}
		fresh := o.typed.DeepCopyObject().(client.Object)
		fresh.SetResourceVersion("")
		tree := treeOf(fresh)
		delete(tree, "status")
		w.site.store.createTree(kind, key.name, tree)
	}
}

// moved deletes the originals, as clusterctl does: marked, without finalizers. Cluster API writes its status anew.
func (w *world) moved() {
	for _, kind := range []string{"Beskar7Machine", "Machine", "PhysicalHost", "Cluster", "Secret"} {
		for key := range w.old.store.snapshot() {
			if key.kind == kind {
				o := kinds[kind].empty.DeepCopyObject().(client.Object)
				edit(w.old.store, o, key.name, func(o client.Object) {
					a := map[string]string{clusterctlv1.DeleteForMoveAnnotation: ""}
					for k, v := range o.GetAnnotations() {
						a[k] = v
					}
					o.SetAnnotations(a)
				})
				w.old.store.remove(kind, key.name, false)
				w.old.store.remove(kind, key.name, true)
			}
		}
	}
	pauseCluster(w.site, false)
	w.later(4, func() {
		w.old.stop()
		w.old = nil
		edit(w.site.store, &clusterv1.Cluster{}, "c", func(c *clusterv1.Cluster) { c.Status.Initialization.InfrastructureProvisioned = ptr.To(true) })
	})
}

// storeClient writes without cuts: the door of media, and whoever else is not our process.
type storeClient struct {
	cutClient
	s *store
}

func (c storeClient) Patch(_ context.Context, o client.Object, p client.Patch, _ ...client.PatchOption) error {
	return c.s.patch(o, p, false)
}
