package coordinator

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/hostselection"
)

// replica is one process: its cache, its claimer, its arbiter.
type replica struct {
	*model
	side *side
	name string

	// The cache.
	seen     int
	hosts    []v1beta1.PhysicalHost
	machines map[string]*v1beta1.Beskar7Machine
	paused   bool

	algorithm  hostselection.Algorithm
	optimistic *Optimistic
	confirmer  *Confirmer
	arbiter    *Arbiter
	// leads from the election until the process notices its end; validUntil is when it must stop by its own clock.
	leads       bool
	validUntil  time.Time
	transitions int32
}

// restart gives a replica a new process: its assumptions, back-offs and its term are gone.
func (r *replica) restart() {
	r.algorithm = hostselection.Deterministic
	if r.random.IntN(2) == 0 {
		r.algorithm = hostselection.Priority
	}
	options := Options{Client: modelClient{r: r}, Reader: modelClient{r: r, live: true}, Clock: r.clock, Random: dice{r.random},
		Fence: r.fence, Settings: func() Settings {
			return Settings{Algorithm: r.algorithm, RetryLimit: 2, BackoffMultiplier: 2, MaxBackoffDelay: 30 * time.Second}
		}}
	r.leads = false
	r.validUntil = time.Time{}
	if !r.leader {
		r.validUntil, r.transitions = r.clock.Now().Add(15*time.Minute), r.transitions+1
		r.tenures[Fence{r.name, r.transitions}] = true
	}
	r.optimistic = NewOptimistic(options)
	r.confirmer = NewConfirmer(options, func() bool { return true })
	r.arbiter = NewArbiter(ArbiterOptions{Options: options, Clock: r.clock, Wish: func(_ context.Context, m *v1beta1.Beskar7Machine) (ClaimRequest, bool) {
		return wish(m), !r.paused && slices.Contains(m.Finalizers, v1beta1.MachineFinalizer)
	}})
}

func (r *replica) fence() Fence {
	if !r.clock.Now().Before(r.validUntil) {
		return Fence{}
	}
	return Fence{Holder: r.name, Transitions: r.transitions}
}

// sync brings a replica's cache up to date, and tells its arbiter.
func (r *replica) sync() {
	api := r.side.api
	before := map[string]bool{}
	for i := range r.hosts {
		before[r.hosts[i].Name] = true
	}
	r.hosts = nil
	for _, host := range sorted(api.hosts) {
		r.hosts = append(r.hosts, *host)
		delete(before, host.Name)
		r.arbiter.HostChanged(host)
	}
	for name := range before {
		r.arbiter.HostDeleted(types.NamespacedName{Namespace: namespace, Name: name})
	}
	old := r.machines
	r.machines = map[string]*v1beta1.Beskar7Machine{}
	pauseChanged := r.paused != r.side.paused
	r.paused = r.side.paused
	for name, machine := range api.machines {
		r.machines[name] = machine
	}
	for _, machine := range sorted(r.machines) {
		r.arbiter.MachineChanged(machine)
		if pauseChanged {
			r.arbiter.WishChanged(keyOf(machine))
		}
	}
	for name := range old {
		if r.machines[name] == nil {
			r.arbiter.MachineDeleted(types.NamespacedName{Namespace: namespace, Name: name})
		}
	}
	r.seen = api.version
}

// modelClient is how a replica reaches its API server, or its cache.
type modelClient struct {
	client.WithWatch
	r    *replica
	live bool
}

// ask waits for the schedule before a request.
func ask(ctx context.Context, what string) fault {
	c := ctx.Value(callOf{}).(*call)
	c.events <- what
	return <-c.grant
}

// Get reads live.
func (m modelClient) Get(ctx context.Context, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
	if ask(ctx, "get "+kind(o)+" "+key.Name) != fine {
		return errLost
	}
	return m.r.side.api.Get(ctx, key, o, opts...)
}

// List reads live, or from the cache as it was last synced.
func (m modelClient) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	if m.live {
		if ask(ctx, strings.ToLower(fmt.Sprintf("list %T", list)[len("list *v1beta1."):])+" live") != fine {
			return errLost
		}
		return m.r.side.api.List(ctx, list, opts...)
	}
	var options client.ListOptions
	options.ApplyOptions(opts)
	out := list.(*v1beta1.PhysicalHostList)
	out.Items = nil
	for i := range m.r.hosts {
		if options.FieldSelector == nil || selected(options, &m.r.hosts[i]) {
			out.Items = append(out.Items, m.r.hosts[i])
		}
	}
	return nil
}

