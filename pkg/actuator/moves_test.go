package actuator

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/beskar7/beskar7/pkg/coordinator/bmcqueue"
	"github.com/beskar7/beskar7/pkg/provision"
	"github.com/beskar7/beskar7/pkg/redfish"
	"github.com/beskar7/beskar7/pkg/redfish/redfishfake"
)

const elsewhere = "https://192.0.2.2"

func unclaimed() Brief {
	return Brief{Facts: provision.Facts{Claim: provision.ClaimNone, Report: provision.ReportNone}}
}

// twoServers: the host is at the first, whose next call of op waits until it is let go; the second answers elsewhere.
func twoServers(ctx context.Context, op redfishfake.Op, b Brief) (r *rig, first, second *redfishfake.BMC, reached, letGo chan struct{}) {
	reached, letGo = make(chan struct{}), make(chan struct{})
	first = twoSlots(redfishfake.Options{Power: redfish.PowerOff, Identity: redfish.Identity{SystemUUID: "first"}})
	second = twoSlots(redfishfake.Options{Power: redfish.PowerOff, Identity: redfish.Identity{SystemUUID: "second"}})
	held := false
	first.SetFault(func(_ context.Context, o redfishfake.Op) error {
		if o == op && !held {
			held = true
			close(reached)
			<-letGo
		}
		return nil
	})
	r = newRig(ctx, first, b)
	r.taps = map[string]redfish.BMC{elsewhere: second}
	return r, first, second, reached, letGo
}

// What was read of one server is never taken for another: not by a poll that was on its way when the address changed.
func TestAReadingOnItsWayWhenTheAddressChanges(t *testing.T) {
	bubble(t, func(ctx context.Context) {
		r, _, _, reached, letGo := twoServers(ctx, redfishfake.OpSlots, unclaimed())
		r.reconcile(t)
		<-reached
		r.address = elsewhere
		r.reconcile(t)
		synctest.Wait() // the second server was read
		close(letGo)
		synctest.Wait() // and the first has answered after all
		if seen, _ := r.hands.Observed(hostName); seen.State.SystemUUID != "second" {
			t.Errorf("the host at its new address is server %q", seen.State.SystemUUID)
		}
	})
}

// Nor by an operation, which neither acts on what the old server said nor leaves anything behind: no proof, no boot.
func TestAnOperationOnItsWayWhenTheAddressChanges(t *testing.T) {
	bubble(t, func(ctx context.Context) {
		b := held()
		b.Facts.Claim = provision.ClaimReleasing
		r, first, second, reached, letGo := twoServers(ctx, redfishfake.OpState, b)
		for _, s := range []*redfishfake.BMC{first, second} {
			s.SetSlot(redfish.Slot{ID: "CD1", Types: []string{"CD"}, CanInsert: true, Inserted: true, Image: "http://x/y.iso"})
		}
		if err := r.hands.Track(Tracking{Host: hostName, Namespace: "ns", Target: r.target(), Interval: func() time.Duration { return time.Hour }}); err != nil {
			t.Fatal(err)
		}
		r.hands.Submit(Order{Host: hostName, Namespace: "ns", Action: provision.Eject, Class: bmcqueue.ClassRelease, ClaimID: claimID, Settle: time.Minute,
			Brief: func(context.Context) (Brief, error) { return r.facts(), nil }})
		<-reached
		r.address = elsewhere
		if err := r.hands.Track(Tracking{Host: hostName, Namespace: "ns", Target: r.target(), Interval: func() time.Duration { return time.Hour }}); err != nil {
			t.Fatal(err)
		}
		close(letGo)
		<-time.After(10 * time.Minute)
		if seen, _ := r.hands.Observed(hostName); seen.Proven != "" || seen.State.SystemUUID != "second" {
			t.Errorf("proven for %q, by server %q", seen.Proven, seen.State.SystemUUID)
		}
		if n := len(first.Changes()) + len(second.Changes()); n != 0 {
			t.Errorf("changed: %v, %v", first.Changes(), second.Changes())
		}
	})
}

// What happened to the old server did not happen to the new one.
func TestNothingOfTheOldServerHoldsForTheNew(t *testing.T) {
	bubble(t, func(ctx context.Context) {
		r, first, second, _, letGo := twoServers(ctx, "none", held())
		close(letGo)
		r.until(t, 10*time.Minute, state(provision.Booting))
		r.change(func(b *Brief) { b.Facts.Claim, b.Facts.NodeSeen = provision.ClaimReleasing, true })
		first.SetFault(func(_ context.Context, op redfishfake.Op) error {
			if op == redfishfake.OpEject {
				return answer(redfish.KindUnreachable, 0)
			}
			return nil
		})
		r.until(t, 10*time.Minute, func(provision.Decision) bool {
			seen, _ := r.hands.Observed(hostName)
			return seen.Proven == claimID && len(seen.DeafSince) == 1
		})
		r.address = elsewhere
		if err := r.hands.Track(Tracking{Host: hostName, Namespace: "ns", Target: r.target(), Interval: func() time.Duration { return time.Minute }}); err != nil {
			t.Fatal(err)
		}
		seen, _ := r.hands.Observed(hostName)
		if seen.Proven != "" || len(seen.Boots)+len(seen.DeafSince) != 0 {
			t.Errorf("carried over: %+v", seen)
		}
		r.until(t, 10*time.Minute, func(provision.Decision) bool { return r.facts().Facts.Claim == provision.ClaimNone })
		if got := second.Changes(); len(got) != 0 {
			t.Errorf("the new server was clean, and changed: %v", got)
		}
	})
}

