package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/controllers/media"
	"github.com/beskar7/beskar7/pkg/bootmedia"
	"github.com/beskar7/beskar7/pkg/coordinator/bmcqueue"
)

// managedBy gives an object to a manager.
func managedBy[T client.Object](manager string, o T) T {
	l := o.GetLabels()
	if l == nil {
		l = map[string]string{}
	}
	l[clusterv1.WatchLabel] = manager
	o.SetLabels(l)
	return o
}

// taken is a queue that only keeps what was added.
type taken struct {
	requestQueue
	names []string
}

func (q *taken) Add(r ctrl.Request) { q.names = append(q.names, r.Name) }

// An object of another manager is not written, whatever brings its key here.
func TestAnObjectOfAnotherManagerIsLeftAlone(t *testing.T) {
	for _, filter := range []string{"mine", "other"} {
		for _, label := range []string{"mine", "other", ""} {
			host, machine, secret := newHost(), newMachine(), newSecret("bmc")
			machine.Finalizers = nil
			bc := &v1beta1.Beskar7Cluster{ObjectMeta: named("bc")}
			bc.OwnerReferences = []metav1.OwnerReference{{APIVersion: clusterv1.GroupVersion.String(), Kind: "Cluster", Name: "c", UID: "c"}}
			template := &v1beta1.Beskar7MachineTemplate{ObjectMeta: named("t")}
			if label != "" {
				host, machine, bc, template = managedBy(label, host), managedBy(label, machine), managedBy(label, bc), managedBy(label, template)
			}
			owner := &clusterv1.Machine{ObjectMeta: named("m")}
			owner.UID = "uid-owner"
			r := newRig(t, host, machine, secret, bc, template, owner, newCluster())
			r.host.WatchFilter, r.machine.WatchFilter = filter, filter
			reconcilers := map[string]interface {
				Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error)
			}{
				"h": r.host, "m": r.machine, "bc": &Beskar7ClusterReconciler{Client: r.api, WatchFilter: filter},
			}
			for name, reconciler := range reconcilers {
				r.requests = nil
				if _, err := reconciler.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKey{Namespace: namespace, Name: name}}); err != nil {
					t.Fatal(err)
				}
				if wrote := len(r.requests) > 0; wrote != (label == filter) {
					t.Errorf("manager %q, %s labelled %q: requests %q", filter, name, label, r.requests)
				}
			}
		}
	}
}

// A host that is handed to another manager is let go of: the gate knows it no more, and what waits for it is dropped.
func TestAHostThatIsHandedOverIsLetGoOf(t *testing.T) {
	r := newRig(t, managedBy("mine", claimedHost()), newMachine(), newSecret("bmc"), newCluster())
	r.host.WatchFilter = "mine"
	r.look(3)
	if _, tracked := r.host.Actuator.Observed(namespace + "/h"); !tracked || r.gate.Stats().Waiting[bmcqueue.ClassProvision] != 1 {
		t.Fatal("the gate does not know a host of this manager")
	}
	edit(r, &v1beta1.PhysicalHost{}, "h", func(h *v1beta1.PhysicalHost) { managedBy("other", h) })
	r.requests = nil
	if _, err := r.host.live(t.Context(), client.ObjectKey{Namespace: namespace, Name: "h"}); client.IgnoreNotFound(err) != nil || err == nil {
		t.Errorf("before anything is changed at its BMC, its live read says %v", err)
	}
	r.look(1)
	if _, tracked := r.host.Actuator.Observed(namespace + "/h"); tracked || r.gate.Stats().Waiting[bmcqueue.ClassProvision] != 0 || len(r.requests) > 0 {
		t.Errorf("tracked %v, waiting %v, requests %q", tracked, r.gate.Stats().Waiting, r.requests)
	}
}

// Events, mappings and resyncs bring keys of this manager's objects only.
func TestSourcesBringThisManagersObjects(t *testing.T) {
	mine, others := managedBy("mine", claimedHost()), managedBy("other", claimedHost())
	others.Name = "o"
	r := newRig(t, mine, others)
	r.host.WatchFilter = "mine"
	queue := &taken{}
	resync{client: r.api, list: &v1beta1.PhysicalHostList{}, filter: "mine"}.round(t.Context(), queue)
	for _, request := range slices.Concat(r.host.hostsOfCluster(t.Context(), newCluster()), r.host.hostsOfSecret(t.Context(), newSecret("bmc")),
		r.host.hostsOfMachine(t.Context(), newMachine())) {
		queue.Add(request)
	}
	if len(queue.names) < 4 || slices.ContainsFunc(queue.names, func(n string) bool { return n != "h" }) {
		t.Errorf("looked at: %q", queue.names)
	}
	events := ownedEvents("mine")
	for _, c := range []struct {
		before, after client.Object
		want          bool
	}{{mine, mine, true}, {mine, others, true}, {others, mine, true}, {others, others, false}} {
		if got := events.Update(event.UpdateEvent{ObjectOld: c.before, ObjectNew: c.after}); got != c.want {
			t.Errorf("an update from %v to %v is looked at: %v", c.before.GetLabels(), c.after.GetLabels(), got)
		}
	}
	if events.Create(event.CreateEvent{Object: others}) || !events.Create(event.CreateEvent{Object: mine}) {
		t.Error("of new objects, not those of this manager are looked at")
	}
}

