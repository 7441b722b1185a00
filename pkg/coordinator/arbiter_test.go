package coordinator

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/hostselection"
)

// court is one arbiter over a store, with events that arrive as soon as something is written.
type court struct {
	store   *store
	t       *testing.T
	arbiter *Arbiter
	fence   Fence
	// owned is Options.Owned.
	owned func(client.Object) bool
	// wished is what Wish answers; requests are what went to the API server.
	wished   func(*v1beta1.Beskar7Machine) (ClaimRequest, bool)
	mu       sync.Mutex
	requests []string
	attempts map[string]int
	progress ArbiterObserver // nil: nobody
	// fail is asked before each request.
	fail func(what string) fault
}

func newCourt(t *testing.T, objects ...client.Object) *court {
	t.Helper()
	c := &court{t: t, store: newStore(objects...), fence: Fence{Holder: "pod-1", Transitions: 3}, attempts: map[string]int{},
		fail: func(string) fault { return fine }}
	c.wished = func(m *v1beta1.Beskar7Machine) (ClaimRequest, bool) {
		req := request(m)
		_, req.ControlPlane = m.Labels["control-plane"]
		return req, true
	}
	c.renew()
	return c
}

// renew makes a new arbiter: another process.
func (c *court) renew() {
	options := (&world{}).options(courtClient{c: c})
	options.Random, options.Observer = dice{rand.New(rand.NewPCG(1, 1))}, courtObserver{c}
	options.Fence, options.Owned = func() Fence { return c.fence }, c.owned
	c.arbiter = NewArbiter(ArbiterOptions{Options: options, Clock: clock.RealClock{}, Workers: 4, Progress: c.progress,
		Wish: func(_ context.Context, m *v1beta1.Beskar7Machine) (ClaimRequest, bool) { return c.wished(m) }})
}

// courtClient reaches the store under a lock, notes requests, and tells the arbiter of what was written.
type courtClient struct {
	client.WithWatch
	c *court
}

func (c courtClient) Get(ctx context.Context, key client.ObjectKey, o client.Object, _ ...client.GetOption) error {
	c.c.mu.Lock()
	defer c.c.mu.Unlock()
	what := "get " + key.Name
	c.c.requests = append(c.c.requests, what)
	if c.c.fail(what) != fine {
		return errLost
	}
	return c.c.store.Get(ctx, key, o)
}

func (c courtClient) List(ctx context.Context, list client.ObjectList, _ ...client.ListOption) error {
	c.c.mu.Lock()
	defer c.c.mu.Unlock()
	return c.c.store.List(ctx, list)
}

func (c courtClient) Patch(ctx context.Context, o client.Object, p client.Patch, _ ...client.PatchOption) error {
	c.c.mu.Lock()
	what := "patch " + o.GetName()
	c.c.requests = append(c.c.requests, what)
	with, err := c.c.fail(what), error(nil)
	if with != failBefore {
		err = c.c.store.Patch(ctx, o, p)
	}
	c.c.mu.Unlock()
	if with != fine {
		return errLost
	}
	return err
}

type courtObserver struct{ c *court }

func (o courtObserver) ClaimAttempted(_, outcome, reason string) {
	o.c.mu.Lock()
	defer o.c.mu.Unlock()
	o.c.attempts[strings.TrimSuffix(outcome+" "+reason, " ")]++
}
func (courtObserver) ClaimTook(string, time.Duration) {}
func (courtObserver) ClaimRetried(string)             {}

// sit runs the arbiter in a bubble, does something, and ends it.
func (c *court) sit(do func()) {
	synctest.Test(c.t, func(*testing.T) {
		c.renew() // its channels must be the bubble's
		ctx, cancel := context.WithCancel(log.IntoContext(context.Background(), logr.Discard()))
		ended := make(chan struct{})
		go func() { c.arbiter.Run(ctx); close(ended) }()
		synctest.Wait()
		do()
		cancel()
		<-ended
	})
}

// claims are the machines of all claims, by host.
func (c *court) claims() map[string]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := map[string]string{}
	for name, host := range c.store.hosts {
		if host.Spec.Claim != nil {
			out[name] = host.Spec.Claim.Machine
		}
	}
	return out
}

