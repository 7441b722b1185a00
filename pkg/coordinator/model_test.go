package coordinator

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/beskar7/beskar7/api/v1beta1"
)

// The model: three replicas with stale caches claim hosts for machines that come, go and are released, while requests fail,
// lose their replies, arrive late or take their process with them. One request runs at a time, in an order that the seed
// chooses; invariants are checked after each. The API server has no CEL rules here, so that the claimers' own guards carry.
type model struct {
	*world
	replicas []*replica
	calls    []*call
	delayed  []lateWrite
	mutant   string
	story    []string

	// claims as seen after the last step, by host; owned is the confirmed host of a machine, kept until its claim is cleared.
	claims map[string]v1beta1.Claim
	owned  map[string]ownership
	since  map[string]time.Time
	broken string
	gone   map[string]bool
}

type ownership struct{ host, id string }

type lateWrite struct {
	what  string
	write func() error
}

// replica is one process: its cache, its claimer.
type replica struct {
	name     string
	hosts    v1beta1.PhysicalHostList
	machines map[string]*v1beta1.Beskar7Machine
	claimer  *Optimistic
}

// call is one Claim or MarkRelease that runs in a goroutine of its own, which waits before every request.
type call struct {
	what    string
	replica *replica
	machine string
	// events says what it waits to request, or "" when it has ended; grant answers.
	events chan string
	grant  chan fault
	port   *port
	done   bool
}

const (
	modelHosts    = 4
	modelMachines = 4
)

func newModel(t *testing.T, seed uint64, mutant string) *model {
	t.Helper()
	var objects []client.Object
	for i := range modelHosts {
		objects = append(objects, newHost(fmt.Sprint("h", i)))
	}
	for i := range modelMachines {
		objects = append(objects, newMachine(fmt.Sprint("m", i)))
	}
	m := &model{world: newWorld(t, objects...), mutant: mutant, claims: map[string]v1beta1.Claim{},
		owned: map[string]ownership{}, since: map[string]time.Time{}, gone: map[string]bool{}}
	m.random = rand.New(rand.NewPCG(seed, 99))
	for i := range 3 {
		r := &replica{name: fmt.Sprint("r", i)}
		m.replicas = append(m.replicas, r)
		m.sync(r)
		m.restart(r)
	}
	return m
}

func (m *model) tell(format string, args ...any) {
	m.story = append(m.story, fmt.Sprintf("%3d ", len(m.story)+1)+fmt.Sprintf(format, args...))
}

// sync brings a replica's cache up to date.
func (m *model) sync(r *replica) {
	r.hosts = v1beta1.PhysicalHostList{}
	if err := m.api.List(m.t.Context(), &r.hosts); err != nil {
		m.t.Fatal(err)
	}
	var machines v1beta1.Beskar7MachineList
	if err := m.api.List(m.t.Context(), &machines); err != nil {
		m.t.Fatal(err)
	}
	r.machines = map[string]*v1beta1.Beskar7Machine{}
	for i := range machines.Items {
		r.machines[machines.Items[i].Name] = &machines.Items[i]
	}
}

// restart gives a replica a new process: its assumptions and back-offs are gone.
func (m *model) restart(r *replica) {
	options := m.options(m.api)
	options.Client, options.Reader = nil, nil // every call brings its own
	options.Fence = func() Fence { return Fence{Holder: r.name} }
	r.claimer = NewOptimistic(options)
}

// start runs a Claim, or the MarkRelease of a machine that is being deleted, as the replica's cache shows the machine.
func (m *model) start(r *replica, name string) {
	machine := r.machines[name]
	if machine == nil || slices.ContainsFunc(m.calls, func(c *call) bool { return c.replica == r && c.machine == name }) {
		return
	}
	c := &call{replica: r, machine: name, events: make(chan string), grant: make(chan fault)}
	c.port = &port{
		next:   func(what string) fault { c.events <- what; return <-c.grant },
		later:  func(what string, write func() error) { m.delayed = append(m.delayed, lateWrite{what, write}) },
		mutate: m.mutation(),
	}
	live := c.port.client(m.api)
	if m.mutant == "intent is not written" {
		live = pretendIntent(live)
	}
	cached := frozen(live, &r.hosts)
	m.calls = append(m.calls, c)
	machine = machine.DeepCopy()
	if machine.DeletionTimestamp.IsZero() {
		c.what = r.name + " claims for " + name
		claimer := r.claimer.with(cached, live)
		go func() {
			_, _ = claimer.Claim(context.Background(), request(machine))
			c.events <- ""
		}()
	} else {
		c.what = r.name + " releases " + name
		go func() {
			done, err := MarkRelease(context.Background(), Access{Client: cached, Reader: live, Clock: m.clock}, machine, "MachineDeleted")
			if done && err == nil {
				m.gone[name] = true // the finalizer is dropped in the scheduler's goroutine, see settle
			}
			c.events <- ""
		}()
	}
	m.tell("%s", c.what)
	m.await(c)
}

