package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/beskar7/beskar7/pkg/actuator"
	"github.com/beskar7/beskar7/pkg/bootmedia"
	"github.com/beskar7/beskar7/pkg/coordinator/bmcqueue"
	"github.com/beskar7/beskar7/pkg/provision"
	"github.com/beskar7/beskar7/pkg/redfish"
	"github.com/beskar7/beskar7/test/emulator"
)

// The times of a life, in real time where nothing else is said.
const (
	lifeCooldown = 100 * time.Millisecond
	// lifePhase is how long a host is given before it is said to wait, where nothing else tells that it is stuck.
	lifePhase = 12 * time.Second
	// lifeRecovery is how long it may take to get over a fault that has ended; a machine that is busy takes longer.
	lifeRecovery = 2 * time.Minute
	// lifeShutdown and lifeSettle are of the actuator's fast clock.
	lifeShutdown, lifeSettle = 40 * time.Second, 40 * time.Second
	lifeHost, lifeClaim      = "ns/h", "0123456789abcdef"
)

// life is one host from its claim to its release, as the product leads it: decisions of provision, hands of the actuator, the
// gate, the driver. The API server is a struct.
type life struct {
	bmc    *emulator.BMC
	target redfish.Target
	gate   *bmcqueue.Queue
	hands  *actuator.Actuator
	pool   *redfish.Pool
	media  string
	wake   chan struct{}
	// lie is the first claim of the product's that was not so.
	lie string
	// restarts counts boots that were given up for want of a sign of life.
	restarts int

	mu    sync.Mutex
	brief actuator.Brief
	// alive: the system that our medium holds runs.
	alive atomic.Bool
}

func (s *site) newLife(ctx context.Context, name, persona string, fault trial) (*life, func(), error) {
	bmc, err := s.fleet.Add(emulator.Spec{Name: name, Persona: persona})
	if err != nil {
		return nil, nil, err
	}
	l := &life{bmc: bmc, media: s.images.URL, wake: make(chan struct{}, 1), pool: redfish.NewPool(redfish.Options{Installation: "lives"}),
		target: redfish.Target{Address: bmc.URL(), SystemID: systemID(bmc, persona), Username: bmc.Username(), Password: redfish.Password(bmc.Password()), CABundle: s.fleet.CAPEM(), Timeouts: fault.timeouts()},
		brief:  actuator.Brief{Family: bootmedia.FamilyNone, Facts: provision.Facts{Claim: provision.ClaimNone, Report: provision.ReportNone, Content: provision.ContentNoToken}}}
	if plainOnly[persona] {
		l.media = s.plain.URL
	}
	bmc.SetGuest(l)
	l.gate = bmcqueue.New(bmcqueue.Options{Done: l.look, Settings: bmcqueue.Settings{MaxConcurrentOps: 2, WorkerCount: 2, MaxQueueSize: 10,
		OperationTimeout: 5 * time.Minute, Cooldown: lifeCooldown, RetryAttempts: 2, MaxRetryDelay: 2 * lifeCooldown}})
	l.hands = actuator.New(actuator.Options{Gate: fastGate{l.gate}, Driver: l.pool, Clock: fastClock{time.Now()}, Changed: l.look})
	ctx, cancel := context.WithCancel(ctx)
	var over sync.WaitGroup
	over.Go(func() { _ = l.gate.Run(ctx) })
	return l, func() { cancel(); over.Wait() }, nil
}

