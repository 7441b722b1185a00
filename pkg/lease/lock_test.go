package lease

import (
	"context"
	"errors"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/beskar7/beskar7/pkg/coordinator/bmcqueue"
)

// leaseStore is the Lease on the API server; a lock on it is one process's, and a write needs the version it read last.
type leaseStore struct {
	record  *resourcelock.LeaderElectionRecord
	version int
}

type memoryLock struct {
	resourcelock.Interface
	store    *leaseStore
	identity string
	version  int
}

var leases = schema.GroupResource{Resource: "leases"}

func (m *memoryLock) Identity() string { return m.identity }

func (m *memoryLock) Get(context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	if m.store.record == nil {
		return nil, nil, apierrors.NewNotFound(leases, DriverName)
	}
	m.version = m.store.version
	record := *m.store.record
	return &record, nil, nil
}

func (m *memoryLock) Create(_ context.Context, r resourcelock.LeaderElectionRecord) error {
	if m.store.record != nil {
		return apierrors.NewAlreadyExists(leases, DriverName)
	}
	return m.write(r)
}

func (m *memoryLock) Update(_ context.Context, r resourcelock.LeaderElectionRecord) error {
	if m.store.record == nil || m.version != m.store.version {
		return apierrors.NewConflict(leases, DriverName, errors.New("changed"))
	}
	return m.write(r)
}

func (m *memoryLock) write(r resourcelock.LeaderElectionRecord) error {
	m.store.version++
	m.store.record, m.version = &r, m.store.version
	return nil
}

// candidates are processes that want the same Lease.
type candidates struct {
	t     *testing.T
	store leaseStore
	clock *clocktesting.FakePassiveClock
}

func newCandidates(t *testing.T) *candidates {
	return &candidates{t: t, clock: clocktesting.NewFakePassiveClock(time.Now())}
}

func (c *candidates) process(name string) *Lock {
	return &Lock{Interface: &memoryLock{store: &c.store, identity: name}, clock: c.clock, validity: 10 * time.Second}
}

// look is what a candidate does that does not get the Lease.
func (c *candidates) look(l *Lock) {
	c.t.Helper()
	if _, _, err := l.Get(c.t.Context()); err != nil {
		c.t.Fatal(err)
	}
}

// take is what the leader election does to get it.
func (c *candidates) take(l *Lock) {
	c.t.Helper()
	record := c.record(l.Identity(), c.clock.Now())
	_, _, err := l.Get(c.t.Context())
	if apierrors.IsNotFound(err) {
		err = l.Create(c.t.Context(), record)
	} else if err == nil {
		err = l.Update(c.t.Context(), record)
	}
	if err != nil {
		c.t.Fatal(err)
	}
	if !l.Valid() || l.Fence().Holder != l.Identity() {
		c.t.Fatalf("%s took the lease and does not hold it", l.Identity())
	}
}

func (c *candidates) record(holder string, acquired time.Time) resourcelock.LeaderElectionRecord {
	return resourcelock.LeaderElectionRecord{HolderIdentity: holder, AcquireTime: metav1.NewTime(acquired), RenewTime: metav1.NewTime(c.clock.Now())}
}

func TestDriverLeaseIsValidForItsTimeOnly(t *testing.T) {
	c := newCandidates(t)
	a := c.process("a")
	if a.Valid() || a.Fence().Holder != "" {
		t.Fatal("valid before it was taken")
	}
	start := c.clock.Now()
	c.take(a)
	c.clock.SetTime(start.Add(9 * time.Second))
	if err := a.Update(t.Context(), c.record("a", start)); err != nil || !a.Valid() {
		t.Fatalf("renewed: valid %t, error %v", a.Valid(), err)
	}
	c.clock.SetTime(start.Add(18 * time.Second))
	if !a.Valid() {
		t.Error("not valid nine seconds after it was renewed")
	}
	c.clock.SetTime(start.Add(19 * time.Second))
	if a.Valid() || a.Fence().Holder != "" {
		t.Error("valid after its time")
	}
}

func TestDriverLeaseHandOver(t *testing.T) {
	c := newCandidates(t)
	a, b, d, e := c.process("a"), c.process("b"), c.process("d"), c.process("e")
	want := func(l *Lock, how bmcqueue.HandOver) {
		t.Helper()
		if got := l.HandOver(); got != how {
			t.Errorf("%s was handed over as %d, want %d", l.Identity(), got, how)
		}
	}
	c.take(a)
	want(a, bmcqueue.NobodyBefore)
	c.look(b)
	c.take(b) // it expired
	want(b, bmcqueue.Unclean)
	c.look(d)
	b.Settled()
	if err := b.Update(t.Context(), c.record("", c.clock.Now())); err != nil {
		t.Fatal(err)
	}
	if b.Valid() {
		t.Error("valid after it was let go")
	}
	c.take(d)
	want(d, bmcqueue.Clean)
	c.look(e)
	c.store.record = nil // a person deletes it under the one that drives
	c.take(e)
	want(e, bmcqueue.Unclean)
	if !d.Valid() {
		t.Error("nobody told the one that drives yet")
	}
	c.look(d) // its renewal failed, so it reads
	if d.Valid() {
		t.Error("valid although it was seen to be another's")
	}
}

// TestDriverLeaseIsLetGoWhenSettled: a Lease that was let go tells the next driver that nothing is on its way.
func TestDriverLeaseIsLetGoWhenSettled(t *testing.T) {
	c := newCandidates(t)
	a := c.process("a")
	a.Settled() // as of an earlier term
	start := c.clock.Now()
	c.take(a)
	for range 2 { // renewals do not count as taking it
		c.clock.SetTime(c.clock.Now().Add(time.Second))
		if err := a.Update(t.Context(), c.record("a", start)); err != nil {
			t.Fatal(err)
		}
	}
	free := c.record("", c.clock.Now())
	if err := a.Update(t.Context(), free); err == nil || c.store.record.HolderIdentity != "a" || a.Valid() {
		t.Fatalf("let go although not settled (error %v), holder %q, valid %t", err, c.store.record.HolderIdentity, a.Valid())
	}
	a.Settled()
	if err := a.Update(t.Context(), c.record("a", start)); err != nil {
		t.Fatal(err)
	}
	if err := a.Update(t.Context(), free); err != nil || c.store.record.HolderIdentity != "" {
		t.Fatalf("not let go: %v", err)
	}
}