// await lets the call run to its next request, or its end.
func (m *model) await(c *call) {
	what := <-c.events
	if what != "" {
		c.what = c.replica.name + "/" + c.machine + ": " + what
		return
	}
	c.done = true
	m.calls = slices.DeleteFunc(m.calls, func(other *call) bool { return other == c })
	if m.gone[c.machine] {
		m.dropFinalizer(c.machine)
	}
}

func (m *model) dropFinalizer(name string) {
	machine := &v1beta1.Beskar7Machine{}
	if err := m.api.Get(m.t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, machine); err != nil {
		return
	}
	edit(m.world, machine, func(x *v1beta1.Beskar7Machine) { x.Finalizers = nil })
	m.tell("%s is gone", name)
}

// proceed answers a call's request.
func (m *model) proceed(c *call, with fault) {
	m.tell("%s%s", c.what, [faults]string{"", " (fails)", " (reply lost)", " (delayed)", " (process dies)"}[with])
	if with == crash {
		m.restart(c.replica)
	}
	c.grant <- with
	m.await(c)
}

// mutation changes requests in ways that remove one guard; a model that does not notice is no proof.
func (m *model) mutation() func(client.Object, []byte) []byte {
	strip := map[string]string{"no precondition on hosts": "PhysicalHost", "no precondition on machines": "Beskar7Machine"}[m.mutant]
	return func(object client.Object, data []byte) []byte {
		if kind(object) == strip {
			return withoutVersion(data)
		}
		return data
	}
}

// step does one thing that the seed chooses.
func (m *model) step(withFaults bool) {
	r := m.replicas[m.random.IntN(len(m.replicas))]
	switch n := m.random.IntN(100); {
	case n < 50 && len(m.calls) > 0:
		with := fine
		if withFaults && m.random.IntN(6) == 0 {
			with = fault(1 + m.random.IntN(faults-1))
		}
		m.proceed(m.calls[m.random.IntN(len(m.calls))], with)
	case n < 70:
		m.start(r, fmt.Sprint("m", m.random.IntN(modelMachines)))
	case n < 80:
		m.tell("%s syncs its cache", r.name)
		m.sync(r)
	case n < 84:
		m.hostController(m.random.IntN(modelHosts))
	case n < 88 && len(m.delayed) > 0:
		m.late(m.random.IntN(len(m.delayed)))
	case n < 92:
		m.churn(m.random.IntN(modelHosts))
	case n < 94 && withFaults:
		m.deleteMachine(fmt.Sprint("m", m.random.IntN(modelMachines)))
	case n < 96:
		m.clock.SetTime(m.clock.Now().Add(time.Duration(m.random.IntN(400)) * time.Second))
	}
	m.check()
}

// late applies a delayed write.
func (m *model) late(n int) {
	w := m.delayed[n]
	m.delayed = slices.Delete(m.delayed, n, n+1)
	m.tell("late: %s: %v", w.what, w.write())
}

// churn is everybody else: a status write that changes nothing, or an owner's maintenance.
func (m *model) churn(n int) {
	host := m.host(fmt.Sprint("h", n))
	maintenance := m.random.IntN(3) == 0
	m.tell("%s changes (maintenance toggled: %v)", host.Name, maintenance)
	edit(m.world, host, func(h *v1beta1.PhysicalHost) {
		h.Annotations = map[string]string{"n": fmt.Sprint(len(m.story))}
		h.Spec.Maintenance = h.Spec.Maintenance != maintenance
	})
}