// What is counted, published or served is of this manager's hosts.
func TestHostsOfAnotherManagerCountForNothing(t *testing.T) {
	mine, record := grantedHost(t)
	others, othersRecord := grantedHost(t, func(h *v1beta1.PhysicalHost) { h.Name = "o" })
	mine, others = managedBy("mine", mine), managedBy("other", others)
	for i, h := range []*v1beta1.PhysicalHost{mine, others} {
		h.Spec.Boot.Checksum = fmt.Sprint("sha256:", i)
		h.Status = v1beta1.PhysicalHostStatus{State: v1beta1.StateBooting, Hardware: &v1beta1.Hardware{CPU: v1beta1.CPU{Cores: int32(64 >> (5 * i)), Architecture: "amd64"}}}
	}
	free := managedBy("other", newHost())
	free.Name, free.Spec.FailureDomain = "f", "theirs"
	template := managedBy("mine", &v1beta1.Beskar7MachineTemplate{ObjectMeta: named("t")})
	r := newRig(t, mine, others, free, template, bootstrapSecret(), record, othersRecord)

	source := r.mediaSource()
	source.WatchFilter = "mine"
	if _, err := source.Grant(t.Context(), tokenHash); !errors.Is(err, bootmedia.ErrNotYet) { // its machine is not seen yet
		t.Errorf("a host of this manager is not served: %v", err)
	}
	source.WatchFilter = "third"
	if _, err := source.Grant(t.Context(), tokenHash); !errors.Is(err, bootmedia.ErrUnknown) {
		t.Errorf("a host of another manager is served: %v", err)
	}
	have := &askedImages{}
	if err := (&media.Warmth{Client: r.api, WatchFilter: "mine", Media: have, Clock: clocktesting.NewFakeClock(epoch)}).Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(have.asked, []string{"sha256:0"}) {
		t.Errorf("images kept: %v", have.asked)
	}
	b := &board{}
	if err := (Gauges{Client: r.api, WatchFilter: "mine", Queue: b.stats, QueueLimit: func() int { return 1 }, Driving: func() bool { return true }, Metrics: b}).set(t.Context()); err != nil {
		t.Fatal(err)
	}
	if b.hosts[string(v1beta1.StateBooting)] != 1 {
		t.Errorf("hosts counted: %v", b.hosts)
	}
	templates := &Beskar7MachineTemplateReconciler{Client: r.api, WatchFilter: "mine"}
	if _, err := templates.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(template)}); err != nil {
		t.Fatal(err)
	}
	r.get(template, "t")
	if cpu := template.Status.Capacity.Cpu().Value(); cpu != 64 {
		t.Errorf("capacity %d cores, want those of this manager's host", cpu)
	}
	bc := &v1beta1.Beskar7Cluster{ObjectMeta: named("bc")}
	if err := (&Beskar7ClusterReconciler{Client: r.api, WatchFilter: "mine"}).publishDomains(t.Context(), bc); err != nil || len(bc.Status.FailureDomains) > 0 {
		t.Errorf("failure domains %v: %v", bc.Status.FailureDomains, err)
	}
}

// A Secret that hosts of two managers share stays guarded as long as either needs it.
func TestASharedSecretIsGuardedForAnotherManager(t *testing.T) {
	mine, others := managedBy("mine", newHost()), managedBy("other", claimedHost())
	others.Name = "o"
	secret := newSecret("bmc")
	secret.Finalizers = []string{v1beta1.CredentialsFinalizer}
	r := newRig(t, mine, others, secret)
	r.host.WatchFilter = "mine"
	r.look(3)
	if !r.guarded("bmc") {
		t.Error("the guard of another manager's Secret was taken away")
	}
}

// Of more failure domains than Cluster API takes, those in use stay published: what is missing counts as gone.
func TestUsedFailureDomainsStayPublished(t *testing.T) {
	machine := &v1beta1.Beskar7Machine{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "cp",
		Labels: map[string]string{clusterv1.ClusterNameLabel: "c", clusterv1.MachineControlPlaneLabel: ""}}}
	machine.Status.FailureDomain = "z-used"
	all := []client.Object{machine, placed("own", "y-used", claimedBy("cp", "c", "ControlPlane/cp"))}
	for i := range 2 * maxFailureDomains {
		all = append(all, placed(fmt.Sprint("h", i), fmt.Sprintf("rack-%03d", i)))
	}
	bc := &v1beta1.Beskar7Cluster{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Labels: map[string]string{clusterv1.ClusterNameLabel: "c"}}}
	if err := (&Beskar7ClusterReconciler{Client: newRig(t, all...).api}).publishDomains(t.Context(), bc); err != nil {
		t.Fatal(err)
	}
	domains := bc.Status.FailureDomains
	if len(domains) != maxFailureDomains || domains[len(domains)-1].Name != "z-used" || domains[len(domains)-2].Name != "y-used" || !ptr.Deref(domains[0].ControlPlane, false) {
		t.Errorf("%d domains, the last ones %v", len(domains), domains[len(domains)-2:])
	}
	said := ""
	for _, c := range bc.Status.Conditions {
		if c.Type == v1beta1.FailureDomainsCondition {
			said = c.Message
		}
	}
	if want := "102 further failure domains are not published, as Cluster API takes 100: list those to use in spec.failureDomains"; said != want {
		t.Errorf("said %q, want %q", said, want)
	}
}

// askedImages has no image, and remembers those that were asked for.
type askedImages struct{ asked []string }

func (a *askedImages) Prepare(_ context.Context, _, checksum string) (bootmedia.Prepared, error) {
	a.asked = append(a.asked, checksum)
	return bootmedia.Prepared{}, errors.New("no such image")
}

func (*askedImages) Again(string) {}
