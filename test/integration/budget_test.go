package integration

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	"github.com/beskar7/beskar7/pkg/actuator"
	"github.com/beskar7/beskar7/pkg/bootmedia"
	"github.com/beskar7/beskar7/pkg/coordinator/bmcqueue"
	"github.com/beskar7/beskar7/pkg/provision"
	"github.com/beskar7/beskar7/pkg/redfish"
	"github.com/beskar7/beskar7/test/emulator"
)

// The request budget: what one host may cost its BMC, counted by the BMC. Reads before a change and read-backs after it count.
const (
	budgetProvision = 12 // off and enrolled, from the first hardware operation until power On was read
	budgetRelease   = 10 // running, until it was proven off, empty and disarmed
	// The same with a boot medium and a config drive: each is a change of its own, with its reads.
	budgetProvisionTwo = 15
	budgetReleaseTwo   = 12
	budgetIdle         = 10 // ten minutes of nothing
)

const budgetHost = "ns/h"

// usualCooldown is a bit more than the default of provisioning.bmcCooldownPeriod: an operation takes a moment itself.
const usualCooldown = 12 * time.Second

// hostLoop is the host controller without an API server: real decisions, real gate, real driver.
type hostLoop struct {
	t        *testing.T
	bmc      *emulator.BMC
	target   redfish.Target
	gate     *bmcqueue.Queue
	hands    *actuator.Actuator
	interval time.Duration
	media    string
	rest     actuator.Rest
	wake     chan struct{}
	// clock of the actuator stands still within a step, so that nothing depends on how fast this machine is.
	clock *clocktesting.FakePassiveClock

	mu    sync.Mutex
	brief actuator.Brief
}

func newHostLoop(t *testing.T, fleet *emulator.Fleet, bmc *emulator.BMC, interval time.Duration) *hostLoop {
	t.Helper()
	l := &hostLoop{t: t, bmc: bmc, target: target(fleet, bmc), interval: interval, media: serveAnyISO(t), wake: make(chan struct{}, 1), clock: clocktesting.NewFakePassiveClock(time.Now())}
	l.brief = actuator.Brief{Family: bootmedia.FamilyNone, Facts: provision.Facts{Claim: provision.ClaimNone, Report: provision.ReportNone}}
	look := func(string) {
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
	l.gate = bmcqueue.New(bmcqueue.Options{Done: look, Settings: bmcqueue.Settings{MaxConcurrentOps: 2, WorkerCount: 2, MaxQueueSize: 10,
		OperationTimeout: 5 * time.Minute, Cooldown: time.Second, RetryAttempts: 3, ExponentialBackoff: true, MaxRetryDelay: 5 * time.Second}})
	pool := redfish.NewPool(redfish.Options{})
	l.target.Timeouts = redfish.Timeouts{Connection: time.Minute, Request: time.Minute}
	l.hands = actuator.New(actuator.Options{Gate: l.gate, Driver: pool, Clock: l.clock, Changed: look})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- l.gate.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-ended
		closing, done := context.WithTimeout(context.Background(), 10*time.Second)
		defer done()
		if err := pool.Close(closing); err != nil {
			t.Error(err)
		}
	})
	return l
}

// serveAnyISO serves the least that firmware takes for a bootable image at every path.
func serveAnyISO(t *testing.T) string {
	t.Helper()
	image := make([]byte, 40<<10)
	copy(image[16*2048:], "\x01CD001")
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "boot.iso", time.Time{}, bytes.NewReader(image))
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

func (l *hostLoop) change(f func(*actuator.Brief)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f(&l.brief)
}

func (l *hostLoop) facts() actuator.Brief {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.brief
}

