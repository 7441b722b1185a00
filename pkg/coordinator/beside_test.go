package coordinator

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/hostselection"
)

// bench is a namespace in which hosts come and go and machines wait, with events that arrive as soon as something is written, and
// no faults: what is judged is whether somebody waits beside a host that he could have.
type bench struct {
	random *rand.Rand
	clock  *clocktesting.FakeClock
	store  *store
	shown  map[string]*v1beta1.PhysicalHost
	story  []string
	made   int

	optimistic *Optimistic
	arbiter    *Arbiter
	// queued machines are to be looked at; due are those that come back by themselves.
	queued []string
	due    map[string]time.Time
}

// newBench is one with these hosts; without any, with some that the seed chooses.
func newBench(t *testing.T, seed uint64, leader bool, hosts ...*v1beta1.PhysicalHost) *bench {
	b := &bench{random: rand.New(rand.NewPCG(seed, 7)), clock: clocktesting.NewFakeClock(epoch), store: newStore(),
		shown: map[string]*v1beta1.PhysicalHost{}, due: map[string]time.Time{}}
	for _, host := range hosts {
		b.store.put(host)
	}
	options := (&world{}).options(b.store)
	options.Clock, options.Random = b.clock, dice{b.random}
	options.Informed, options.Wake = true, func(m types.NamespacedName) { b.queued = append(b.queued, m.Name) }
	b.optimistic = NewOptimistic(options)
	if leader {
		b.arbiter = NewArbiter(ArbiterOptions{Options: options, Clock: b.clock,
			Wish: func(_ context.Context, m *v1beta1.Beskar7Machine) (ClaimRequest, bool) { return besideRequest(m), true }})
	}
	for i := 0; len(hosts) == 0 && i < 5; i++ {
		host := newHost(fmt.Sprint("h", i))
		host.Spec.FailureDomain = fmt.Sprint("rack", b.random.IntN(3))
		host.Labels = map[string]string{"disk": []string{"big", "small"}[b.random.IntN(2)]}
		b.store.put(host)
	}
	if leader {
		if err := b.arbiter.takeOver(log.IntoContext(t.Context(), logr.Discard())); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// besideRequest is that of a machine of the one owner, whose wishes stand in its spec.
func besideRequest(m *v1beta1.Beskar7Machine) ClaimRequest {
	req := request(m)
	req.Owner = "MachineDeployment/" + m.Labels["owner"]
	return req
}

func (b *bench) tell(format string, args ...any) {
	b.story = append(b.story, fmt.Sprintf(format, args...))
}

// arrive is a further machine that wants a host.
func (b *bench) arrive() {
	b.made++
	m := newMachine(fmt.Sprint("m", b.made))
	m.CreationTimestamp = metav1.NewTime(b.clock.Now())
	m.Labels = map[string]string{"owner": fmt.Sprint("md", b.random.IntN(2))}
	m.Spec.Spread = []v1beta1.SpreadMode{"", "", v1beta1.SpreadHard}[b.random.IntN(3)]
	m.Spec.Reuse = []v1beta1.ReuseMode{"", "", v1beta1.ReuseRequire}[b.random.IntN(3)]
	if b.random.IntN(3) == 0 {
		m.Spec.HostSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"disk": "big"}}
	}
	b.tell("%s arrives: spread %q, reuse %q, selector %v", m.Name, m.Spec.Spread, m.Spec.Reuse, m.Spec.HostSelector != nil)
	b.add(m)
}

func (b *bench) add(m *v1beta1.Beskar7Machine) {
	b.store.put(m)
	if b.arbiter != nil {
		b.arbiter.MachineChanged(m)
	}
	b.queued = append(b.queued, m.Name)
}

// release ends the claim on a host, and with it its machine, perhaps because the host failed.
func (b *bench) release(name string) {
	host := b.store.hosts[name].DeepCopy()
	if host.Spec.Claim == nil {
		return
	}
	b.clock.Step(assumeTime) // a release takes longer than a cache lags
	if m := b.store.machines[host.Spec.Claim.Machine]; m != nil {
		b.store.drop(m)
		b.optimistic.Forget(keyOf(m))
		if b.arbiter != nil {
			b.arbiter.MachineDeleted(keyOf(m))
		}
	}
	failed := b.random.IntN(3) == 0
	b.tell("%s is given back by %s, failed %v", name, host.Spec.Claim.Machine, failed)
	host.Spec.LastTenant = &v1beta1.Tenant{Machine: host.Spec.Claim.Machine, Cluster: host.Spec.Claim.Cluster, Owner: host.Spec.Claim.Owner}
	if failed {
		host.Status.HealthScore, host.Status.LastFailure = ptr.To[int32](10), ptr.To(metav1.NewTime(b.clock.Now()))
	}
	free(host)
	b.store.put(host)
}

// step does one thing that the seed chooses.
func (b *bench) step() {
	name := fmt.Sprint("h", b.random.IntN(5))
	switch n := b.random.IntN(10); {
	case n < 3:
		b.arrive()
	case n < 7:
		b.release(name)
	case n < 8:
		host := b.store.hosts[name].DeepCopy()
		host.Spec.Maintenance = !host.Spec.Maintenance
		b.tell("%s: maintenance %v", name, host.Spec.Maintenance)
		b.store.put(host)
	default:
		d := time.Duration(b.random.IntN(900)) * time.Second
		b.tell("%s pass", d)
		b.clock.Step(d)
	}
}

