package actuator

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/utils/clock"

	"github.com/beskar7/beskar7/pkg/bootmedia"
	"github.com/beskar7/beskar7/pkg/coordinator/bmcqueue"
	"github.com/beskar7/beskar7/pkg/provision"
	"github.com/beskar7/beskar7/pkg/redfish"
	"github.com/beskar7/beskar7/pkg/redfish/redfishfake"
)

const (
	hostName = "ns/h"
	claimID  = "0123456789abcdef"
)

// rig is a host controller in twenty lines, around the real gate, the real decisions and an in-memory BMC.
type rig struct {
	bmc   *redfishfake.BMC
	gate  *bmcqueue.Queue
	hands *Actuator
	wake  chan struct{}

	// address of the host, and what answers there instead of bmc.
	address string
	taps    map[string]redfish.BMC
	// shutdown is the time a system has to shut down.
	shutdown time.Duration
	// rest is what the BMC is said to want after a change.
	rest Rest
	// inputs of the orders.
	inputs string
	// learned is what an earlier process left.
	learned redfish.Learned

	mu      sync.Mutex
	brief   Brief
	forgets int
	fence   bool
}

func (r *rig) BMC(t redfish.Target) (redfish.BMC, error) {
	if b := r.taps[t.Address]; b != nil {
		return b, nil
	}
	return r.bmc, nil
}

// tap is a BMC whose changing requests can be watched, and whose answers can get lost after they took effect.
type tap struct {
	*redfishfake.BMC
	// refuse is asked before a change, lose after it; nil lets it be.
	refuse, lose func(change string) error

	mu      sync.Mutex
	changes []string
}

func (b *tap) change(what string, do func() error) error {
	b.mu.Lock()
	b.changes = append(b.changes, what)
	b.mu.Unlock()
	if b.refuse != nil {
		if err := b.refuse(what); err != nil {
			return err
		}
	}
	if err := do(); err != nil || b.lose == nil {
		return err
	}
	return b.lose(what)
}

func (b *tap) Reset(ctx context.Context, t redfish.ResetType) error {
	return b.change(string(t), func() error { return b.BMC.Reset(ctx, t) })
}

func (b *tap) SetBootOnce(ctx context.Context, d redfish.BootDevice) error {
	return b.change("Arm", func() error { return b.BMC.SetBootOnce(ctx, d) })
}

func (b *tap) ClearBoot(ctx context.Context) error {
	return b.change("Disarm", func() error { return b.BMC.ClearBoot(ctx) })
}

func (b *tap) Insert(ctx context.Context, slot, url string) error {
	return b.change("Insert "+slot, func() error { return b.BMC.Insert(ctx, slot, url) })
}

func (b *tap) Eject(ctx context.Context, slot string) error {
	return b.change("Eject "+slot, func() error { return b.BMC.Eject(ctx, slot) })
}

// asked are the changes that were asked for, in order.
func (b *tap) asked() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.changes)
}

// answer is a refusal or failure of a BMC.
func answer(kind redfish.Kind, status int) error {
	return &redfish.Error{Kind: kind, Op: "change", Message: "no", Status: status}
}

// newTapped is a rig around a tap.
func newTapped(ctx context.Context, b *tap, brief Brief) *rig {
	r := newRig(ctx, b.BMC, brief)
	r.taps = map[string]redfish.BMC{r.address: b}
	return r
}

func (r *rig) Valid() bool { r.mu.Lock(); defer r.mu.Unlock(); return r.fence }

func (*rig) Release(redfish.Target) bool          { return false }
func (*rig) LogOut(context.Context, string) error { return nil }
func (r *rig) Forget(redfish.Target) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forgets++
}