func (m *model) deleteMachine(name string) {
	machine := &v1beta1.Beskar7Machine{}
	if m.api.Get(m.t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, machine) != nil {
		return
	}
	m.tell("%s is deleted", name)
	if err := m.api.Delete(m.t.Context(), machine); err != nil {
		m.t.Fatal(err)
	}
}

// hostController judges a host on live reads and acts: it grants media to a confirmed claim (now hardware is touched), and
// clears released, expired and orphaned ones.
func (m *model) hostController(n int) {
	host := m.host(fmt.Sprint("h", n))
	claim := host.Spec.Claim
	if claim == nil {
		return
	}
	h := Holding{Host: host, Cluster: &clusterv1.Cluster{}, Now: m.clock.Now(), ClaimedSince: m.clock.Now()}
	machine := &v1beta1.Beskar7Machine{}
	if m.api.Get(m.t.Context(), client.ObjectKey{Namespace: namespace, Name: claim.Machine}, machine) == nil {
		h.Machine = machine
	}
	if since, seen := m.since[claim.ID]; seen {
		h.ClaimedSince = since
	}
	standing := Judge(h)
	if standing == StandingUnconfirmed || standing == StandingOrphaned {
		m.since[claim.ID] = h.ClaimedSince
	} else {
		delete(m.since, claim.ID)
	}
	m.tell("%s is %s", host.Name, standing)
	edit(m.world, host, func(x *v1beta1.PhysicalHost) {
		switch standing {
		case StandingConfirmed:
			x.Spec.Claim.Media = &v1beta1.MediaGrant{TokenHash: "x"}
		case StandingUnconfirmedExpired, StandingReleasing, StandingOrphanExpired:
			x.Spec.Claim, x.Spec.Boot = nil, nil
		case StandingNone, StandingPaused, StandingUnconfirmed, StandingOrphaned, StandingOrphanBound:
		}
	})
}

// check is I1, I2 and what follows from them for hardware.
func (m *model) check() {
	claims := map[string]v1beta1.Claim{}
	confirmed := map[string]ownership{}
	for i := range modelHosts {
		host := m.host(fmt.Sprint("h", i))
		if host.Spec.Claim == nil {
			continue
		}
		now := *host.Spec.Claim
		claims[host.Name] = now
		if was, had := m.claims[host.Name]; had && (was.ID != now.ID || was.Machine != now.Machine) {
			m.fail("I1: the claim on %s changed from %s of %s to %s of %s", host.Name, was.ID, was.Machine, now.ID, now.Machine)
		}
		machine := &v1beta1.Beskar7Machine{}
		if m.api.Get(m.t.Context(), client.ObjectKey{Namespace: namespace, Name: now.Machine}, machine) == nil && host.ClaimedBy(machine) {
			confirmed[now.Machine] = ownership{host.Name, now.ID}
		}
	}
	for machine, was := range m.owned {
		if claims[was.host].ID != was.id {
			delete(m.owned, machine) // the host controller gave it back
		} else if now, has := confirmed[machine]; (!has || now != was) && !m.gone[machine] {
			m.fail("I2: %s owned %s by %s, which is not given back, and now owns %+v", machine, was.host, was.id, now)
		}
	}
	maps.Copy(m.owned, confirmed)
	m.claims = claims
}

func (m *model) fail(format string, args ...any) {
	if m.broken == "" {
		m.broken = fmt.Sprintf(format, args...)
	}
}

// settle ends all faults: what is under way finishes, every machine that is left must get a host, and no claim may be left
// that nobody confirms.
func (m *model) settle() {
	for len(m.calls) > 0 {
		m.proceed(m.calls[0], fine)
		m.check()
	}
	for len(m.delayed) > 0 {
		m.late(0)
		m.check()
	}
	for i := range modelHosts {
		edit(m.world, m.host(fmt.Sprint("h", i)), func(h *v1beta1.PhysicalHost) { h.Spec.Maintenance = false })
	}
	for round := range 12 {
		r := m.replicas[round%len(m.replicas)]
		for i := range modelMachines {
			m.sync(r)
			m.start(r, fmt.Sprint("m", i))
			for len(m.calls) > 0 {
				m.proceed(m.calls[0], fine)
			}
			m.check()
		}
		for i := range modelHosts {
			m.hostController(i)
			m.check()
		}
		m.clock.SetTime(m.clock.Now().Add(DefaultGrace))
	}
	m.checkEnd()
}

