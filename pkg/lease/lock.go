package lease

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/utils/clock"

	"github.com/beskar7/beskar7/pkg/coordinator"
	"github.com/beskar7/beskar7/pkg/coordinator/bmcqueue"
)

// +kubebuilder:rbac:groups=coordination.k8s.io,resources=leases,verbs=get;create;update,namespace=beskar7-system

// DriverName is the Lease under which one process drives all BMCs. It is the manager's own leader election: with
// --leader-elect=false it is taken all the same, as a rolling update overlaps two processes. One name for both, so that a
// change of the flag never makes two drivers.
const DriverName = "beskar7-bmc-driver"

// Lock wraps the lock of the leader election and remembers what it saw: when the Lease was last renewed, under which
// transition, and how the holder before had left it. It is the fence of the BMC gate.
type Lock struct {
	resourcelock.Interface

	clock clock.PassiveClock
	// validity is how long after a renewal began the Lease is certainly ours: shorter than the Lease lasts for others.
	validity time.Duration

	mu          sync.Mutex
	renewed     time.Time
	transitions int32
	seen        bool // the Lease existed when it was read before
	handOver    bmcqueue.HandOver
	settled     bool // see Settled
}

// errNotSettled keeps the Lease from being let go: whoever takes it next shall wait until it expires, and start quietly.
var errNotSettled = errors.New("the driver lease is not let go: something may still be on its way to a BMC")

// NewDriverLock makes the lock for the leader election. validity must be shorter than the lease duration.
func NewDriverLock(config *rest.Config, namespace, identity string, validity time.Duration, c clock.PassiveClock) (*Lock, error) {
	return newLease(config, namespace, DriverName, identity, validity, c)
}

func newLease(config *rest.Config, namespace, name, identity string, validity time.Duration, c clock.PassiveClock) (*Lock, error) {
	lock, err := resourcelock.NewFromKubeconfig(resourcelock.LeasesResourceLock, namespace, name,
		resourcelock.ResourceLockConfig{Identity: identity}, config, validity)
	if err != nil {
		return nil, fmt.Errorf("make the lock of Lease %s: %w", name, err)
	}
	return &Lock{Interface: lock, clock: c, validity: validity}, nil
}

// Get notes how the last holder left the Lease, and that it is another's now.
func (l *Lock) Get(ctx context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	record, raw, err := l.Interface.Get(ctx)
	if err != nil {
		return record, raw, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen = true
	if record.HolderIdentity != l.Identity() {
		// Perhaps a person deleted the Lease and another process was faster to make it anew: ours ends now, not with validity.
		l.renewed, l.handOver = time.Time{}, bmcqueue.Unclean
		if record.HolderIdentity == "" {
			l.handOver = bmcqueue.Clean
		}
	}
	return record, raw, nil
}

// Create takes a Lease that does not exist: nobody had it yet, or somebody did just now and it was deleted.
func (l *Lock) Create(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	began := l.clock.Now()
	err := l.Interface.Create(ctx, record)
	if err == nil {
		l.mu.Lock()
		if l.handOver = bmcqueue.NobodyBefore; l.seen {
			l.handOver = bmcqueue.Unclean
		}
		l.mu.Unlock()
	}
	l.note(record, began, err)
	return err
}

// Update takes, renews or lets go of the Lease; the last only after Settled.
func (l *Lock) Update(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	began := l.clock.Now()
	if record.HolderIdentity == "" && !l.letsGo() {
		return errNotSettled
	}
	err := l.Interface.Update(ctx, record)
	l.note(record, began, err)
	return err
}

// note counts validity from before the request: the API server stamped the renewal no earlier.
func (l *Lock) note(record resourcelock.LeaderElectionRecord, began time.Time, err error) {
	if err != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if record.HolderIdentity != l.Identity() {
		l.renewed = time.Time{}
		return
	}
	if record.AcquireTime.Equal(&record.RenewTime) {
		l.settled = false // taken, not renewed
	}
	l.renewed, l.transitions = began, int32(record.LeaderTransitions)
}

// Valid is true while the Lease is certainly ours.
func (l *Lock) Valid() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.renewed.IsZero() && l.clock.Since(l.renewed) < l.validity
}

// Fence names the Lease for claims.
func (l *Lock) Fence() coordinator.Fence {
	if !l.Valid() {
		return coordinator.Fence{}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return coordinator.Fence{Holder: l.Identity(), Transitions: l.transitions}
}

// HandOver says how the holder before left the Lease. If it let go, nothing of it is on its way to a BMC any more.
func (l *Lock) HandOver() bmcqueue.HandOver {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.handOver
}

// Settled allows that the Lease is let go: nothing of this process, nor of an unclean end before it, can be on its way to a BMC.
func (l *Lock) Settled() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.settled = true
}

// letsGo says whether the Lease may be let go. From the moment that it is to be, it is not ours any more.
func (l *Lock) letsGo() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.renewed = time.Time{}
	return l.settled
}