// show delivers the events of what was written since it was last called.
func (b *bench) show() {
	for _, host := range sorted(b.store.hosts) {
		before := b.shown[host.Name]
		if before != nil && before.ResourceVersion == host.ResourceVersion {
			continue
		}
		b.shown[host.Name] = host
		if b.arbiter != nil {
			b.arbiter.HostChanged(host)
			continue
		}
		for _, woken := range b.optimistic.HostChanged(before, host) {
			b.tell("%s wakes %s", host.Name, woken.Name)
			b.queued = append(b.queued, woken.Name)
		}
	}
}

// settle lets everybody look who was woken or whose time has come, until there is nobody.
func (b *bench) settle(t *testing.T) {
	ctx := log.IntoContext(t.Context(), logr.Discard())
	for range 1000 {
		b.show()
		if b.arbiter != nil {
			bind, _ := b.arbiter.next(ctx)
			if bind == nil {
				return
			}
			b.arbiter.write(ctx, bind)
			b.confirm(bind)
			continue
		}
		for name, at := range b.due {
			if !b.clock.Now().Before(at) {
				delete(b.due, name)
				b.queued = append(b.queued, name)
			}
		}
		if len(b.queued) == 0 {
			return
		}
		b.look(t, b.random.IntN(len(b.queued)))
	}
	t.Fatalf("they look for ever:\n%s", strings.Join(b.story[max(0, len(b.story)-40):], "\n"))
}

// confirm is the machine's half of a claim that the arbiter wrote.
func (b *bench) confirm(done *bind) {
	m := b.store.machines[done.ticket.key.Name].DeepCopy()
	m.Spec.HostRef = &v1beta1.HostRef{Name: done.host.Name, ClaimID: done.id}
	b.tell("%s has %s", m.Name, done.host.Name)
	b.store.put(m)
	b.arbiter.MachineChanged(m)
}

// look is one reconcile of a queued machine in optimistic mode.
func (b *bench) look(t *testing.T, at int) {
	name := b.queued[at]
	b.queued = append(b.queued[:at], b.queued[at+1:]...)
	m := b.store.machines[name]
	if m == nil || m.Spec.HostRef != nil {
		return
	}
	result, err := b.optimistic.Claim(t.Context(), besideRequest(m.DeepCopy()))
	if err != nil {
		t.Fatal(err)
	}
	b.tell("%s looks: %s %s, again in %s", name, result.Outcome, result.Diagnosis.Message(), result.RetryAfter)
	delete(b.due, name)
	if result.RetryAfter > 0 {
		b.due[name] = b.clock.Now().Add(result.RetryAfter)
	}
}

// waitsBeside is a machine that waits although a host fits it; "" if there is none.
func (b *bench) waitsBeside(t *testing.T) string {
	pool := hostselection.NewPool(namespace)
	for _, host := range b.store.hosts {
		pool.Set(host)
	}
	for _, m := range sorted(b.store.machines) {
		want, err := wanted(besideRequest(m), b.clock.Now())
		if err != nil {
			t.Fatal(err)
		}
		if found := pool.Rank(hostselection.Deterministic, want).Candidates; m.Spec.HostRef == nil && len(found) > 0 {
			return fmt.Sprintf("%s waits beside %s", m.Name, found[0].Name)
		}
	}
	return ""
}

// Whatever comes, goes, fails and cools off: when all who were woken have looked, nobody waits beside a free host that fits.
func TestNobodyWaitsBesideAHostThatFits(t *testing.T) {
	for mode, leader := range modes {
		t.Run(mode, func(t *testing.T) {
			claimed, cooled := 0, 0
			for seed := range uint64(schedules(t) / 4) {
				b := newBench(t, seed, leader)
				for range 40 {
					b.step()
					b.settle(t)
					if why := b.waitsBeside(t); why != "" {
						t.Fatalf("seed %d: %s\n%s", seed, why, strings.Join(b.story, "\n"))
					}
				}
				for _, host := range b.store.hosts {
					claimed += number(host.Spec.Claim != nil)
					cooled += number(host.Status.LastFailure != nil && meta.IsStatusConditionTrue(host.Status.Conditions, v1beta1.AvailableCondition))
				}
			}
			if claimed == 0 || cooled == 0 {
				t.Errorf("%d hosts were claimed in the end, and %d had failed", claimed, cooled)
			}
		})
	}
}

// The machine that a freed host wakes cannot take it, as its set has enough there: the next one has it, in both modes.
func TestAHostThatTheWokenMachineCannotTakeIsTheNextOnes(t *testing.T) {
	for mode, leader := range modes {
		t.Run(mode, func(t *testing.T) {
			held := func(name, domain string, claim v1beta1.Claim) *v1beta1.PhysicalHost {
				host := rack(newHost(name), domain)
				host.Spec.Claim = &claim
				return host
			}
			b := newBench(t, 0, leader,
				held("x", "a", v1beta1.Claim{ID: "0000000000000001", Machine: "peer", Cluster: "c", Owner: "MachineDeployment/md"}),
				held("y", "a", v1beta1.Claim{ID: "0000000000000002", Machine: "other", Cluster: "c"}),
				held("z", "b", v1beta1.Claim{ID: "0000000000000003", Machine: "another", Cluster: "c"}))
			first, second := newMachine("first"), newMachine("second")
			first.Labels, second.Labels = map[string]string{"owner": "md"}, map[string]string{"owner": "else"}
			first.Spec.Spread, first.Spec.Priority = v1beta1.SpreadHard, 1
			b.add(first)
			b.add(second)
			b.settle(t)
			y := b.store.hosts["y"].DeepCopy()
			free(y)
			b.store.put(y)
			b.settle(t)
			if claim := b.store.hosts["y"].Spec.Claim; claim == nil || claim.Machine != "second" {
				t.Fatalf("the claim on y: %+v\n%s", claim, strings.Join(b.story, "\n"))
			}
		})
	}
}
