package crash

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/controllers"
	"github.com/beskar7/beskar7/pkg/redfish"
	"github.com/beskar7/beskar7/pkg/redfish/redfishfake"
	"github.com/beskar7/beskar7/test/crash/witness"
)

const (
	namespace = "ns"
	mediaURL  = "https://media"
	// What must never be said.
	bmcPassword   = "correct-horse-battery-staple"
	bootstrapData = "one-time-join-secret"
	// ownerOfData stands in bootstrap data before the name of their machine, which ends them.
	ownerOfData = "\n# of machine "
)

var scheme, indexes = func() (*runtime.Scheme, map[string]client.IndexerFunc) {
	s, i := runtime.NewScheme(), indexed{}
	for _, add := range []func(*runtime.Scheme) error{v1beta1.AddToScheme, clusterv1.AddToScheme, corev1.AddToScheme} {
		if err := add(s); err != nil {
			panic(err)
		}
	}
	if err := controllers.IndexHosts(context.Background(), i); err != nil {
		panic(err)
	}
	return s, i
}()

type indexed map[string]client.IndexerFunc

func (i indexed) IndexField(_ context.Context, _ client.Object, field string, extract client.IndexerFunc) error {
	i[field] = extract
	return nil
}

// fault is what goes wrong at one request of a life.
type fault struct {
	// at is the request, from 1; 0: never.
	at   int
	what string
}

// world is one life with everything around it.
type world struct {
	life    life
	history *witness.History
	servers map[string]*server // by address
	site    *site
	// old is the cluster that was moved from, while its process still runs.
	old *site

	mu sync.Mutex
	// n is how many requests there were.
	n      int
	faults []fault
	// asked are all requests, cuts those that were hit.
	asked []string
	cuts  []string
	// undo is what the person who did something does some turns later.
	undo  func()
	after int

	turn, still int
	size        int
	user        user
}

func newWorld(l life, faults ...fault) *world {
	history := &witness.History{Cooldown: cooldown, BootTimeout: bootTimeout, Secrets: []string{bmcPassword, bootstrapData}}
	w := &world{life: l, history: history, faults: faults, servers: map[string]*server{}}
	w.site = &site{name: "first", world: w, store: newStore("first", history)}
	s := w.site.store
	s.create(&corev1.Secret{ObjectMeta: named("bmc"), Data: map[string][]byte{"username": []byte("u"), "password": []byte(bmcPassword)}})
	s.create(&clusterv1.Cluster{ObjectMeta: named("c"), Status: clusterv1.ClusterStatus{Initialization: clusterv1.ClusterInitializationStatus{InfrastructureProvisioned: ptr.To(true)}}})
	for i, h := range l.hosts() {
		address := fmt.Sprintf("https://192.0.2.%d", i+1)
		id := redfish.Identity{Vendor: "generic", SystemUUID: fmt.Sprintf("4c4c4544-0000-4000-8000-00000000000%d", i), SerialNumber: "S" + h, SystemID: "1", ManagerID: "1",
			Manufacturer: "Beskar7", Model: "Fake", ResetTypes: []string{"On", "ForceOff", "GracefulShutdown"}, BootTargets: []string{"None", "Cd"},
			Capabilities: []string{redfish.CapabilityBootOnceCD, redfish.CapabilityGracefulShutdown, redfish.CapabilityInsertMediaAction}}
		w.servers[address] = &server{host: h, history: history, identity: id, fake: redfishfake.New(redfishfake.Options{Endpoint: address, Power: redfish.PowerOff, Steps: 1, Identity: id})}
		s.create(&v1beta1.PhysicalHost{ObjectMeta: named(h), Spec: v1beta1.PhysicalHostSpec{
			PowerPolicy: l.policy(), RedfishConnection: v1beta1.RedfishConnection{
				Address: address, CredentialsSecretRef: v1beta1.SecretReference{Name: "bmc"}, InsecureSkipVerify: true,
				Tuning: &v1beta1.Tuning{BootTimeout: &metav1.Duration{Duration: bootTimeout}}}}})
	}
	for _, m := range l.machines() {
		w.createMachine(s, m)
	}
	return w
}