// Run is the server's software: it comes up when it was booted from a virtual CD, and shuts down when it is told to.
func (l *life) Run(ctx context.Context, boot emulator.Boot) error {
	if boot.Device == "Cd" {
		l.alive.Store(true)
		defer l.alive.Store(false)
		l.look("")
	}
	select {
	case <-boot.Shutdown:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *life) look(string) {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *life) change(f func(*actuator.Brief)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f(&l.brief)
}

func (l *life) facts() actuator.Brief {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.brief
}

// reconcile is one pass of a host controller: track, decide, act.
func (l *life) reconcile() provision.Decision {
	if err := l.hands.Track(actuator.Tracking{Host: lifeHost, Namespace: "ns", Target: l.target, Interval: func() time.Duration { return time.Second }}); err != nil {
		l.believe(err.Error())
		return provision.Decision{}
	}
	truth := l.bmc.State()
	l.senses(truth)
	seen, _ := l.hands.Observed(lifeHost)
	b := l.facts()
	d := provision.Decide(actuator.Complete(b, seen))
	switch {
	case d.Action.Hardware():
		class := bmcqueue.ClassProvision
		if b.Facts.Claim == provision.ClaimReleasing {
			class = bmcqueue.ClassRelease
		}
		l.hands.Submit(actuator.Order{Host: lifeHost, Namespace: "ns", Action: d.Action, Class: class, ClaimID: b.ClaimID, Shutdown: lifeShutdown, Settle: lifeSettle,
			Brief: func(context.Context) (actuator.Brief, error) { return l.facts(), nil }})
	case d.Action == provision.MintGrant:
		if err := l.mint(); err != nil {
			l.believe(err.Error())
		}
		l.look("")
	case d.Action == provision.MarkBound:
		l.change(func(b *actuator.Brief) { b.Facts.Bound = true })
		l.look("")
	case d.Action == provision.ClearClaim:
		l.believe(lieAboutRest(truth))
		l.change(func(b *actuator.Brief) {
			b.Facts.Claim, b.Facts.Bound, b.Facts.Granted, b.ClaimID, b.Hash, b.URLs = provision.ClaimNone, false, false, "", "", nil
		})
		l.look("")
	default:
		l.hands.Withdraw(lifeHost)
	}
	return d
}

// senses is what the product learns of the server otherwise than from its BMC: its node, and that none came.
func (l *life) senses(truth emulator.State) {
	elsewhere := truth.Booted != "" && truth.Booted != "Cd"
	l.change(func(b *actuator.Brief) {
		b.Facts.NodeSeen = b.Facts.NodeSeen && b.Facts.Bound || l.alive.Load()
		if elsewhere && !b.Facts.BootOverdue {
			l.restarts++
		}
		b.Facts.BootOverdue = elsewhere
	})
}

func (l *life) mint() error {
	token, err := bootmedia.NewToken()
	if err != nil {
		return err
	}
	l.change(func(b *actuator.Brief) {
		b.Hash, b.Facts.Content, b.Facts.Granted = token.Hash(), provision.ContentReady, true
		b.URLs = map[bootmedia.Medium]string{bootmedia.Boot: bootmedia.BootURL(l.media, token), bootmedia.Config: bootmedia.ConfigURL(l.media, token)}
	})
	return nil
}

// believe keeps the first thing that is not as it should be.
func (l *life) believe(what string) {
	if l.lie == "" {
		l.lie = what
	}
}

// ending is how a part of a life under a fault came out: a word that does not depend on how fast it was, and what it says.
type ending struct{ word, message string }

// The words that are no kinds of the driver's.
const (
	done = "done"
	// noSign: another system than ours came up, and the server was restarted for it.
	noSign = "no sign of life"
	// waits: nothing was refused, and nothing settled.
	waits = "waits"
	// refused is an operation that failed for another reason than the driver's.
	refused = "refused"
)

// givenUp is how many operations fail, after all their tries, before a part of a life counts as stuck.
const givenUp = 2

// until reconciles until what is wanted, or until it is stuck.
func (l *life) until(ctx context.Context, limit time.Duration, stuckCounts bool, wanted func(provision.Decision) bool) ending {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	failed, last, restarts := 0, l.gate.Status(lifeHost).Outcome.At, l.restarts
	for d := l.reconcile(); !wanted(d); d = l.reconcile() {
		status := l.gate.Status(lifeHost)
		if o := status.Outcome; o.Ending == bmcqueue.EndedFailed && o.At.After(last) {
			failed, last = failed+1, o.At
		}
		stuck := failed >= givenUp || status.State == bmcqueue.StateParked || l.restarts-restarts >= givenUp
		if ctx.Err() != nil || stuck && stuckCounts {
			return l.trouble(d, status, l.restarts-restarts)
		}
		select {
		case <-l.wake:
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	return ending{word: done}
}

// trouble is what a person would be told.
func (l *life) trouble(d provision.Decision, status bmcqueue.Status, restarts int) ending {
	seen, _ := l.hands.Observed(lifeHost)
	message := status.Outcome.Message
	if status.LastError != "" {
		message = status.LastError
	}
	switch {
	case restarts >= givenUp:
		return ending{noSign, "another system than ours came up"}
	case seen.Failure != nil:
		return ending{string(seen.Failure.Kind), seen.Failure.Message}
	case status.Failure != bmcqueue.None || status.Outcome.Ending == bmcqueue.EndedFailed:
		return ending{refused, message}
	}
	return ending{waits, d.Rule}
}

func settled(state provision.State) func(provision.Decision) bool {
	return func(d provision.Decision) bool { return d.State == state && d.Action == provision.None }
}

var errNotEnrolled = errors.New("the host did not become available before the fault")

// lived is a whole life under a fault: what became of provisioning and of the release under it, and what is wrong.
type lived struct {
	persona, fault     string
	under              trial
	provision, release ending
	broken             []string
}

// live leads a host through claim and release; the fault strikes at both, and ends when a part of it is stuck. After that the
// host must find its way without help, but for a person's retry where the log-in was refused.
func (s *site) live(ctx context.Context, name, persona string, fault trial, want [2]string) (out lived) {
	out = lived{persona: persona, fault: fault.name, under: fault}
	l, end, err := s.newLife(ctx, name, persona, fault)
	if err != nil {
		out.broken = append(out.broken, err.Error())
		return out
	}
	if fault.innate() {
		l.strike(&out, fault)
	}
	if e := l.until(ctx, lifeRecovery, false, settled(provision.Available)); e.word != done {
		out.broken = append(out.broken, fmt.Sprintf("%v: %s: %s", errNotEnrolled, e.word, e.message))
	} else {
		out.provision = l.under(ctx, &out, fault, want[0], settled(provision.Provisioned), func(b *actuator.Brief) {
			b.ClaimID, b.Facts.Claim, b.Facts.Content, b.Facts.KeepOn = lifeClaim, provision.ClaimHeld, provision.ContentNoToken, true
		})
		out.release = l.under(ctx, &out, fault, want[1], settled(provision.Available), func(b *actuator.Brief) { b.Facts.Claim = provision.ClaimReleasing })
	}
	end()
	if !fault.innate() {
		l.bmc.ClearFaults()
	}
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := l.pool.Close(closing); err != nil {
		out.broken = append(out.broken, "closing: "+err.Error())
	}
	if l.lie != "" {
		out.broken = append(out.broken, "a lie was believed: "+l.lie)
	}
	out.broken = append(out.broken, harm(l.bmc, lifeCooldown)...)
	if s := left(l.bmc, 0); s != "" {
		out.broken = append(out.broken, s)
	}
	return out
}

func (l *life) strike(out *lived, fault trial) {
	if err := l.bmc.SetFault(fault.Name, fault.argument); err != nil {
		out.broken = append(out.broken, err.Error())
	}
}

// under changes what is asked for, under the fault, and has it come about in the end.
func (l *life) under(ctx context.Context, out *lived, fault trial, want string, wanted func(provision.Decision) bool, ask func(*actuator.Brief)) ending {
	if fault.Name != "" && !fault.innate() {
		l.strike(out, fault)
	}
	l.change(ask)
	limit := lifeRecovery
	if accepts(want, waits) && !accepts(want, done) {
		limit = lifePhase
	}
	came := l.until(ctx, limit, !accepts(want, done), wanted)
	if l.secretIn(came.message) {
		out.broken = append(out.broken, "the message holds a secret")
	}
	if came.word != done && len(strings.Fields(came.message)) < 4 && came.word != waits {
		out.broken = append(out.broken, fmt.Sprintf("the message says nothing: %q", came.message))
	}
	if fault.innate() {
		return came // it stays as it is: what cannot be provisioned must still be released
	}
	l.bmc.ClearFaults()
	if came.word == done {
		return came
	}
	if l.gate.Status(lifeHost).State == bmcqueue.StateParked {
		l.hands.RetryNow(lifeHost)
	}
	if slices.Contains(expectedOf(fault.name).stays, out.persona) {
		return came
	}
	if after := l.until(ctx, lifeRecovery, false, wanted); after.word != done {
		out.broken = append(out.broken, fmt.Sprintf("it did not get over it: %s: %s (before: %s: %s)", after.word, after.message, came.word, came.message))
	}
	return came
}

func (l *life) secretIn(message string) bool {
	if strings.Contains(message, l.bmc.Password()) {
		return true
	}
	for _, url := range l.facts().URLs {
		if strings.Contains(message, url) {
			return true
		}
	}
	return false
}
