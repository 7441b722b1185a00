package lease

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/cli"
	"github.com/beskar7/beskar7/pkg/coordinator"
	"github.com/beskar7/beskar7/pkg/hostselection"
)

// record is a Lease in memory that any number of locks share.
type record struct {
	mu      sync.Mutex
	version int
	held    *resourcelock.LeaderElectionRecord
}

// lock is one process's view of the Lease; down is an API server that it cannot reach.
type lock struct {
	*record
	identity string
	seen     int
	down     bool
}

var errDown = errors.New("the API server does not answer")

func (l *lock) Get(context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		return nil, nil, errDown
	}
	if l.held == nil {
		return nil, nil, apierrors.NewNotFound(schema.GroupResource{Resource: "leases"}, ClaimName)
	}
	l.seen = l.version
	copied := *l.held
	raw, err := json.Marshal(copied)
	return &copied, raw, err
}

func (l *lock) Create(_ context.Context, r resourcelock.LeaderElectionRecord) error {
	return l.put(r, 0)
}

func (l *lock) Update(_ context.Context, r resourcelock.LeaderElectionRecord) error {
	return l.put(r, l.seen)
}

func (l *lock) put(r resourcelock.LeaderElectionRecord, over int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		return errDown
	}
	if over != l.version {
		return apierrors.NewConflict(schema.GroupResource{Resource: "leases"}, ClaimName, errors.New("changed"))
	}
	l.version++
	l.held, l.seen = &r, l.version
	return nil
}

func (l *lock) cut(down bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = down
}

func (*lock) RecordEvent(string) {}
func (l *lock) Identity() string { return l.identity }
func (*lock) Describe() string   { return ClaimName }
func (r *record) holder() string { r.mu.Lock(); defer r.mu.Unlock(); return r.held.HolderIdentity }
func (r *record) terms() (n int) { r.mu.Lock(); defer r.mu.Unlock(); return r.held.LeaderTransitions }

// progress is what the arbiters of a test do.
type progress struct {
	mu      sync.Mutex
	leading map[string]bool
	elected int
}

type progressOf struct {
	*progress
	name string
}

func (p progressOf) ArbiterElected() { p.mu.Lock(); defer p.mu.Unlock(); p.elected++ }
func (p progressOf) ArbiterLeads(yes bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.leading[p.name] = yes
}
func (progressOf) ArbiterQueue(int)               {}
func (progressOf) ArbiterProcessed(time.Duration) {}

// leaders are those that believe that they are the arbiter.
func (p *progress) leaders() (names []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, leads := range p.leading {
		if leads {
			names = append(names, name)
		}
	}
	return names
}

// stand makes a candidate whose arbiter knows an API server.
func stand(api client.Client, l *lock, p *progress) *Candidacy {
	lease := &ClaimLock{Lock: &Lock{Interface: l, clock: clock.RealClock{}, validity: 10 * time.Second}, duration: 15 * time.Second,
		release: func(context.Context) error { return nil }}
	arbiter := coordinator.NewArbiter(coordinator.ArbiterOptions{
		Options: coordinator.Options{Client: api, Reader: api, Fence: lease.Fence, Random: rand.Reader,
			Settings: func() coordinator.Settings { return coordinator.Settings{Algorithm: hostselection.Deterministic} }},
		Clock: clock.RealClock{}, Progress: progressOf{p, l.identity}, Wish: func(context.Context, *v1beta1.Beskar7Machine) (coordinator.ClaimRequest, bool) {
			return coordinator.ClaimRequest{}, false
		},
	})
	return &Candidacy{Lease: lease, LeaseDuration: 15 * time.Second, RenewDeadline: 10 * time.Second, RetryPeriod: 2 * time.Second,
		Arbiter: arbiter, Ready: func(context.Context) bool { return true }}
}

// One arbiter at a time: it is followed at once when it ends, after the Lease has expired when it is cut off, and then it claims
// nothing any more and stands again.
func TestOneArbiterAtATime(t *testing.T) {
	api := fake.NewClientBuilder().WithScheme(cli.Scheme()).Build()
	synctest.Test(t, func(t *testing.T) {
		lease, p := &record{}, &progress{leading: map[string]bool{}}
		locks := map[string]*lock{"a": {record: lease, identity: "a"}, "b": {record: lease, identity: "b"}}
		candidates, ends := map[string]*Candidacy{}, map[string]context.CancelFunc{}
		for name, l := range locks {
			ctx, cancel := context.WithCancel(t.Context())
			candidates[name], ends[name] = stand(api, l, p), cancel
			go func() { _ = candidates[name].Run(ctx) }()
		}
		defer func() { ends["a"](); ends["b"](); synctest.Wait() }()
		after := func(d time.Duration) { <-time.After(d); synctest.Wait() }
		after(5 * time.Second)
		first := lease.holder()
		other := map[string]string{"a": "b", "b": "a"}[first]
		if got := p.leaders(); len(got) != 1 || got[0] != first || !candidates[first].Lease.Alive() || !candidates[other].Lease.Alive() {
			t.Fatalf("leaders %v, the Lease is %s's", got, first)
		}
		if f := candidates[first].Lease.Fence(); f.Holder != first || int(f.Transitions) != lease.terms() || candidates[other].Lease.Fence().Holder != "" {
			t.Fatalf("fences %+v and %+v", f, candidates[other].Lease.Fence())
		}
		locks[first].cut(true)
		after(11 * time.Second)
		if f := candidates[first].Lease.Fence(); f.Holder != "" {
			t.Fatalf("cut off for 11 s it would still claim as %+v", f)
		}
		after(15 * time.Second)
		if got := p.leaders(); len(got) != 1 || got[0] != other || lease.holder() != other || lease.terms() != 1 {
			t.Fatalf("leaders %v, the Lease is %s's, term %d", got, lease.holder(), lease.terms())
		}
		if candidates[first].Lease.Alive() {
			t.Fatal("a process that sees nothing of the Lease says that there is an arbiter")
		}
		locks[first].cut(false)
		after(5 * time.Second)
		ends[other]()
		after(5 * time.Second) // a retry period and its jitter, which is up to 1.2 times as long
		if got := p.leaders(); len(got) != 1 || got[0] != first || p.elected != 3 {
			t.Fatalf("leaders %v, elected %d times: the Lease was let go, and nobody took it", got, p.elected)
		}
	})
}

// The Lease is kept until it expires while claims are still on their way.
func TestTheLeaseIsNotLetGoBeforeTheArbiterEnded(t *testing.T) {
	l := &lock{record: &record{}, identity: "a"}
	busy := errors.New("claims are still being written")
	lease := &ClaimLock{Lock: &Lock{Interface: l, clock: clock.RealClock{}, validity: time.Second}, duration: time.Second,
		release: func(context.Context) error { return busy }}
	if err := lease.Create(t.Context(), resourcelock.LeaderElectionRecord{HolderIdentity: "a", RenewTime: metav1.Now()}); err != nil {
		t.Fatal(err)
	}
	if err := lease.Update(t.Context(), resourcelock.LeaderElectionRecord{}); !errors.Is(err, busy) || l.holder() != "a" {
		t.Fatalf("error %v, holder %q", err, l.holder())
	}
}