func (w *world) createMachine(s *store, name string) {
	data := "#cloud-config\n# " + bootstrapData + ownerOfData + name
	s.create(&corev1.Secret{ObjectMeta: ofCluster(name), Data: map[string][]byte{"value": []byte(data), "format": []byte("cloud-config")}})
	owner := &clusterv1.Machine{ObjectMeta: ofCluster(name)}
	owner.Spec.ClusterName, owner.Spec.Bootstrap.DataSecretName = "c", ptr.To(name)
	owner.Spec.InfrastructureRef = clusterv1.ContractVersionedObjectReference{APIGroup: v1beta1.GroupVersion.Group, Kind: "Beskar7Machine", Name: name}
	s.create(owner)
	m := &v1beta1.Beskar7Machine{ObjectMeta: ofCluster(name), Spec: v1beta1.Beskar7MachineSpec{ImageURL: "http://images/a.iso", OSFamily: "generic", BootMode: w.life.boot}}
	m.OwnerReferences = []metav1.OwnerReference{{APIVersion: clusterv1.GroupVersion.String(), Kind: "Machine", Name: name, UID: "owner"}}
	s.create(m)
}

func named(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: namespace, Name: name} }

func ofCluster(name string) metav1.ObjectMeta {
	m := named(name)
	m.Labels = map[string]string{clusterv1.ClusterNameLabel: "c"}
	return m
}

// request counts, and makes happen what is to happen at this request.
func (w *world) request(p *process, to, what string, object client.Object) cut {
	w.mu.Lock()
	w.n++
	w.asked = append(w.asked, what)
	var hit []fault
	for _, f := range w.faults {
		if f.at == w.n {
			hit = append(hit, f)
			w.cuts = append(w.cuts, fmt.Sprintf("%s at %d: %s", f.what, f.at, what))
		}
	}
	w.mu.Unlock()
	c := cut{}
	for _, f := range hit {
		switch f.what {
		case "fail before":
			c.before = errCut
		case "fail after":
			c.after = errCut
		case "crash before":
			p.dead.Store(true)
			c.before = errDead
		case "crash after":
			p.dead.Store(true)
			c.after = errDead
		case "conflict":
			if to == "api" && object != nil {
				w.touch(p.site.store, object)
			}
		default:
			deeds[f.what].do(w)
		}
	}
	return c
}

// touch is another client, faster with the same object.
func (w *world) touch(s *store, o client.Object) {
	change := map[string]any{"metadata": map[string]any{"annotations": map[string]any{"another": fmt.Sprint(w.n)}}}
	if found, ok := s.snapshot()[objectKey{kindOf(o), o.GetName()}]; ok {
		_ = s.apply(found.typed.DeepCopyObject().(client.Object), change, false)
	}
}

// changedKeys are those whose objects differ, in an order that does not depend on chance.
func (w *world) changedKeys(before, after map[objectKey]*stored) []objectKey {
	changed := map[objectKey]bool{}
	for key := range before {
		changed[key] = before[key] != after[key]
	}
	for key := range after {
		changed[key] = before[key] != after[key]
	}
	maps.DeleteFunc(changed, func(_ objectKey, yes bool) bool { return !yes })
	return slices.SortedFunc(maps.Keys(changed), func(a, b objectKey) int { return strings.Compare(a.kind+a.name, b.kind+b.name) })
}

// step is one turn: everybody looks once, and time goes on. While nothing happens time goes faster.
func (w *world) step() {
	w.turn++
	for _, s := range []*site{w.site, w.old} {
		if s == nil {
			continue
		}
		if s.process == nil || s.process.dead.Load() {
			s.stop()
			s.start()
		}
		if w.turn%w.life.lag == 0 {
			s.sync()
		}
		s.look()
	}
	if w.after > 0 {
		if w.after--; w.after == 0 {
			w.undo()
		}
	}
	pause := 500 * time.Millisecond
	if size := w.history.Size(); size != w.size {
		w.size, w.still = size, 0
	} else if w.still++; w.still > 25 {
		pause = 20 * time.Second
	}
	<-time.After(pause)
	synctest.Wait()
	for _, s := range w.servers {
		s.step()
	}
}

// later has a person come back after some turns.
func (w *world) later(turns int, do func()) { w.after, w.undo = turns, do }

func (w *world) end() {
	w.site.stop()
	if w.old != nil {
		w.old.stop()
	}
}
