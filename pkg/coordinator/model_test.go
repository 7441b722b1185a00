package coordinator

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	clusterctlv1 "sigs.k8s.io/cluster-api/cmd/clusterctl/api/v1alpha3"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/beskar7/beskar7/api/v1beta1"
)

// The model: three replicas with stale caches get hosts for machines that come, go, vanish and come back, while requests fail,
// lose their replies, arrive late or take their process with them, leaders change, clocks jump and the cluster is moved away and
// back. One request runs at a time, in an order that the seed chooses; invariants are checked after each. Schedules of even seeds
// have an API server without CEL rules, so that the claimers' own guards carry; in the odd ones careless clients overwrite what
// is not theirs, which only the rules can refuse.
type model struct {
	seed   uint64
	leader bool
	random *rand.Rand
	clock  *clocktesting.FakeClock
	// at is the management cluster that is used now; a move goes to the other one.
	at, other *side
	replicas  []*replica
	calls     []*call
	delayed   []lateWrite
	move      *move
	machines  int // ever made, for UIDs
	story     []string
	// faults by kind, and steps.
	faults map[string]int
	steps  int
	broken string

	// What the checks remember, of the side that is used.
	claims map[string]v1beta1.Claim
	owned  map[string]ownership
	// cleared claims, by id: the host controller ended them.
	cleared map[string]bool
	// since is when an unsettled claim was first seen, by side and claim id.
	since map[string]time.Time
	// alone is when a claim was first seen without its machine's half.
	alone map[string]time.Time
	// servers are what runs, by host: power, and for whom it was booted.
	servers map[string]*server
	// deleted machines, by UID: someone asked for their end.
	deleted map[types.UID]bool
	// vanished machines wait to be restored.
	vanished []*v1beta1.Beskar7Machine
	// tenures of the Lease that there were.
	tenures map[Fence]bool
}

type ownership struct {
	uid      types.UID
	host, id string
}

// server is the hardware behind a host.
type server struct {
	claim string
	owner types.UID
	name  string
	bound bool
}

// side is one management cluster.
type side struct {
	name   string
	api    *store
	paused bool
	lease  lease
}

type lateWrite struct {
	what  string
	write func() error
}

const (
	modelHosts    = 4
	modelMachines = 4
)

func newModel(seed uint64, leader bool) *model {
	m := &model{
		seed: seed, leader: leader, random: rand.New(rand.NewPCG(seed, 99)), clock: clocktesting.NewFakeClock(epoch),
		faults: map[string]int{}, claims: map[string]v1beta1.Claim{}, owned: map[string]ownership{}, cleared: map[string]bool{},
		since: map[string]time.Time{}, alone: map[string]time.Time{}, servers: map[string]*server{}, deleted: map[types.UID]bool{}, tenures: map[Fence]bool{},
	}
	m.at, m.other = &side{name: "east", api: newStore()}, &side{name: "west", api: newStore()}
	m.at.api.rules, m.other.api.rules = m.ruled(), m.ruled()
	for i := range modelHosts {
		host := newHost(fmt.Sprint("h", i))
		host.Spec.Priority = int32(m.random.IntN(100))
		m.at.api.put(host)
		m.servers[host.Name] = &server{}
	}
	for i := range modelMachines {
		m.create(fmt.Sprint("m", i))
	}
	for i := range m.random.IntN(3) {
		m.settled(fmt.Sprint("h", i), fmt.Sprint("m", i))
	}
	m.staff()
	return m
}

// settled lets a machine have run on a host for long.
func (m *model) settled(hostName, machineName string) {
	host, machine := m.at.api.hosts[hostName], m.at.api.machines[machineName]
	id := fmt.Sprintf("%016x", m.random.Uint64())
	boot := wish(machine).Boot
	m.editMachine(m.at, machine, func(x *v1beta1.Beskar7Machine) {
		x.Spec.HostRef = &v1beta1.HostRef{Name: hostName, ClaimID: id}
		x.Annotations = map[string]string{clusterctlv1.BlockMoveAnnotation: ""}
	})
	m.edit(m.at, host, func(x *v1beta1.PhysicalHost) {
		x.Spec.Claim = &v1beta1.Claim{ID: id, Machine: machineName, Cluster: "c", LeaseHolder: "before", Bound: true, Media: &v1beta1.MediaGrant{TokenHash: "x"}}
		x.Spec.Boot = &boot
	})
	*m.servers[hostName] = server{claim: id, owner: machine.UID, name: dataOf(machine), bound: true}
	m.tenures[Fence{Holder: "before"}] = true
}

