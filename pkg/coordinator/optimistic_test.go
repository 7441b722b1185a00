package coordinator

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterctlv1 "sigs.k8s.io/cluster-api/cmd/clusterctl/api/v1alpha3"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
)

func mustClaim(t *testing.T, claimer Claimer, req ClaimRequest, want Outcome) ClaimResult {
	t.Helper()
	result, err := claimer.Claim(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if result.Outcome != want {
		t.Fatalf("outcome %s (%s), want %s", result.Outcome, result.Diagnosis.Message(), want)
	}
	return result
}

func TestClaimWritesBothHalvesAndConfirms(t *testing.T) {
	w := newWorld(t, newHost("a"), newMachine("m"))
	req := request(w.machine("m"))
	result := mustClaim(t, w.claimer(), req, Claimed)
	host, machine := w.host("a"), w.machine("m")
	if !host.ClaimedBy(machine) || result.Host.Name != "a" || result.ClaimID != host.Spec.Claim.ID {
		t.Fatalf("host %+v and machine %+v do not name each other", host.Spec.Claim, machine.Spec.HostRef)
	}
	claim := host.Spec.Claim
	if claim.Cluster != "c" || claim.LeaseHolder != "pod-1" || claim.LeaseTransitions != 7 || *host.Spec.Boot != req.Boot {
		t.Fatalf("claim %+v, boot %+v", claim, host.Spec.Boot)
	}
	if claim.Server != nil {
		t.Fatalf("the server of a host without an inventory is %+v", claim.Server)
	}
	// A stale caller, and another process, get the same.
	mustClaim(t, w.claimer(), request(machine), Confirmed)
	again := newHost("b")
	if err := w.api.Create(t.Context(), again); err != nil {
		t.Fatal(err)
	}
	if result := mustClaim(t, w.claimer(), req, Confirmed); result.Host.Name != "a" {
		t.Fatalf("a stale caller got %s", result.Host.Name)
	}
}

// D13: the claim records which server it was made for, as far as the API has room for what the BMC says.
func TestAClaimRecordsItsServer(t *testing.T) {
	for name, c := range map[string]struct {
		inventory v1beta1.Hardware
		want      *v1beta1.Server
	}{
		"all":            {v1beta1.Hardware{SystemUUID: "u", SerialNumber: "s", Model: "R650"}, &v1beta1.Server{SystemUUID: "u", SerialNumber: "s"}},
		"no serial":      {v1beta1.Hardware{SystemUUID: "u"}, &v1beta1.Server{SystemUUID: "u"}},
		"nothing":        {v1beta1.Hardware{Model: "R650"}, nil},
		"without an end": {v1beta1.Hardware{SystemUUID: "u", SerialNumber: strings.Repeat("s", 257)}, &v1beta1.Server{SystemUUID: "u"}},
	} {
		t.Run(name, func(t *testing.T) {
			a := newHost("a")
			a.Status.Hardware = &c.inventory
			w := newWorld(t, a, newMachine("m"))
			mustClaim(t, w.claimer(), request(w.machine("m")), Claimed)
			if got := w.host("a").Spec.Claim.Server; !reflect.DeepEqual(got, c.want) {
				t.Errorf("%+v, want %+v", got, c.want)
			}
		})
	}
}

// A move must wait from the very write that makes the intent: a crash right after it may not leave a gap.
func TestTheIntentBlocksMoveInTheSameWrite(t *testing.T) {
	w := newWorld(t, newHost("a"), newMachine("m"))
	patches := 0
	p := &port{next: func(what string) fault {
		if !strings.HasPrefix(what, "patch") {
			return fine
		}
		if patches++; patches == 1 {
			return failAfter
		}
		return fine
	}}
	if _, err := NewOptimistic(w.options(p.client(w.api))).Claim(t.Context(), request(w.machine("m"))); err == nil {
		t.Fatal("the reply of the intent was not lost")
	}
	machine := w.machine("m")
	if _, blocked := machine.Annotations[clusterctlv1.BlockMoveAnnotation]; !blocked || machine.Spec.HostRef == nil || w.host("a").Spec.Claim != nil {
		t.Fatalf("after the first write: hostRef %+v, annotations %v, claim %+v", machine.Spec.HostRef, machine.Annotations, w.host("a").Spec.Claim)
	}
}

func TestNoHostSaysWhyAndReadsNothingLive(t *testing.T) {
	busy := newHost("a")
	busy.Spec.Maintenance = true
	w := newWorld(t, busy, newMachine("m"))
	p := &port{next: func(what string) fault { t.Errorf("request while nothing fits: %s", what); return fine }}
	machine := w.machine("m")
	result := mustClaim(t, NewOptimistic(w.options(p.client(w.api))), request(machine), NoHost)
	if got, want := result.Diagnosis.Message(), "0/1 hosts available: 1 in maintenance"; got != want {
		t.Fatalf("message %q, want %q", got, want)
	}
	if result.RetryAfter != 0 {
		t.Fatalf("retry after %v although only an event helps", result.RetryAfter)
	}
}

func TestACoolOffEndsByTime(t *testing.T) {
	score, failed := int32(0), metav1.NewTime(epoch.Add(-4*time.Minute))
	host := newHost("a")
	host.Status.HealthScore, host.Status.LastFailure = &score, &failed
	w := newWorld(t, host, newMachine("m"))
	claimer := w.claimer()
	if result := mustClaim(t, claimer, request(w.machine("m")), NoHost); result.RetryAfter != 6*time.Minute {
		t.Fatalf("retry after %v, want 6m", result.RetryAfter)
	}
	w.clock.SetTime(epoch.Add(6 * time.Minute))
	mustClaim(t, claimer, request(w.machine("m")), Claimed)
}

// Each case leaves an intent on the machine and a host in some state; the claim must resume to the stated end.
func TestResume(t *testing.T) {
	const id = "00000000000000aa"
	claim := func(machine, id string) func(*v1beta1.PhysicalHost) {
		return func(h *v1beta1.PhysicalHost) { h.Spec.Claim = &v1beta1.Claim{ID: id, Machine: machine, Cluster: "c"} }
	}
	provisioned := func(m *v1beta1.Beskar7Machine) { m.Spec.ProviderID = v1beta1.ProviderID(namespace, "a", id) }
	same := func(*v1beta1.PhysicalHost) {}
	cases := map[string]struct {
		host    func(*v1beta1.PhysicalHost)
		machine func(*v1beta1.Beskar7Machine)
		want    Outcome
		on      string
		sameID  bool
	}{
		"the claim was never written":            {same, nil, Claimed, "a", true},
		"the reply was lost":                     {claim("m", id), nil, Confirmed, "a", true},
		"another machine was faster":             {claim("other", "00000000000000bb"), nil, Claimed, "b", false},
		"an older claim of this machine":         {claim("m", "00000000000000bb"), nil, Claimed, "b", false},
		"the host is not eligible any more":      {func(h *v1beta1.PhysicalHost) { h.Spec.Maintenance = true }, nil, Claimed, "b", false},
		"the host is quarantined":                {func(h *v1beta1.PhysicalHost) { h.Spec.Quarantine = &v1beta1.Quarantine{Reason: "X"} }, nil, Claimed, "b", false},
		"provisioned, and its host was cleared":  {same, provisioned, IntentLost, "", false},
		"provisioned, and its host is another's": {claim("other", "00000000000000bb"), provisioned, IntentLost, "", false},
		"provisioned and confirmed":              {claim("m", id), provisioned, Confirmed, "a", true},
		"provisioned, and hostRef was cleared": {same, func(m *v1beta1.Beskar7Machine) {
			provisioned(m)
			m.Spec.HostRef = nil
		}, IntentLost, "", false},
		"another machine of the same name": {same, func(m *v1beta1.Beskar7Machine) { m.UID = "other" }, IntentLost, "", false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			host, machine := newHost("a"), newMachine("m")
			machine.Spec.HostRef = &v1beta1.HostRef{Name: "a", ClaimID: id}
			c.host(host)
			if c.machine != nil {
				c.machine(machine)
			}
			w := newWorld(t, host, newHost("b"), machine)
			result := mustClaim(t, w.claimer(), request(newMachine("m")), c.want)
			if c.on == "" {
				if w.host("b").Spec.Claim != nil {
					t.Fatal("a host was claimed")
				}
				return
			}
			if !w.host(c.on).ClaimedBy(w.machine("m")) || (result.ClaimID == id) != c.sameID {
				t.Fatalf("claim %+v on %s, hostRef %+v", w.host(c.on).Spec.Claim, c.on, w.machine("m").Spec.HostRef)
			}
		})
	}
}

