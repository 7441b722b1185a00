package controllers

import (
	"context"
	"fmt"
	"sync"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/utils/clock"

	"github.com/beskar7/beskar7/pkg/coordinator"
)

// +kubebuilder:rbac:groups=coordination.k8s.io,resources=leases,verbs=get;create;update,namespace=beskar7-system

// DriverLeaseName is the Lease under which one process drives all BMCs. It is the manager's own leader election: with
// --leader-elect=false it is taken all the same, as a rolling update overlaps two processes. One name for both, so that a
// change of the flag never makes two drivers.
const DriverLeaseName = "beskar7-bmc-driver"

// DriverLease wraps the lock of the leader election and remembers what it saw: when the Lease was last renewed, under which
// transition, and whether the holder before had let it go. It is the fence of the BMC gate.
type DriverLease struct {
	resourcelock.Interface

	clock clock.PassiveClock
	// validity is how long after a renewal began the Lease is surely ours: shorter than the Lease lasts for others.
	validity time.Duration

	mu          sync.Mutex
	renewed     time.Time
	transitions int32
	released    bool
}

// NewDriverLease makes the lock for the leader election. validity must be shorter than the lease duration.
func NewDriverLease(config *rest.Config, namespace, identity string, validity time.Duration, c clock.PassiveClock) (*DriverLease, error) {
	return newLease(config, namespace, DriverLeaseName, identity, validity, c)
}

func newLease(config *rest.Config, namespace, name, identity string, validity time.Duration, c clock.PassiveClock) (*DriverLease, error) {
	lock, err := resourcelock.NewFromKubeconfig(resourcelock.LeasesResourceLock, namespace, name,
		resourcelock.ResourceLockConfig{Identity: identity}, config, validity)
	if err != nil {
		return nil, fmt.Errorf("make the lock of Lease %s: %w", name, err)
	}
	return &DriverLease{Interface: lock, clock: c, validity: validity}, nil
}

// Get notes whether the Lease was let go by its last holder.
func (l *DriverLease) Get(ctx context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	record, raw, err := l.Interface.Get(ctx)
	if err == nil && record.HolderIdentity != l.Identity() {
		l.mu.Lock()
		l.released = record.HolderIdentity == ""
		l.mu.Unlock()
	}
	return record, raw, err
}

// Create takes a Lease that nobody ever had.
func (l *DriverLease) Create(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	began := l.clock.Now()
	err := l.Interface.Create(ctx, record)
	if err == nil {
		l.mu.Lock()
		l.released = true // nobody drove before
		l.mu.Unlock()
	}
	l.note(record, began, err)
	return err
}

// Update takes, renews or lets go of the Lease.
func (l *DriverLease) Update(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	began := l.clock.Now()
	err := l.Interface.Update(ctx, record)
	l.note(record, began, err)
	return err
}

// note counts validity from before the request: the API server stamped the renewal no earlier.
func (l *DriverLease) note(record resourcelock.LeaderElectionRecord, began time.Time, err error) {
	if err != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if record.HolderIdentity != l.Identity() {
		l.renewed = time.Time{}
		return
	}
	l.renewed, l.transitions = began, int32(record.LeaderTransitions)
}

// Valid is true while the Lease is surely ours.
func (l *DriverLease) Valid() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.renewed.IsZero() && l.clock.Since(l.renewed) < l.validity
}

// Fence names the Lease for claims.
func (l *DriverLease) Fence() coordinator.Fence {
	if !l.Valid() {
		return coordinator.Fence{}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return coordinator.Fence{Holder: l.Identity(), Transitions: l.transitions}
}

// CleanHandOver says whether the holder before had let the Lease go, or there was none: then nothing of it can still be on
// its way to a BMC, and no quiet time is needed.
func (l *DriverLease) CleanHandOver() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.released
}