func (m *model) checkEnd() {
	m.sync(m.replicas[0])
	for name, machine := range m.replicas[0].machines {
		if machine.Spec.HostRef == nil || !m.host(machine.Spec.HostRef.Name).ClaimedBy(machine) {
			m.fail("the end: %s has no host", name)
		}
	}
	for name, claim := range m.claims {
		if m.owned[claim.Machine].host != name || m.replicas[0].machines[claim.Machine] == nil {
			m.fail("the end: %s is claimed by %s, which does not confirm it", name, claim.Machine)
		}
	}
}

// run plays one schedule and returns what broke.
func (m *model) run(steps int) string {
	for range steps {
		if m.broken == "" {
			m.step(true)
		}
	}
	if m.broken == "" {
		m.settle()
	}
	for len(m.calls) > 0 { // let no goroutine behind
		m.proceed(m.calls[0], failBefore)
	}
	return m.broken
}

const (
	schedules = 60
	steps     = 120
)

func TestNoInterleavingBreaksOwnership(t *testing.T) {
	for seed := range uint64(schedules) {
		m := newModel(t, seed, "")
		if broken := m.run(steps); broken != "" {
			t.Fatalf("seed %d: %s\n%s", seed, broken, strings.Join(m.story, "\n"))
		}
	}
}

// Each mutant takes one guard away; the same schedules must find it. These mutants of the code were tried by hand, one at a
// time; behind each is the test that failed:
//
//	a deleting machine claims                       TestMachinesThatMustNotClaim
//	UID of the machine ignored                      TestResume
//	provider id ignored, with or without hostRef    TestResume
//	an error of unknown outcome taken for a loss    TestClaimResumesAfterAFaultAtAnyRequest
//	live host not judged before the write           TestNoInterleavingBreaksOwnership
//	intent kept after a lost race                   TestNoInterleavingBreaksOwnership
//	host write without precondition                 TestNoInterleavingBreaksOwnership
//	machine write without precondition              TestClaimResumesAfterAFaultAtAnyRequest
//	machine not read again after a conflict         TestAnIntentThatWasReplacedMeanwhileClaimsNothing
//	no lease asked for                              TestNothingIsClaimedWithoutALease
//	assumptions not honoured                        TestAssumedHosts
//	release mark without precondition               TestAClaimThatWasReplacedMeanwhileIsNotMarked
//	a former machine's bound claim marked           TestWhichClaimsAMachineReleases
//	claims not found by the machine's name          TestWhichClaimsAMachineReleases
//	done said while a host is held                  TestMarkReleaseSurvivesAFaultAtAnyRequest
//	intent left on a released machine               TestMarkReleaseSurvivesAFaultAtAnyRequest
//	touched hardware cleared, bound orphan released,
//	restore releases, pause or grace ignored        TestJudge
//
// One survives and should: looking at the live host before the intent is written only saves writes.
func TestTheModelFindsMissingGuards(t *testing.T) {
	for _, mutant := range []string{"no precondition on hosts", "no precondition on machines", "intent is not written"} {
		t.Run(mutant, func(t *testing.T) {
			for seed := range uint64(schedules) {
				if broken := newModel(t, seed, mutant).run(steps); broken != "" {
					t.Logf("seed %d: %s", seed, broken)
					return
				}
			}
			t.Fatalf("%d schedules did not notice", schedules)
		})
	}
}

// with is the same process with the client of one call.
func (o *Optimistic) with(cached client.Client, live client.Reader) *Optimistic {
	options := o.Options
	options.Client, options.Reader = cached, live
	return &Optimistic{Options: options, process: o.process}
}

// pretendIntent drops the intent on its way to the machine and says that it was written.
func pretendIntent(api client.WithWatch) client.WithWatch {
	return interceptor.NewClient(api, interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, object client.Object, patch client.Patch, opts ...client.PatchOption) error {
			if kind(object) == "Beskar7Machine" {
				return nil
			}
			return c.Patch(ctx, object, patch, opts...)
		},
	})
}