// reconcile is one pass: track, decide, act.
func (l *hostLoop) reconcile() provision.Decision {
	l.t.Helper()
	if err := l.hands.Track(actuator.Tracking{Host: budgetHost, Namespace: "ns", Target: l.target, Interval: func() time.Duration { return l.interval }}); err != nil {
		l.t.Fatal(err)
	}
	seen, _ := l.hands.Observed(budgetHost)
	b := l.facts()
	d := provision.Decide(actuator.Complete(b, seen))
	switch {
	case d.Action.Hardware():
		class := bmcqueue.ClassProvision
		if b.Facts.Claim == provision.ClaimReleasing {
			class = bmcqueue.ClassRelease
		}
		l.hands.Submit(actuator.Order{Host: budgetHost, Namespace: "ns", Action: d.Action, Class: class, ClaimID: b.ClaimID, Shutdown: time.Minute, Settle: time.Minute, Rest: l.rest,
			Brief: func(context.Context) (actuator.Brief, error) { return l.facts(), nil }})
	case d.Action == provision.MintGrant:
		token, err := bootmedia.NewToken()
		if err != nil {
			l.t.Fatal(err)
		}
		l.change(func(b *actuator.Brief) {
			b.Hash, b.Facts.Content, b.Facts.Granted = token.Hash(), provision.ContentReady, true
			b.URLs = map[bootmedia.Medium]string{bootmedia.Boot: bootmedia.BootURL(l.media, token), bootmedia.Config: bootmedia.ConfigURL(l.media, token)}
		})
		return l.reconcile() // as the write of the API would wake it
	case d.Action == provision.ClearClaim:
		l.change(func(b *actuator.Brief) {
			b.Facts.Claim, b.Facts.Bound, b.Facts.Granted, b.ClaimID, b.Hash, b.URLs = provision.ClaimNone, false, false, "", "", nil
		})
		return l.reconcile() // as the write of the API would wake it
	default:
		l.hands.Withdraw(budgetHost)
	}
	return d
}

func (l *hostLoop) until(state provision.State) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), 2*time.Minute)
	defer cancel()
	for d := l.reconcile(); d.State != state || d.Action != provision.None; d = l.reconcile() {
		select {
		case <-l.wake:
		case <-ctx.Done():
			seen, _ := l.hands.Observed(budgetHost)
			l.t.Fatalf("not %s: %+v, failure %+v, gate %+v", state, d, seen.Failure, l.gate.Status(budgetHost))
		}
	}
}

// cost counts the requests of a step at the BMC, and checks that they shared one connection as far as they can.
func (l *hostLoop) cost(name string, budget int, step func()) {
	l.t.Helper()
	l.clock.SetTime(l.clock.Now().Add(24 * time.Hour)) // what was read before is old
	before := l.bmc.Requests()
	step()
	after := l.bmc.Requests()
	n := after.Total - before.Total
	l.t.Logf("%s: %d requests of %d, on %d new connections: %s", name, n, budget, after.Connections-before.Connections, difference(before, after))
	if n > budget {
		l.t.Errorf("%s: %d requests, the budget is %d", name, n, budget)
	}
	if opened := after.Connections - before.Connections; opened > 1 {
		l.t.Errorf("%s: %d connections opened for %d requests", name, opened, n)
	}
	if after.MaxInFlight > 1 {
		l.t.Errorf("%d requests at once", after.MaxInFlight)
	}
}

func difference(before, after emulator.RequestCount) string {
	out := ""
	for _, path := range slices.Sorted(maps.Keys(after.ByPath)) {
		if n := after.ByPath[path] - before.ByPath[path]; n > 0 {
			out += fmt.Sprintf(" %d×%s", n, path)
		}
	}
	return out
}

// settledPower answers a reading of the system only once power has settled where the last reset leads: how often a change of
// power is looked for depends on how long it takes, which is the server's and not the driver's.
// next says where the coming reset leads. Every change lets a cooldown pass on the clock of the actuator: how old a reading may be
// is part of what is counted.
func settledPower(b *emulator.BMC, clock *clocktesting.FakePassiveClock) (next func(emulator.PowerState)) {
	var reset atomic.Bool
	var want atomic.Value
	b.SetIntercept(func(_ http.ResponseWriter, r *http.Request) bool {
		if (r.Method == http.MethodPost || r.Method == http.MethodPatch) && !strings.Contains(r.URL.Path, "/SessionService/") {
			clock.SetTime(clock.Now().Add(usualCooldown))
		}
		switch {
		case r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/Actions/ComputerSystem.Reset"):
			reset.Store(true)
		case r.Method == http.MethodGet && reset.Load():
			_ = b.WaitFor(r.Context(), func(s emulator.State) bool { return s.Power == want.Load() })
		}
		return false
	})
	return func(p emulator.PowerState) {
		reset.Store(false)
		want.Store(p)
	}
}

