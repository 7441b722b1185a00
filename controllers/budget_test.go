//go:build budget

package controllers

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
)

// Budgets of CPU time, on one core of a machine of 2024.
const (
	budgetLook     = 300 * time.Microsecond // at one resting host, in a fleet of any size
	budgetUnclaim  = 2 * time.Millisecond   // the look that follows the end of a claim, among 3,000
	budgetTemplate = 20 * time.Millisecond  // at a template that selects 10,000 hosts: two microseconds each
)

// TestBudgetOfALook is run on demand, on a machine that does little else: go test -tags budget -run TestBudget ./controllers. The cache is
// the real one, filled by a server that knows lists and watches only. Others on the machine only ever add time, so the best of some
// rounds is what the code takes.
func TestBudgetOfALook(t *testing.T) {
	for _, hosts := range []int{100, 10_000} {
		f := newFleetRig(t, hosts, 0)
		for _, name := range []string{"h0", fmt.Sprint("h", hosts-1)} {
			f.within(fmt.Sprintf("a look at %s of %d hosts with one Secret", name, hosts), budgetLook, 20, func() { f.lookAt(name, 1) })
		}
		if f.server.changes > 0 {
			t.Errorf("%d requests to change something, though all rests", f.server.changes)
		}
		f.within(fmt.Sprintf("a look at a template that selects %d hosts", hosts), budgetTemplate, 1, func() {
			selected := &v1beta1.PhysicalHostList{}
			if err := f.host.Client.List(t.Context(), selected, client.InNamespace(namespace), client.UnsafeDisableDeepCopy); err != nil {
				t.Fatal(err)
			}
			selector, _ := selectorOf(&v1beta1.Beskar7MachineTemplate{})
			if list, _ := capacity(selected.Items, selector, v1beta1.HardwareRequirements{}); len(list) != 0 {
				t.Fatal("hosts whose BMCs told nothing have a capacity")
			}
		})
	}
}

// TestBudgetOfAnUnclaim ends claims one after the other, of whichever host is the witness for the Secret of all, too.
func TestBudgetOfAnUnclaim(t *testing.T) {
	const hosts = 3000
	f := newFleetRig(t, hosts, hosts)
	f.lookAt("h0", 2)
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // most of the memory here is the list server's
	var took []time.Duration
	for i := range 31 {
		name := fmt.Sprint("h", i)
		if witness := f.host.guarding.witnessOf(client.ObjectKey{Namespace: namespace, Name: "bmc"}); witness != "" {
			name = witness
		}
		f.unclaim(name)
		took = append(took, spentBy(1, func() { f.lookAt(name, 1) }))
	}
	slices.Sort(took)
	median := took[len(took)/2]
	t.Logf("ends of claims among %d: %v, the dearest %v", hosts, median, took[len(took)-1])
	if median > budgetUnclaim {
		t.Errorf("%v, more than %v", median, budgetUnclaim)
	}
}

// fleetRig is the host controller with a real cache of many hosts that share one Secret.
type fleetRig struct {
	*rig
	cache  cache.Cache
	server *listServer
}

// newFleetRig copies one host that rests as often as asked; the first claimed ones are claimed.
func newFleetRig(t *testing.T, hosts, claimed int) *fleetRig {
	t.Helper()
	resting := newRig(t, inventoried(newHost()), newSecret("bmc"))
	resting.look(4)
	secret, one := &corev1.Secret{}, resting.getHost()
	resting.get(secret, "bmc")
	if claimed > 0 {
		secret.Finalizers = []string{v1beta1.CredentialsFinalizer}
	}
	server := &listServer{lists: map[string][]client.Object{}}
	server.lists["secrets"] = []client.Object{secret}
	for i := range hosts {
		h := one.DeepCopy()
		h.ObjectMeta = metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprint("h", i), UID: types.UID(fmt.Sprint("uid-", i)), ResourceVersion: "1", Finalizers: one.Finalizers}
		h.Spec.RedfishConnection.Address = fmt.Sprintf("https://10.0.%d.%d", i/256, i%256)
		h.Status.Hardware.SerialNumber, h.Status.Hardware.SystemUUID = fmt.Sprintf("FAKE%06d", i), fmt.Sprintf("00000000-0000-4000-8000-%012d", i)
		if i < claimed {
			h.Spec.Claim, h.Spec.Boot = claimedHost().Spec.Claim, claimedHost().Spec.Boot
		}
		server.lists["physicalhosts"] = append(server.lists["physicalhosts"], h)
	}
	f := &fleetRig{rig: newRig(t, secret), server: server}
	f.fill(t)
	return f
}