func TestMachinesThatMustNotClaim(t *testing.T) {
	w := newWorld(t, newHost("a"), newMachine("m"))
	stale := w.machine("m")
	if err := w.api.Delete(t.Context(), w.machine("m")); err != nil {
		t.Fatal(err)
	}
	mustClaim(t, w.claimer(), request(stale), IntentLost) // being deleted
	edit(w, w.machine("m"), func(m *v1beta1.Beskar7Machine) { m.Finalizers = nil })
	mustClaim(t, w.claimer(), request(stale), IntentLost) // gone
	if w.host("a").Spec.Claim != nil {
		t.Fatal("the host was claimed")
	}
}

func TestNothingIsClaimedWithoutALease(t *testing.T) {
	w := newWorld(t, newHost("a"), newMachine("m"))
	options := w.options(w.api)
	options.Fence = func() Fence { return Fence{} }
	if _, err := NewOptimistic(options).Claim(t.Context(), request(w.machine("m"))); !errors.Is(err, ErrNoLease) {
		t.Fatalf("error %v, want ErrNoLease", err)
	}
	if w.machine("m").Spec.HostRef != nil {
		t.Fatal("an intent was written")
	}
}

func TestAnInvalidSelectorIsSaid(t *testing.T) {
	w := newWorld(t, newHost("a"), newMachine("m"))
	machine := w.machine("m")
	machine.Spec.HostSelector = &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Near"}}}
	if _, err := w.claimer().Claim(t.Context(), request(machine)); !errors.Is(err, ErrSelector) {
		t.Fatalf("error %v, want ErrSelector", err)
	}
}