// TestRequestBudget drives one host through enrolment, a boot and its release, on the generic persona, which has two slots to be
// read: with one medium, and with the two of a family that wants its data in a slot of its own. The numbers are for one look at
// each change of power (a server that takes longer is looked at again after 2, 4, then every 5 seconds), and for steps that follow
// each other with the default cooldown of ten seconds; with longer ones the slots are read again before the last step: two
// requests more. Polls are kept out: what they cost is in TestIdleBudget. The cooldown is a second
// here; that connections outlive any is in TestConnectionsOutliveTheCooldown of the driver.
func TestRequestBudget(t *testing.T) {
	for name, c := range map[string]struct {
		family             bootmedia.Family
		graceful           bool
		provision, release int
	}{
		"one medium":                   {bootmedia.FamilyNone, false, budgetProvision, budgetRelease},
		"one medium, graceful release": {bootmedia.FamilyNone, true, budgetProvision, budgetRelease},
		"two media":                    {bootmedia.FamilyGeneric, false, budgetProvisionTwo, budgetReleaseTwo},
		"two media, graceful release":  {bootmedia.FamilyGeneric, true, budgetProvisionTwo, budgetReleaseTwo},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fleet := newFleet(t)
			b, err := fleet.Add(emulator.Spec{Name: "budget"})
			if err != nil {
				t.Fatal(err)
			}
			world := &emulated{t: t, bmc: b}
			b.SetGuest(world)
			l := newHostLoop(t, fleet, b, time.Hour)
			next := settledPower(b, l.clock)
			next(emulator.On)
			l.change(func(b *actuator.Brief) { b.Family = c.family })
			l.until(provision.Available)
			l.change(func(b *actuator.Brief) {
				b.ClaimID, b.Facts.Claim, b.Facts.Content, b.Facts.KeepOn = "0123456789abcdef", provision.ClaimHeld, provision.ContentNoToken, true
			})
			l.cost("provision", c.provision, func() { l.until(provision.Booting) })
			world.SetOSUp(true)
			next(emulator.Off)
			l.change(func(b *actuator.Brief) { b.Facts.Claim, b.Facts.Bound = provision.ClaimReleasing, c.graceful })
			l.cost("release", c.release, func() { l.until(provision.Available) })
			if s := b.State(); s.Power != emulator.Off || s.Sessions != 1 || slices.ContainsFunc(s.Slots, func(s emulator.SlotState) bool { return s.Inserted }) {
				t.Errorf("released as power %s, with %d sessions", s.Power, s.Sessions)
			}
		})
	}
}

// TestIdleBudget counts what a resting host costs, at one hundred and twentieth of the time: a poll every second stands for one
// every two minutes, as the controller asks of an unclaimed host (those of a bound host, every 90 s, are added up in its own
// test). What scaling leaves out is added by hand: in any ten minutes at most one poll reads the slots, too.
func TestIdleBudget(t *testing.T) {
	t.Parallel()
	fleet := newFleet(t)
	b, err := fleet.Add(emulator.Spec{Name: "idle"})
	if err != nil {
		t.Fatal(err)
	}
	l := newHostLoop(t, fleet, b, time.Second)
	l.until(provision.Available)
	// Some polls are awaited, rather than some time: a machine that stalls polls late, never more often.
	const polls, scale = 5, 120
	before, began := b.Requests().Total, time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for b.Requests().Total-before < polls {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatal("the BMC is not polled")
		}
	}
	requests, took := b.Requests().Total-before, time.Since(began)*scale
	n, slots := int(math.Ceil(float64(requests)*float64(10*time.Minute)/float64(took))), len(b.State().Slots)
	t.Logf("ten idle minutes: %d requests for polls, and at most %d reads of slots: %d of %d", n, slots, n+slots, budgetIdle)
	if n+slots > budgetIdle {
		t.Errorf("ten idle minutes cost %d requests, and at most %d more", n, slots)
	}
}