// ruled says whether the API server of this schedule has CEL rules.
func (m *model) ruled() bool { return m.seed%2 == 1 }

// create makes a machine, perhaps of the name of a former one.
func (m *model) create(name string) {
	m.machines++
	machine := newMachine(name)
	machine.UID = types.UID(fmt.Sprintf("%s-%d", name, m.machines))
	m.at.api.put(machine)
}

// staff gives the side that is used three new replicas.
func (m *model) staff() {
	m.replicas = nil
	for i := range 3 {
		r := &replica{model: m, side: m.at, name: fmt.Sprintf("%s-%d", m.at.name, i)}
		m.replicas = append(m.replicas, r)
		r.restart()
		r.sync()
	}
}

func (m *model) tell(format string, args ...any) {
	m.story = append(m.story, fmt.Sprintf("%3d ", len(m.story)+1)+fmt.Sprintf(format, args...))
}

func (m *model) count(fault string) { m.faults[fault]++ }

func (m *model) fail(format string, args ...any) {
	if m.broken == "" {
		m.broken = fmt.Sprintf(format, args...)
	}
}

// wish is what a machine asks for: the bootstrap data are its own, not those of a former machine of its name.
func wish(machine *v1beta1.Beskar7Machine) ClaimRequest {
	req := request(machine)
	req.Boot.BootstrapSecret = dataOf(machine)
	return req
}

// dataOf is the name of the bootstrap data of a machine, and of the same machine after a move.
func dataOf(machine *v1beta1.Beskar7Machine) string {
	if data := machine.Annotations["data"]; data != "" {
		return data
	}
	return string(machine.UID)
}

// step does one thing that the seed chooses.
func (m *model) step() {
	m.steps++
	r := m.replicas[m.random.IntN(len(m.replicas))]
	switch n := m.random.IntN(100); {
	case n < 42 && len(m.calls) > 0:
		c := m.calls[m.random.IntN(len(m.calls))]
		m.proceed(c, m.fault(c.writes()))
	case n < 58 && m.leader:
		m.lead(r)
	case n < 70:
		m.start(r, m.anyMachine())
	case n < 78:
		m.tell("%s syncs its cache", r.name)
		r.sync()
	case n < 84:
		for name, times := m.anyHost(), 1+m.random.IntN(4); times > 0; times-- {
			m.hostController(m.at, name)
			m.check()
		}
	case n < 87 && len(m.delayed) > 0:
		m.late(m.random.IntN(len(m.delayed)))
	case n < 88 || m.move != nil && n < 93:
		m.moveOn()
	default:
		m.disturb(n)
	}
	m.check()
}

// disturb is what others do, and time.
func (m *model) disturb(n int) {
	switch {
	case n < 90:
		m.churn(m.anyHost())
	case n < 94:
		m.deleteMachine(m.anyMachine())
	case n < 96 && len(m.vanished) > 0:
		m.restore()
	case n < 96:
		m.vanish(m.anyMachine())
	case n < 98 && m.ruled():
		m.careless()
	default:
		by := time.Duration(m.random.IntN(400)) * time.Second
		m.tell("%s pass", by)
		m.count("clock jump")
		m.clock.SetTime(m.clock.Now().Add(by))
	}
}

func (m *model) anyHost() string    { return fmt.Sprint("h", m.random.IntN(modelHosts)) }
func (m *model) anyMachine() string { return fmt.Sprint("m", m.random.IntN(modelMachines)) }

// fault of the next request; writes are delayed more often than reads fail.
func (m *model) fault(write bool) fault {
	switch n := m.random.IntN(16); {
	case n < 1 && write:
		return delay
	case n < 4:
		return fault(1 + m.random.IntN(faults-1))
	}
	return fine
}