// newRig starts a gate in the test's bubble; it ends with the test's context.
func newRig(ctx context.Context, bmc *redfishfake.BMC, brief Brief) *rig {
	r := &rig{address: "https://192.0.2.1", shutdown: 30 * time.Second, bmc: bmc, brief: brief, wake: make(chan struct{}, 1), fence: true}
	look := func(string) {
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
	r.gate = bmcqueue.New(bmcqueue.Options{Fence: r, Done: look, Settings: bmcqueue.Settings{MaxConcurrentOps: 2, WorkerCount: 2, MaxQueueSize: 10,
		OperationTimeout: time.Minute, Cooldown: 5 * time.Second, RetryAttempts: 3, ExponentialBackoff: true, MaxRetryDelay: time.Minute}})
	r.hands = New(Options{Gate: r.gate, Driver: r, Clock: clock.RealClock{}, Changed: look})
	go func() { _ = r.gate.Run(ctx) }()
	return r
}

func (r *rig) target() redfish.Target {
	return redfish.Target{Address: r.address, Username: "u", Password: "p", Learned: r.learned}
}

func (r *rig) facts() Brief {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.brief
}

func (r *rig) change(f func(*Brief)) {
	r.mu.Lock()
	f(&r.brief)
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// reconcile is one pass: track, decide, act.
func (r *rig) reconcile(t *testing.T) provision.Decision {
	t.Helper()
	if err := r.hands.Track(Tracking{Host: hostName, Namespace: "ns", Target: r.target(), Interval: func() time.Duration { return time.Minute }}); err != nil {
		t.Fatal(err)
	}
	seen, _ := r.hands.Observed(hostName)
	d := provision.Decide(Complete(r.facts(), seen))
	switch {
	case d.Action.Hardware():
		class := bmcqueue.ClassProvision
		if r.facts().Facts.Claim == provision.ClaimReleasing {
			class = bmcqueue.ClassRelease
		}
		r.hands.Submit(Order{Host: hostName, Namespace: "ns", Action: d.Action, Class: class, ClaimID: r.facts().ClaimID,
			Inputs: r.inputs, Shutdown: r.shutdown, Settle: 30 * time.Second, Rest: r.rest, Brief: func(context.Context) (Brief, error) { return r.facts(), nil }})
	case d.Action == provision.MintGrant:
		token, err := bootmedia.NewToken()
		if err != nil {
			t.Fatal(err)
		}
		r.change(func(b *Brief) {
			b.Hash, b.Facts.Content, b.Facts.Granted, b.Facts.DataOpen = token.Hash(), provision.ContentReady, true, true
			b.URLs = map[bootmedia.Medium]string{bootmedia.Boot: bootmedia.BootURL("https://m", token), bootmedia.Config: bootmedia.ConfigURL("https://m", token), bootmedia.Composed: bootmedia.ComposedURL("https://m", token)}
		})
	case d.Action == provision.MarkBound:
		r.change(func(b *Brief) { b.Facts.Bound = true })
	case d.Action == provision.ClearClaim:
		r.change(func(b *Brief) {
			b.Facts.Claim, b.Facts.Bound, b.Facts.Granted, b.ClaimID, b.Hash, b.URLs = provision.ClaimNone, false, false, "", "", nil
		})
	default:
		r.hands.Withdraw(hostName)
	}
	return d
}

// until reconciles at every wake until done, in virtual time; the BMC's transitions take their steps meanwhile.
func (r *rig) until(t *testing.T, limit time.Duration, done func(provision.Decision) bool) {
	t.Helper()
	end := time.Now().Add(limit)
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for d := r.reconcile(t); !done(d); d = r.reconcile(t) {
		select {
		case <-r.wake:
		case <-tick.C:
			r.bmc.Step()
		}
		if time.Now().After(end) {
			seen, _ := r.hands.Observed(hostName)
			t.Fatalf("not there after %s: %+v, failure %+v, gate %+v", limit, d, seen.Failure, r.gate.Status(hostName))
		}
	}
	synctest.Wait()
}

func held() Brief {
	return Brief{ClaimID: claimID, Family: bootmedia.FamilyGeneric, Facts: provision.Facts{Claim: provision.ClaimHeld, KeepOn: true, Content: provision.ContentNoToken, Report: provision.ReportNone}}
}

func state(s provision.State) func(provision.Decision) bool {
	return func(d provision.Decision) bool { return d.State == s && d.Action == provision.None }
}

// bubble runs a test in virtual time with a context that ends before the bubble must be empty.
func bubble(t *testing.T, f func(ctx context.Context)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		f(ctx)
		cancel()
		synctest.Wait()
	})
}