// Patch writes, or fails in one of the ways in which writes fail.
func (m modelClient) Patch(ctx context.Context, o client.Object, p client.Patch, _ ...client.PatchOption) error {
	data, err := p.Data(o)
	if err != nil {
		return err
	}
	api, copied := m.r.side.api, o.DeepCopyObject().(client.Object)
	patch := client.RawPatch(p.Type(), data)
	what := fmt.Sprintf("patch %s %s %s", kind(o), o.GetName(), data)
	switch ask(ctx, what) {
	case failBefore, crash:
		return errLost
	case failAfter:
		_ = api.Patch(ctx, copied, patch)
		return errLost
	case delay:
		m.r.delayed = append(m.r.delayed, lateWrite{what, func() error { return api.Patch(context.Background(), copied, patch) }})
		return errLost
	case fine:
	}
	return api.Patch(ctx, o, patch)
}

// call is one Claim, MarkRelease, take-over or bind that runs in a goroutine of its own, which waits before every request.
type call struct {
	name, what string
	replica    *replica
	machine    string
	bind       *bind
	// fenced: the process knew at the start that it may not claim.
	fenced bool
	// events says what it waits to request, or "" when it has ended; grant answers.
	events chan string
	grant  chan fault
	// ended runs in the schedule's goroutine.
	ended func()
}

func (c *call) writes() bool { return strings.HasPrefix(c.what, "patch") }

// launch starts a call and lets it come to its first request.
func (m *model) launch(c *call, run func(ctx context.Context)) {
	c.events, c.grant = make(chan string), make(chan fault)
	m.calls = append(m.calls, c)
	m.tell("%s", c.name)
	go func() {
		run(during(c))
		c.events <- ""
	}()
	m.await(c)
}

// await lets the call run to its next request, or its end.
func (m *model) await(c *call) {
	if c.what = <-c.events; c.what != "" {
		return
	}
	m.calls = slices.DeleteFunc(m.calls, func(other *call) bool { return other == c })
	if c.ended != nil {
		c.ended()
	}
}

// start runs a Claim, or the MarkRelease of a machine that is being deleted, as the replica's cache shows the machine.
func (m *model) start(r *replica, name string) {
	machine := r.machines[name]
	if machine == nil || r.paused || slices.ContainsFunc(m.calls, func(c *call) bool { return c.replica == r && c.machine == name }) {
		return
	}
	if r.seen != r.side.api.version {
		m.count("stale cache")
	}
	machine = machine.DeepCopy()
	c := &call{replica: r, machine: name, fenced: r.fence().Holder == ""}
	if !machine.DeletionTimestamp.IsZero() {
		m.release(c, machine)
		return
	}
	var claimer Claimer = r.optimistic
	c.name = r.name + " claims for " + name
	if m.leader {
		claimer, c.name = r.confirmer, r.name+" confirms for "+name
	}
	m.launch(c, func(ctx context.Context) { _, _ = claimer.Claim(ctx, wish(machine)) })
}

func (m *model) release(c *call, machine *v1beta1.Beskar7Machine) {
	r := c.replica
	c.name = r.name + " releases " + machine.Name
	done := false
	c.ended = func() {
		if done {
			m.dropFinalizer(r.side, machine)
		}
	}
	access := Access{Client: modelClient{r: r}, Reader: modelClient{r: r, live: true}, Clock: m.clock}
	m.launch(c, func(ctx context.Context) {
		ok, err := MarkRelease(ctx, access, machine, "MachineDeleted")
		done = ok && err == nil
	})
}

func (m *model) dropFinalizer(s *side, machine *v1beta1.Beskar7Machine) {
	if live := s.api.machines[machine.Name]; live != nil && live.UID == machine.UID {
		s.api.drop(live)
		m.tell("%s is gone", machine.Name)
		if s == m.at {
			m.create(machine.Name)
			m.tell("a new %s is made", machine.Name)
		}
	}
}

var faultNames = [faults]string{"", "request fails", "reply lost", "write delayed", "process dies"}

// proceed answers a call's request.
func (m *model) proceed(c *call, with fault) {
	if with == delay && !c.writes() {
		with = failBefore
	}
	line := fmt.Sprintf("%s/%s: %s", c.replica.name, c.machine, c.what)
	if with != fine {
		line += " (" + faultNames[with] + ")"
		m.count(faultNames[with])
	}
	m.tell("%s", line)
	if strings.HasPrefix(c.what, "patch PhysicalHost") && c.bind == nil && c.fenced && strings.Contains(c.what, `"leaseHolder"`) {
		m.fail("D5: %s claims although it knew that its Lease was over", c.replica.name)
	}
	m.noteDeposed(c, with)
	if with == crash {
		c.replica.restart()
	}
	c.grant <- with
	m.await(c)
}