// tell changes a host as others do, and lets the arbiter see it.
func (c *court) tell(name string, change func(*v1beta1.PhysicalHost)) {
	c.mu.Lock()
	host := c.store.hosts[name].DeepCopy()
	change(host)
	c.store.put(host)
	c.mu.Unlock()
	c.arbiter.HostChanged(host)
	synctest.Wait()
}

func fleet(hosts, machines int, edit func(i int, m *v1beta1.Beskar7Machine)) []client.Object {
	var all []client.Object
	for i := range hosts {
		all = append(all, newHost(fmt.Sprintf("h%03d", i)))
	}
	for i := range machines {
		m := newMachine(fmt.Sprintf("m%03d", i))
		if edit != nil {
			edit(i, m)
		}
		all = append(all, m)
	}
	return all
}

func busy(h *v1beta1.PhysicalHost) {
	h.Spec.Claim = &v1beta1.Claim{ID: "00000000000000ee", Machine: "other", Cluster: "c"}
}
func free(h *v1beta1.PhysicalHost) { h.Spec.Claim, h.Spec.Boot = nil, nil }

// One write for each claim, no conflicts, no reads, although four writers run at once.
func TestTheArbiterClaimsWithOneWriteEach(t *testing.T) {
	c := newCourt(t, fleet(80, 60, nil)...)
	c.sit(synctest.Wait)
	machines := map[string]bool{}
	for _, machine := range c.claims() {
		machines[machine] = true
	}
	if len(c.claims()) != 60 || len(machines) != 60 || len(c.requests) != 60 || c.attempts["success"] != 60 || len(c.attempts) != 1 {
		t.Fatalf("%d claims for %d machines, %d requests, attempts %v", len(c.claims()), len(machines), len(c.requests), c.attempts)
	}
	for _, host := range c.store.hosts {
		if claim := host.Spec.Claim; claim != nil && (claim.LeaseHolder != "pod-1" || claim.LeaseTransitions != 3 || host.Spec.Boot.BootstrapSecret != claim.Machine) {
			t.Fatalf("claim %+v, boot %+v", claim, host.Spec.Boot)
		}
	}
}

// Control planes first, then the higher priority, then the older.
func TestTheOrderOfClaims(t *testing.T) {
	c := newCourt(t, fleet(0, 5, func(i int, m *v1beta1.Beskar7Machine) {
		m.CreationTimestamp = metav1.NewTime(epoch.Add(-time.Duration(i) * time.Hour))
		switch i {
		case 0:
			m.Labels = map[string]string{"control-plane": ""}
		case 1:
			m.Spec.Priority = 7
		}
	})...)
	c.sit(func() {
		for i := range 5 {
			host := newHost(fmt.Sprint("h", i))
			c.mu.Lock()
			c.store.put(host)
			c.mu.Unlock()
			c.arbiter.HostChanged(host)
			synctest.Wait()
		}
	})
	want := map[string]string{"h0": "m000", "h1": "m001", "h2": "m004", "h3": "m003", "h4": "m002"}
	if got := c.claims(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("claims %v, want %v", got, want)
	}
}

// 100 machines that wait for none of 10,000 hosts cost nothing until something changes; then a freed host is ranked for one of
// them, and its claim for none of the others.
func TestWaitingCostsNothingUntilAHostIsFree(t *testing.T) {
	objects := fleet(10_000, 100, nil)
	for _, o := range objects {
		if h, ok := o.(*v1beta1.PhysicalHost); ok {
			busy(h)
		}
	}
	c := newCourt(t, objects...)
	c.sit(func() {
		if c.attempts["no_host"] != 100 {
			t.Fatalf("at the start %v", c.attempts)
		}
		<-time.After(time.Hour) // of the bubble's clock: nothing is polled
		for range 50 {
			c.tell("h007", func(h *v1beta1.PhysicalHost) { h.Status.Attempts++ })
		}
		if len(c.requests) != 0 || c.attempts["no_host"] != 100 {
			t.Fatalf("while nothing changed: %d requests, attempts %v", len(c.requests), c.attempts)
		}
		c.tell("h042", free)
		if len(c.requests) != 1 || c.attempts["no_host"] != 100 || c.attempts["success"] != 1 {
			t.Fatalf("a host was freed: requests %v, attempts %v", c.requests, c.attempts)
		}
	})
	if got := c.claims()["h042"]; got != "m000" {
		t.Fatalf("claimed for %s", got)
	}
}

