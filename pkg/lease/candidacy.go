package lease

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/utils/clock"

	"github.com/beskar7/beskar7/pkg/coordinator"
)

// ClaimName is the Lease of the claim arbiter. It is another one than the drivers', so that the arbiter may run on a replica
// that drives nothing.
const ClaimName = "beskar7-claim-coordinator"

// ClaimLock is the lock of the arbiter's election. Besides what Lock remembers it knows whether anybody holds the Lease.
type ClaimLock struct {
	*Lock

	// duration without a renewal after which a holder is given up.
	duration time.Duration
	// release runs before the Lease is let go: whoever takes it next must not meet claims that are still on their way.
	release func(ctx context.Context) error

	mu      sync.Mutex
	holder  string
	renewal time.Time
	// seen is when this process first saw that renewal: clocks of other machines are not compared.
	seen time.Time
}

// NewClaimLock makes the lock for the arbiter's election.
func NewClaimLock(config *rest.Config, namespace, identity string, duration, renewDeadline time.Duration, c clock.PassiveClock) (*ClaimLock, error) {
	lease, err := newLease(config, namespace, ClaimName, identity, renewDeadline, c)
	if err != nil {
		return nil, err
	}
	return &ClaimLock{Lock: lease, duration: duration, release: func(context.Context) error { return nil }}, nil
}

// Get notes who holds the Lease.
func (l *ClaimLock) Get(ctx context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	record, raw, err := l.Lock.Get(ctx)
	if err == nil {
		l.see(*record)
	}
	return record, raw, err
}

// Create takes a Lease that nobody ever had.
func (l *ClaimLock) Create(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	err := l.Lock.Create(ctx, record)
	if err == nil {
		l.see(record)
	}
	return err
}

// Update takes, renews or lets go of the Lease.
func (l *ClaimLock) Update(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	if record.HolderIdentity == "" {
		l.Settled() // nothing of an arbiter is ever on its way to a BMC
	}
	if record.HolderIdentity == "" {
		if err := l.release(ctx); err != nil {
			return fmt.Errorf("keep the Lease until it expires: %w", err)
		}
	}
	err := l.Lock.Update(ctx, record)
	if err == nil {
		l.see(record)
	}
	return err
}

func (l *ClaimLock) see(record resourcelock.LeaderElectionRecord) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if record.HolderIdentity != l.holder || !record.RenewTime.Time.Equal(l.renewal) {
		l.holder, l.renewal, l.seen = record.HolderIdentity, record.RenewTime.Time, l.clock.Now()
	}
}

// Alive says whether any process, this one or another, was seen to hold the Lease of late.
func (l *ClaimLock) Alive() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.holder != "" && l.clock.Since(l.seen) < l.duration
}

// Candidacy lets this replica stand for arbiter for as long as it lives. To lose the Lease is no reason to end: it stands again.
type Candidacy struct {
	Lease                                     *ClaimLock
	LeaseDuration, RenewDeadline, RetryPeriod time.Duration
	Arbiter                                   *coordinator.Arbiter
	// Ready waits for the caches from which the arbiter learns what machines wish for.
	Ready func(ctx context.Context) bool

	mu     sync.Mutex
	cancel context.CancelFunc
	ended  chan struct{}
}

// Run stands for arbiter until the context ends.
func (c *Candidacy) Run(ctx context.Context) error {
	if !c.Ready(ctx) {
		return nil
	}
	c.Lease.release = c.halt
	for ctx.Err() == nil {
		elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
			Lock: c.Lease, Name: ClaimName, ReleaseOnCancel: true,
			LeaseDuration: c.LeaseDuration, RenewDeadline: c.RenewDeadline, RetryPeriod: c.RetryPeriod,
			Callbacks: leaderelection.LeaderCallbacks{OnStartedLeading: c.lead, OnStoppedLeading: func() {}},
		})
		if err != nil {
			return fmt.Errorf("stand for claim arbiter: %w", err)
		}
		elector.Run(ctx)
		<-c.stop() // its context has ended with the election, but it may not have returned yet
	}
	return nil
}

// lead runs the arbiter while the Lease is held.
func (c *Candidacy) lead(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan struct{})
	defer close(ended)
	c.mu.Lock()
	c.cancel, c.ended = cancel, ended
	c.mu.Unlock()
	c.Arbiter.Run(ctx)
}

// stop ends the arbiter's work, if there is any, and tells when it has ended.
func (c *Candidacy) stop() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cancel == nil {
		ended := make(chan struct{})
		close(ended)
		return ended
	}
	c.cancel()
	return c.ended
}

func (c *Candidacy) halt(ctx context.Context) error {
	select {
	case <-c.stop():
		return nil
	case <-ctx.Done():
		return errors.New("claims are still being written")
	}
}