// Reuse: Require waits for the replaced machine's host, also while it is being given back; Prefer takes it if it is free; None
// ignores it.
func TestReuse(t *testing.T) {
	for _, busy := range []bool{false, true} {
		for mode, want := range map[v1beta1.ReuseMode]Outcome{v1beta1.ReuseRequire: NoHost, v1beta1.ReusePrefer: Claimed, v1beta1.ReuseNone: Claimed} {
			t.Run(fmt.Sprintf("%s/busy=%v", mode, busy), func(t *testing.T) {
				hosts := []client.Object{newMachine("m")}
				for _, name := range []string{"a", "b", "c", "d", "e"} {
					hosts = append(hosts, newHost(name))
				}
				w := newWorld(t, hosts...)
				if busy {
					edit(w, w.host("d"), func(h *v1beta1.PhysicalHost) {
						h.Spec.Claim = &v1beta1.Claim{ID: "00000000000000bb", Machine: "old", Cluster: "c", Owner: "MachineDeployment/md",
							Release: &v1beta1.Release{Reason: "MachineDeleted"}}
					})
				} else {
					want = Claimed
					edit(w, w.host("d"), func(h *v1beta1.PhysicalHost) {
						h.Spec.LastTenant = &v1beta1.Tenant{Cluster: "c", Owner: "MachineDeployment/md", Machine: "old"}
					})
				}
				machine := w.machine("m")
				machine.Spec.Reuse = mode
				req := request(machine)
				req.Owner = "MachineDeployment/md"
				result := mustClaim(t, w.claimer(), req, want)
				if !busy && mode != v1beta1.ReuseNone && result.Host.Name != "d" {
					t.Fatalf("claimed %s, want d", result.Host.Name)
				}
			})
		}
	}
}

// A lost race takes the next candidate in the same pass, up to the limit, and then backs off ever longer.
func TestLostRaces(t *testing.T) {
	objects := []client.Object{newMachine("m")}
	for i := range 6 {
		objects = append(objects, newHost(fmt.Sprint("h", i)))
	}
	w := newWorld(t, objects...)
	thieves, lost := 6, 0
	p := &port{next: func(what string) fault {
		var name string
		if n, _ := fmt.Sscanf(what, "patch PhysicalHost %s", &name); n == 1 && lost < thieves {
			lost++
			edit(w, w.host(name), func(h *v1beta1.PhysicalHost) {
				h.Spec.Claim = &v1beta1.Claim{ID: "00000000000000bb", Machine: "thief", Cluster: "c"}
			})
		}
		return fine
	}}
	seen := &tally{}
	options := w.options(p.client(w.api))
	options.Observer = seen
	claimer := NewOptimistic(options)
	first := mustClaim(t, claimer, request(w.machine("m")), Contended)
	if lost != 4 || first.RetryAfter != time.Second || w.machine("m").Spec.HostRef != nil {
		t.Fatalf("%d races lost, retry after %v, hostRef %v; want 4, 1s, none", lost, first.RetryAfter, w.machine("m").Spec.HostRef)
	}
	if second := mustClaim(t, claimer, request(w.machine("m")), Contended); second.RetryAfter != 2*time.Second {
		t.Fatalf("second back-off %v, want 2s", second.RetryAfter)
	}
	edit(w, w.host("h2"), func(h *v1beta1.PhysicalHost) { h.Spec.Claim = nil })
	if result := mustClaim(t, claimer, request(w.machine("m")), Claimed); result.Host.Name != "h2" {
		t.Fatalf("claimed %s", result.Host.Name)
	}
	want := tally{"success ": 1, "conflict host_taken": 6, "retried": 4, "took": 1}
	if fmt.Sprint(*seen) != fmt.Sprint(want) {
		t.Fatalf("observed %v, want %v", *seen, want)
	}
}