// The machine that was woken takes another host that was freed meanwhile: the host that woke it wakes the next one, which may
// want only that.
func TestAHostThatIsNotTakenWakesTheNext(t *testing.T) {
	c := newCourt(t, fleet(2, 2, func(i int, m *v1beta1.Beskar7Machine) {
		if i == 1 {
			m.Spec.HostSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"disk": "big"}}
		}
	})...)
	for _, name := range []string{"h000", "h001"} {
		host := c.store.hosts[name].DeepCopy()
		busy(host)
		if name == "h001" {
			host.Labels = map[string]string{"disk": "big"}
		} else {
			host.Spec.Priority = 10 // so that the machine that fits both takes this one
		}
		c.store.put(host)
	}
	c.arbiter.Settings = func() Settings { return Settings{Algorithm: hostselection.Priority} }
	ctx := log.IntoContext(t.Context(), logr.Discard())
	if err := c.arbiter.takeOver(ctx); err != nil {
		t.Fatal(err)
	}
	if b, _ := c.arbiter.next(ctx); b != nil {
		t.Fatal("no host is free")
	}
	for _, name := range []string{"h001", "h000"} { // both before the first of them is served
		host := c.store.hosts[name].DeepCopy()
		free(host)
		c.store.put(host)
		c.arbiter.HostChanged(host)
	}
	for b, _ := c.arbiter.next(ctx); b != nil; b, _ = c.arbiter.next(ctx) {
		c.arbiter.write(ctx, b)
	}
	if got := fmt.Sprint(c.claims()); got != "map[h000:m000 h001:m001]" {
		t.Fatalf("claims %s", got)
	}
}

// A write without an answer is found out, on the same host and under the same id: never two claims for one machine.
func TestAnUnansweredClaimIsFoundOut(t *testing.T) {
	for _, with := range []fault{failBefore, failAfter} {
		c := newCourt(t, fleet(3, 1, nil)...)
		failed := false
		c.fail = func(what string) fault {
			if strings.HasPrefix(what, "patch") && !failed {
				failed = true
				return with
			}
			return fine
		}
		c.sit(func() {
			<-time.After(time.Minute)
			synctest.Wait()
		})
		patches := slices.DeleteFunc(slices.Clone(c.requests), func(r string) bool { return !strings.HasPrefix(r, "patch") })
		if want := 1 + number(with == failBefore); len(c.claims()) != 1 || len(patches) != want || len(slices.Compact(patches)) != 1 {
			t.Fatalf("fault %d: claims %v, requests %v", with, c.claims(), c.requests)
		}
	}
}

// A conflict costs one read; the next try goes by what was read, and after retryLimit of them the machine rests.
func TestConflictsAreReadAndThenRest(t *testing.T) {
	c := newCourt(t, fleet(1, 1, nil)...)
	c.fail = func(what string) fault {
		if strings.HasPrefix(what, "patch") { // someone else is always faster
			host := c.store.hosts["h000"].DeepCopy()
			host.Annotations = map[string]string{"n": fmt.Sprint(len(c.requests))}
			c.store.put(host)
		}
		return fine
	}
	c.sit(synctest.Wait)
	// RetryLimit 3: four tries, each a patch and a read.
	if len(c.requests) != 8 || c.attempts["conflict host_changed"] != 4 || len(c.claims()) != 0 {
		t.Fatalf("requests %v, attempts %v", c.requests, c.attempts)
	}
	c.fail = func(string) fault { return fine }
	c.sit(func() {
		<-time.After(time.Minute)
		synctest.Wait()
	})
	if len(c.claims()) != 1 {
		t.Fatal("after its rest the machine has no host")
	}
}

// Without a valid Lease nothing is claimed, although nobody has ended the term yet.
func TestTheArbiterStopsWithItsLease(t *testing.T) {
	c := newCourt(t, fleet(1, 1, nil)...)
	c.fence = Fence{}
	c.sit(func() {
		<-time.After(time.Minute)
		synctest.Wait()
	})
	if len(c.requests) > 0 {
		t.Fatalf("requests %v", c.requests)
	}
}