// A log-in with the old password that is refused after the password was changed says nothing of the new one.
func TestAnOldPasswordRefusedLate(t *testing.T) {
	bubble(t, func(ctx context.Context) {
		r, first, _, reached, letGo := twoServers(ctx, redfishfake.OpState, unclaimed())
		r.reconcile(t)
		<-reached
		changed := Tracking{Host: hostName, Namespace: "ns", Target: r.target(), Interval: func() time.Duration { return time.Hour }}
		changed.Target.Password = "new"
		first.SetFault(nil)
		if err := r.hands.Track(changed); err != nil {
			t.Fatal(err)
		}
		r.hands.mu.Lock()
		at := access{of: r.hands.hosts[hostName], version: 0}
		r.hands.mu.Unlock()
		r.hands.failed(at, &redfish.Error{Kind: redfish.KindUnauthorized, LoginFailed: true, Op: "log in", Message: "refused"})
		if seen, _ := r.hands.Observed(hostName); seen.Failure != nil {
			t.Errorf("the new password counts as refused: %+v", seen.Failure)
		}
		close(letGo)
		synctest.Wait()
		at.version = 1
		r.hands.failed(at, &redfish.Error{Kind: redfish.KindUnauthorized, LoginFailed: true, Op: "log in", Message: "refused"})
		hold := make(chan struct{}) // the newer password is not tried before we have looked
		defer close(hold)
		first.SetFault(func(context.Context, redfishfake.Op) error { <-hold; return nil })
		changed.Target.Password = "newer"
		if err := r.hands.Track(changed); err != nil {
			t.Fatal(err)
		}
		if seen, _ := r.hands.Observed(hostName); seen.Failure == nil || !seen.Failure.Outdated {
			t.Errorf("the refusal of the old password reads as one of the new: %+v", seen.Failure)
		}
	})
}

// A credential that was refused at one address is tried at another.
func TestParkingDoesNotFollowTheHost(t *testing.T) {
	bubble(t, func(ctx context.Context) {
		r, _, second, _, letGo := twoServers(ctx, "none", unclaimed())
		close(letGo)
		park := Tracking{Host: hostName, Namespace: "ns", Target: r.target(), Interval: func() time.Duration { return time.Minute }, ParkedUntil: time.Now().Add(time.Hour)}
		if err := r.hands.Track(park); err != nil {
			t.Fatal(err)
		}
		<-time.After(30 * time.Minute)
		if n := r.bmc.Calls()[redfishfake.OpState]; n != 0 {
			t.Fatalf("%d tries while parked", n)
		}
		park.Target.Address = elsewhere
		if err := r.hands.Track(park); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Minute)
		if second.Calls()[redfishfake.OpState] == 0 {
			t.Error("the new address was not tried")
		}
	})
}

// The hardware is read again when somebody asks, and of a server at another address even if it does not say who it is.
func TestWhenTheHardwareIsReadAgain(t *testing.T) {
	bubble(t, func(ctx context.Context) {
		r, first, second, _, letGo := twoServers(ctx, "none", unclaimed())
		close(letGo)
		r.change(func(b *Brief) { b.Facts.Inventoried = true })
		for _, s := range []*redfishfake.BMC{first, second} {
			s.SetIdentity(redfish.Identity{})
		}
		r.until(t, time.Minute, state(provision.Available))
		if n := first.Calls()[redfishfake.OpIdentify]; n != 0 {
			t.Fatalf("inspected %d times, although its inventory is known", n)
		}
		r.hands.RetryNow(hostName)
		r.until(t, time.Minute, func(provision.Decision) bool { return first.Calls()[redfishfake.OpIdentify] == 1 })
		r.until(t, time.Minute, state(provision.Available))
		r.hands.InspectAgain(hostName)
		r.until(t, time.Minute, func(provision.Decision) bool { return first.Calls()[redfishfake.OpIdentify] == 2 })
		r.until(t, time.Minute, state(provision.Available))
		r.address = elsewhere
		r.until(t, time.Minute, func(provision.Decision) bool { return second.Calls()[redfishfake.OpIdentify] == 1 })
		r.until(t, time.Minute, state(provision.Available))
	})
}
