package actuator

import (
	"context"
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

	mu      sync.Mutex
	brief   Brief
	forgets int
	fence   bool
}

func (r *rig) BMC(redfish.Target) (redfish.BMC, error) { return r.bmc, nil }
func (r *rig) Valid() bool                             { r.mu.Lock(); defer r.mu.Unlock(); return r.fence }

func (r *rig) Forget(string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forgets++
}

// newRig starts a gate in the test's bubble; it ends with the test's context.
func newRig(ctx context.Context, bmc *redfishfake.BMC, brief Brief) *rig {
	r := &rig{bmc: bmc, brief: brief, wake: make(chan struct{}, 1), fence: true}
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
	return redfish.Target{Address: "https://192.0.2.1", Username: "u", Password: "p"}
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
			Shutdown: 30 * time.Second, Settle: 30 * time.Second, Brief: func(context.Context) (Brief, error) { return r.facts(), nil }})
	case d.Action == provision.MintGrant:
		token, err := bootmedia.NewToken()
		if err != nil {
			t.Fatal(err)
		}
		r.change(func(b *Brief) {
			b.Hash, b.Facts.Content = token.Hash(), provision.ContentReady
			b.URLs = map[bootmedia.Medium]string{bootmedia.Boot: bootmedia.BootURL("https://m", token), bootmedia.Config: bootmedia.ConfigURL("https://m", token)}
		})
	case d.Action == provision.MarkBound:
		r.change(func(b *Brief) { b.Facts.Bound = true })
	case d.Action == provision.ClearClaim:
		r.change(func(b *Brief) {
			b.Facts.Claim, b.Facts.Bound, b.ClaimID, b.Hash, b.URLs = provision.ClaimNone, false, "", "", nil
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