// News that is older than what is known, of hosts, machines, and what is gone, changes nothing.
func TestOldNewsAreNoNews(t *testing.T) {
	c := newCourt(t, fleet(1, 1, nil)...)
	stale, machine := c.store.hosts["h000"].DeepCopy(), c.store.machines["m000"].DeepCopy()
	busyHost := c.store.hosts["h000"].DeepCopy()
	busy(busyHost)
	c.store.put(busyHost)
	named := machine.DeepCopy()
	named.Spec.HostRef = &v1beta1.HostRef{Name: "x", ClaimID: "00000000000000aa"}
	c.store.put(named)
	c.sit(func() {
		c.arbiter.HostChanged(stale)
		c.arbiter.MachineChanged(machine)
		synctest.Wait()
	})
	if len(c.requests) > 0 {
		t.Fatalf("requests %v", c.requests)
	}
}

// What an arbiter learns after it was deposed goes nowhere, and its successor sees what was claimed last.
func TestADeposedArbiterIsForgotten(t *testing.T) {
	c := newCourt(t, fleet(2, 1, nil)...)
	ctx := log.IntoContext(t.Context(), logr.Discard())
	if err := c.arbiter.takeOver(ctx); err != nil {
		t.Fatal(err)
	}
	late, _ := c.arbiter.next(ctx)
	c.arbiter.stepDown()
	if err := c.arbiter.takeOver(ctx); err != nil {
		t.Fatal(err)
	}
	c.arbiter.write(ctx, late)
	if b, _ := c.arbiter.next(ctx); b == nil || b.term == late.term {
		t.Fatalf("the new term knows of the old one's bind: %+v", b)
	}
	c.arbiter.stepDown()
	if err := c.arbiter.takeOver(ctx); err != nil {
		t.Fatal(err)
	}
	if b, _ := c.arbiter.next(ctx); b != nil {
		t.Fatalf("a second host for %s", b.ticket.key)
	}
	c.arbiter.HostChanged(newHost("x")) // nothing panics without a term
	c.arbiter.stepDown()
	c.arbiter.HostChanged(newHost("x"))
}

// Take-over reads live: what the arbiter before claimed last is not in this process's cache yet.
func TestATakeOverDoesNotBelieveTheCache(t *testing.T) {
	c := newCourt(t, fleet(2, 1, nil)...)
	c.arbiter.Client = courtClient{c: newCourt(t, fleet(2, 1, nil)...)}
	claimed := c.store.hosts["h000"].DeepCopy()
	boot := request(c.store.machines["m000"]).Boot
	claimed.Spec.Claim, claimed.Spec.Boot = &v1beta1.Claim{ID: claimID, Machine: "m000", Cluster: "c"}, &boot
	c.store.put(claimed)
	ctx := log.IntoContext(t.Context(), logr.Discard())
	if err := c.arbiter.takeOver(ctx); err != nil {
		t.Fatal(err)
	}
	if b, _ := c.arbiter.next(ctx); b != nil {
		t.Fatalf("a second host, %s, for a machine that the arbiter before gave one", b.host.Name)
	}
}

// Of machines that are equal otherwise the one that failed less often comes first; an older one comes before both.
func TestWhatKeepsFailingKeepsNobodyWaiting(t *testing.T) {
	q := newQueue()
	add := func(name string, age time.Duration, losses int) {
		m := newMachine(name)
		m.CreationTimestamp = metav1.NewTime(epoch.Add(-age))
		q.move(&ticket{key: keyOf(m), machine: m, request: ClaimRequest{Machine: m}, losses: losses}, active, time.Time{})
	}
	add("a", 0, 2)
	add("b", 0, 0)
	add("c", 0, 1)
	add("d", time.Hour, 9)
	add("e", 0, 0)
	var order []string
	for k := q.active.first(); k != nil; k = q.active.first() {
		order = append(order, k.key.Name)
		q.move(k, idle, time.Time{})
	}
	if got := fmt.Sprint(order); got != "[d b e c a]" {
		t.Errorf("served %s", got)
	}
}