// fill starts the cache and lets the controller read from it.
func (f *fleetRig) fill(t *testing.T) {
	t.Helper()
	web := httptest.NewServer(f.server)
	t.Cleanup(web.Close)
	scheme, mapper := f.api.Scheme(), meta.NewDefaultRESTMapper(nil)
	for kind, gv := range map[string]schema.GroupVersion{"PhysicalHost": v1beta1.GroupVersion, "Beskar7Machine": v1beta1.GroupVersion,
		"Cluster": clusterv1.GroupVersion, "Machine": clusterv1.GroupVersion, "Secret": corev1.SchemeGroupVersion} {
		mapper.Add(gv.WithKind(kind), meta.RESTScopeNamespace)
	}
	config := &rest.Config{Host: web.URL, QPS: -1}
	var err error
	if f.cache, err = cache.New(config, cache.Options{Scheme: scheme, Mapper: mapper}); err != nil {
		t.Fatal(err)
	}
	if err := indexHosts(t.Context(), f.cache); err != nil {
		t.Fatal(err)
	}
	var over sync.WaitGroup
	over.Go(func() { _ = f.cache.Start(t.Context()) })
	t.Cleanup(func() { web.CloseClientConnections(); over.Wait() })
	if !f.cache.WaitForCacheSync(t.Context()) {
		t.Fatal("the cache does not start")
	}
	through, err := client.New(config, client.Options{Scheme: scheme, Mapper: mapper, Cache: &client.CacheOptions{Reader: f.cache}})
	if err != nil {
		t.Fatal(err)
	}
	f.host.Client, f.host.SecretMeta, f.host.SecretReader = through, f.cache, f.cache
}

// unclaim ends a claim and waits until the cache knows.
func (f *fleetRig) unclaim(name string) {
	f.t.Helper()
	host := &v1beta1.PhysicalHost{}
	if err := f.host.Client.Get(f.t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, host); err != nil {
		f.t.Fatal(err)
	}
	host.Spec.Claim, host.Spec.Boot, host.Generation, host.ResourceVersion = nil, nil, host.Generation+1, host.ResourceVersion+"0"
	f.server.modify(f.t, "physicalhosts", host)
	ticker, began := time.NewTicker(time.Millisecond), time.Now()
	defer ticker.Stop()
	for ; time.Since(began) < time.Minute; <-ticker.C {
		if err := f.host.Client.Get(f.t.Context(), client.ObjectKeyFromObject(host), host); err != nil {
			f.t.Fatal(err)
		}
		if host.Spec.Claim == nil {
			return
		}
	}
	f.t.Fatal("the cache does not learn that the claim ended")
}

func (f *fleetRig) within(what string, budget time.Duration, times int, do func()) {
	f.t.Helper()
	do() // what is done once in a process
	best := time.Duration(math.MaxInt64)
	for range 15 {
		best = min(best, spentBy(times, do))
	}
	f.t.Logf("%s: %v", what, best)
	if best > budget {
		f.t.Errorf("%s took %v, more than %v", what, best, budget)
	}
}

// spentBy is the CPU time of this process for each of some calls.
func spentBy(times int, do func()) time.Duration {
	var before, after syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &before)
	for range times {
		do()
	}
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &after)
	of := func(u syscall.Rusage) int64 { return u.Utime.Nano() + u.Stime.Nano() }
	return time.Duration((of(after) - of(before)) / int64(times))
}

// listServer answers lists and watches as an API server does, and takes every change without keeping it.
type listServer struct {
	mu       sync.Mutex
	lists    map[string][]client.Object
	watchers sync.Map // of resource to chan []byte: what is sent is taken by whoever watches it
	changes  int
}

func (s *listServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	resource := parts[len(parts)-1]
	switch {
	case r.Method != http.MethodGet:
		s.mu.Lock()
		s.changes++
		s.mu.Unlock()
		kind := map[string]string{"physicalhosts": "PhysicalHost"}[parts[5]]
		_ = json.NewEncoder(w).Encode(map[string]any{"kind": kind, "apiVersion": strings.Join(parts[1:3], "/"), "metadata": map[string]string{"name": parts[6]}})
	case r.URL.Query().Get("sendInitialEvents") != "":
		w.WriteHeader(http.StatusUnprocessableEntity) // an older server: clients list instead
		_ = json.NewEncoder(w).Encode(metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure, Reason: metav1.StatusReasonInvalid, Code: http.StatusUnprocessableEntity})
	case r.URL.Query().Get("watch") != "":
		s.watch(w, r, resource)
	default:
		kind := map[string]string{"physicalhosts": "PhysicalHostList", "beskar7machines": "Beskar7MachineList", "clusters": "ClusterList", "machines": "MachineList", "secrets": "PartialObjectMetadataList"}[resource]
		version := strings.Join(parts[1:len(parts)-1], "/")
		if resource == "secrets" {
			version = "meta.k8s.io/v1"
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"kind": kind, "apiVersion": version, "metadata": map[string]string{"resourceVersion": "1"}, "items": s.lists[resource]})
	}
}

func (s *listServer) watch(w http.ResponseWriter, r *http.Request, resource string) {
	events := s.events(resource)
	w.WriteHeader(http.StatusOK)
	_ = http.NewResponseController(w).Flush()
	for {
		select {
		case event := <-events:
			_, _ = w.Write(event)
			_ = http.NewResponseController(w).Flush()
		case <-r.Context().Done():
			return
		}
	}
}

// modify tells whoever watches of a changed object.
func (s *listServer) modify(t *testing.T, resource string, o runtime.Object) {
	t.Helper()
	o.GetObjectKind().SetGroupVersionKind(v1beta1.GroupVersion.WithKind("PhysicalHost"))
	event, err := json.Marshal(map[string]any{"type": "MODIFIED", "object": o})
	if err != nil {
		t.Fatal(err)
	}
	select {
	case s.events(resource) <- event:
	case <-time.After(time.Minute):
		t.Fatal("nobody watches ", resource)
	}
}

func (s *listServer) events(resource string) chan []byte {
	events, _ := s.watchers.LoadOrStore(resource, make(chan []byte))
	return events.(chan []byte)
}