// late applies a delayed write.
func (m *model) late(n int) {
	w := m.delayed[n]
	m.delayed = slices.Delete(m.delayed, n, n+1)
	m.tell("late: %s: %v", w.what, w.write())
}

// run plays one schedule and returns what broke.
func (m *model) run(steps int) string {
	for range steps {
		if m.broken == "" {
			m.step()
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

// settle ends all faults: what is under way finishes, every machine that is left must get a host, and no claim may be left that
// nobody confirms.
func (m *model) settle() {
	for len(m.calls) > 0 && m.broken == "" {
		m.proceed(m.calls[0], fine)
		m.check()
	}
	for len(m.delayed) > 0 {
		m.late(0)
		m.check()
	}
	for m.move != nil {
		m.moveOn()
		m.check()
	}
	for len(m.vanished) > 0 {
		m.restore()
	}
	for _, host := range sorted(m.at.api.hosts) {
		m.edit(m.at, host, func(h *v1beta1.PhysicalHost) { h.Spec.Maintenance = false })
	}
	for round := 0; round < 14 && m.broken == "" && (round < 2 || m.unfinished() != ""); round++ {
		m.round(m.replicas[round%len(m.replicas)])
		m.person()
		m.clock.SetTime(m.clock.Now().Add(DefaultGrace))
	}
	if left := m.unfinished(); left != "" {
		m.fail("the end: %s", left)
	}
}

// round lets one replica do everything that there is to do, without faults.
func (m *model) round(r *replica) {
	finish := func() {
		for len(m.calls) > 0 && m.broken == "" {
			m.proceed(m.calls[0], fine)
			m.check()
		}
	}
	if !m.leader && r.fence().Holder == "" {
		r.restart() // the driver lease is held by a new process
	}
	r.sync()
	for range 2 {
		if m.leader {
			m.reign(r, finish)
		}
		for _, name := range slices.Sorted(maps.Keys(m.at.api.machines)) {
			r.sync()
			m.start(r, name)
			finish()
		}
		for _, name := range slices.Sorted(maps.Keys(m.at.api.hosts)) {
			m.hostController(m.at, name)
			m.check()
		}
	}
}

// person decides about quarantined hosts: the server is off, release it.
func (m *model) person() {
	for _, host := range sorted(m.at.api.hosts) {
		if host.Spec.Quarantine != nil {
			m.tell("a person releases %s", host.Name)
			m.edit(m.at, host, func(h *v1beta1.PhysicalHost) {
				h.Spec.Quarantine = nil
				if h.Spec.Claim != nil && h.Spec.Claim.Release == nil {
					h.Spec.Claim.Release = &v1beta1.Release{Reason: v1beta1.ReasonOrphaned}
				}
			})
		}
	}
}

// unfinished says what is left to be done, or "".
func (m *model) unfinished() string {
	for name, machine := range m.at.api.machines {
		ref := machine.Spec.HostRef
		if ref == nil || m.at.api.hosts[ref.Name] == nil || !m.at.api.hosts[ref.Name].ClaimedBy(machine) {
			return name + " has no host"
		}
	}
	for name, host := range m.at.api.hosts {
		claim := host.Spec.Claim
		if claim == nil {
			continue
		}
		if machine := m.at.api.machines[claim.Machine]; machine == nil || !host.ClaimedBy(machine) {
			return fmt.Sprintf("%s is claimed by %s, which does not confirm it", name, claim.Machine)
		}
	}
	return ""
}

// edit changes an object as an outsider does, or a controller of whose writes the model is not about.
func (m *model) edit(s *side, host *v1beta1.PhysicalHost, change func(*v1beta1.PhysicalHost)) {
	next := host.DeepCopy()
	change(next)
	s.api.put(next)
}

func (m *model) editMachine(s *side, machine *v1beta1.Beskar7Machine, change func(*v1beta1.Beskar7Machine)) {
	next := machine.DeepCopy()
	change(next)
	s.api.put(next)
}

// callOf carries the call of which a request is part.
type callOf struct{}

func during(c *call) context.Context {
	return log.IntoContext(context.WithValue(context.Background(), callOf{}, c), logr.Discard())
}