type tally map[string]int

func (c *tally) count(what string) {
	if *c == nil {
		*c = tally{}
	}
	(*c)[what]++
}
func (c *tally) ClaimAttempted(_, outcome, reason string) { c.count(outcome + " " + reason) }
func (c *tally) ClaimTook(string, time.Duration)          { c.count("took") }
func (c *tally) ClaimRetried(string)                      { c.count("retried") }

// Status of hosts is written all the time: a conflict that changed nothing which matters costs a repetition, not the host.
func TestStatusChurnIsNoLostRace(t *testing.T) {
	w := newWorld(t, newHost("a"), newMachine("m"))
	churn := 0
	p := &port{next: func(what string) fault {
		var name string
		if n, _ := fmt.Sscanf(what, "patch PhysicalHost %s", &name); n == 1 && churn < 2 {
			churn++
			edit(w, w.host("a"), func(h *v1beta1.PhysicalHost) { h.Annotations = map[string]string{"n": fmt.Sprint(churn)} })
		}
		return fine
	}}
	mustClaim(t, NewOptimistic(w.options(p.client(w.api))), request(w.machine("m")), Claimed)
	if churn != 2 {
		t.Fatalf("%d changes", churn)
	}
}

// Workers of one process do not run for the same host: with as many hosts as machines and a cache that shows none of the
// claims, every machine gets a host without one conflict.
func TestWorkersOfOneProcessDoNotHerd(t *testing.T) {
	const n = 12
	var objects []client.Object
	for i := range n {
		objects = append(objects, newHost(fmt.Sprint("h", i)), newMachine(fmt.Sprint("m", i)))
	}
	w := newWorld(t, objects...)
	var snapshot v1beta1.PhysicalHostList
	if err := w.api.List(t.Context(), &snapshot); err != nil {
		t.Fatal(err)
	}
	seen := &tally{}
	options := w.options(frozen(w.api, &snapshot))
	options.Reader, options.Observer = w.api, seen
	claimer := NewOptimistic(options)
	for i := range n {
		mustClaim(t, claimer, request(w.machine(fmt.Sprint("m", i))), Claimed)
	}
	if fmt.Sprint(*seen) != fmt.Sprint(tally{"success ": n, "took": n}) {
		t.Fatalf("observed %v", *seen)
	}
}

func TestConcurrentWorkers(t *testing.T) {
	const n = 8
	var objects []client.Object
	for i := range n {
		objects = append(objects, newHost(fmt.Sprint("h", i)), newMachine(fmt.Sprint("m", i)))
	}
	w := newWorld(t, objects...)
	options := w.options(w.api)
	options.Random = &locked{dice: dice{w.random}}
	claimer := NewOptimistic(options)
	var workers sync.WaitGroup
	for i := range 2 * n { // two workers for each machine
		workers.Go(func() {
			var req ClaimRequest
			for range 50 {
				req = request(w.machine(fmt.Sprint("m", i%n))) // as the cache will show it
				if result, err := claimer.Claim(t.Context(), req); err == nil && (result.Outcome == Claimed || result.Outcome == Confirmed) {
					return
				}
			}
			t.Errorf("machine %s got no host", req.Machine.Name)
		})
	}
	workers.Wait()
	taken := map[string]bool{}
	for i := range n {
		machine := w.machine(fmt.Sprint("m", i))
		if machine.Spec.HostRef == nil || taken[machine.Spec.HostRef.Name] || !w.host(machine.Spec.HostRef.Name).ClaimedBy(machine) {
			t.Fatalf("machine %s: %+v", machine.Name, machine.Spec.HostRef)
		}
		taken[machine.Spec.HostRef.Name] = true
	}
}

type locked struct {
	mu sync.Mutex
	dice
}

func (l *locked) Read(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dice.Read(p)
}
