package actuator

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/beskar7/beskar7/pkg/provision"
	"github.com/beskar7/beskar7/pkg/redfish"
	"github.com/beskar7/beskar7/pkg/redfish/redfishfake"
	"github.com/beskar7/beskar7/pkg/serverid"
)

var (
	serverA = redfish.Identity{SystemUUID: "005cb4e7-0989-eb11-8000-7cc255106afe", SerialNumber: "SERVER-A", SystemID: "1"}
	serverB = redfish.Identity{SystemUUID: "bbbbbbbb-0000-4000-8000-00000000000b", SerialNumber: "SERVER-B", SystemID: "1"}
	// recordA is server A with its UUID in the other order of bytes.
	recordA = serverid.Identity{UUID: "e7b45c00-8909-11eb-8000-7cc255106afe", Serial: "SERVER-A"}
)

func heldBy(server serverid.Identity) Brief {
	b := held()
	b.Facts.Inventoried, b.Server = true, server
	return b
}

// pass reconciles once a second, as often as it is told.
func (r *rig) pass(t *testing.T, times int) (last provision.Decision) {
	t.Helper()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for range times {
		last = r.reconcile(t)
		<-tick.C
		r.bmc.Step()
	}
	return last
}

// I11: another server answers at the host's address, as after a DHCP server gave it to another BMC.
func TestNothingIsChangedAtAnotherServer(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Brief)
		want   provision.State
	}{
		"release of a bound host":        {func(b *Brief) { b.Facts.Claim, b.Facts.Bound = provision.ClaimReleasing, true }, provision.Releasing},
		"overdue release":                {func(b *Brief) { b.Facts.Claim, b.Facts.ReleaseOverdue = provision.ClaimReleasing, true }, provision.ReleaseBlocked},
		"provisioning of a claimed host": {func(*Brief) {}, provision.OtherServer},
		"a bound host":                   {func(b *Brief) { b.Facts.Bound, b.Facts.Install = true, true }, provision.OtherServer},
		"cleaning with consent":          {func(b *Brief) { b.Facts.Claim, b.Facts.Consent, b.ClaimID = provision.ClaimNone, true, "" }, provision.OtherServer},
	} {
		for _, power := range []redfish.PowerState{redfish.PowerOn, redfish.PowerOff} {
			t.Run(name+", "+string(power), func(t *testing.T) {
				bubble(t, func(ctx context.Context) {
					bmc := twoSlots(redfishfake.Options{Power: power, Identity: serverB})
					b := heldBy(recordA)
					c.change(&b)
					r := newRig(ctx, bmc, b)
					if d := r.pass(t, 240); d.State != c.want || d.Action != provision.None {
						t.Errorf("%+v, want %s", d, c.want)
					}
					if got := bmc.Changes(); len(got) != 0 {
						t.Errorf("server B got %v", got)
					}
					// The address is mended: the same wish goes on.
					bmc.SetIdentity(serverA)
					r.until(t, 10*time.Minute, func(d provision.Decision) bool { return d.State != c.want })
				})
			})
		}
	}
}

// The server changes at any moment of a boot, and of a release: B is never touched, and nothing of it is taken for A's.
func TestTheServerChangesInTheMiddle(t *testing.T) {
	for _, releasing := range []bool{false, true} {
		for after := range 8 {
			bubble(t, func(ctx context.Context) {
				bmc := twoSlots(redfishfake.Options{Power: redfish.PowerOff, Steps: 2, Identity: serverA})
				b := heldBy(recordA)
				end := state(provision.Booting)
				if releasing {
					b.Facts.Claim, b.Facts.Bound = provision.ClaimReleasing, true
					bmc = twoSlots(redfishfake.Options{Power: redfish.PowerOn, Steps: 2, Identity: serverA,
						Slots: []redfish.Slot{{ID: "CD1", Types: []string{"CD"}, CanInsert: true, Inserted: true, Image: "http://x/a.iso"}}})
					end = func(provision.Decision) bool { return isOffAndEmpty(bmc) }
				}
				r := newRig(ctx, bmc, b)
				r.pass(t, 5*after)
				was := len(bmc.Changes())
				bmc.SetIdentity(serverB)
				r.pass(t, 60) // a turn that had begun ends
				if got := bmc.Changes(); len(got) > was+1 {
					t.Errorf("after %d s, server B got %v", 5*after, got[was:])
				}
				if r.facts().ClaimID == "" && !isOffAndEmpty(bmc) {
					t.Error("the claim was cleared by what server B showed")
				}
				bmc.SetIdentity(serverA)
				if !releasing || r.facts().ClaimID != "" {
					r.until(t, 20*time.Minute, end)
				}
			})
		}
	}
}

// isOffAndEmpty says whether the server of a BMC is off and empty.
func isOffAndEmpty(bmc *redfishfake.BMC) bool {
	s, _ := bmc.State(context.Background())
	slots, _ := bmc.Slots(context.Background())
	for _, slot := range slots {
		if !slot.Empty() {
			return false
		}
	}
	return s.Power == redfish.PowerOff
}

// A release is proven by the recorded server alone: that another one is off and empty says nothing.
func TestAnotherServerProvesNoRelease(t *testing.T) {
	bubble(t, func(ctx context.Context) {
		b := heldBy(recordA)
		b.Facts.Claim, b.Facts.Bound = provision.ClaimReleasing, true
		for name, who := range map[string]redfish.Identity{"another server": serverB, "a BMC that does not say": {SystemUUID: "00000000-0000-0000-0000-000000000000"}} {
			bmc := twoSlots(redfishfake.Options{Power: redfish.PowerOff, Identity: who})
			r := newRig(ctx, bmc, b)
			r.pass(t, 300)
			if r.facts().ClaimID == "" {
				t.Errorf("%s proved the release", name)
			}
			bmc.SetIdentity(serverA)
			r.until(t, 10*time.Minute, func(provision.Decision) bool { return r.facts().ClaimID == "" })
		}
	})
}

// What another server shows is no effect of what was sent to the recorded one: that B runs is no boot of A.
func TestAnotherServerShowsNoEffect(t *testing.T) {
	bubble(t, func(ctx context.Context) {
		bmc := twoSlots(redfishfake.Options{Power: redfish.PowerOff, Steps: 3, Identity: serverA})
		r := newRig(ctx, bmc, heldBy(recordA))
		poweringOn := func(provision.Decision) bool {
			s, _ := bmc.State(ctx)
			return s.Power == redfish.PowerPoweringOn
		}
		r.until(t, 10*time.Minute, poweringOn)
		bmc.SetIdentity(serverB)
		r.pass(t, 120)
		if seen, _ := r.hands.Observed(hostName); seen.State.Power != redfish.PowerOn || len(seen.Boots) != 0 {
			t.Errorf("server B is %s, and the boots of A are %v", seen.State.Power, seen.Boots)
		}
		bmc.SetIdentity(serverA)
		r.until(t, 10*time.Minute, state(provision.Booting))
		if seen, _ := r.hands.Observed(hostName); len(seen.Boots) != 1 {
			t.Errorf("server A runs, and its boots are %v", seen.Boots)
		}
	})
}

// A proof ends when another server is met: what became of the first meanwhile, nobody saw.
func TestAProofEndsWithTheServer(t *testing.T) {
	bubble(t, func(ctx context.Context) {
		b := heldBy(recordA)
		b.Facts.Claim = provision.ClaimReleasing
		bmc := twoSlots(redfishfake.Options{Power: redfish.PowerOff, Identity: serverA})
		r := newRig(ctx, bmc, b)
		proven := func() string {
			seen, _ := r.hands.Observed(hostName)
			return seen.Proven
		}
		for range 100 {
			if proven() != "" {
				break
			}
			r.pass(t, 1)
		}
		if proven() != claimID {
			t.Fatal("the release was not proven")
		}
		for _, who := range []redfish.Identity{serverB, serverA} {
			bmc.SetIdentity(who)
			r.gate.PollNow(hostName)
			<-time.After(2 * time.Minute)
		}
		if proven() != "" {
			t.Error("still proven, after another server was met")
		}
	})
}

// A BMC that said who it is and does not now, as some do while they start, may be any: it is asked until it says so again.
func TestNothingIsChangedWhileTheBMCDoesNotSayWhoItIs(t *testing.T) {
	for name, who := range map[string]redfish.Identity{
		"nothing":        {},
		"a place holder": {SystemUUID: "ffffffff-ffff-ffff-ffff-ffffffffffff", SerialNumber: "To be filled by O.E.M."},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(ctx context.Context) {
				bmc := twoSlots(redfishfake.Options{Power: redfish.PowerOff})
				bmc.SetIdentity(who)
				r := newRig(ctx, bmc, heldBy(recordA))
				r.pass(t, 120)
				if got := bmc.Changes(); len(got) != 0 {
					t.Fatalf("changed %v", got)
				}
				if s := r.gate.Status(hostName); !strings.Contains(s.LastError+s.Outcome.Message, "does not say which server it is") {
					t.Errorf("the gate says %q, %q", s.LastError, s.Outcome.Message)
				}
				bmc.SetIdentity(serverA)
				r.until(t, 20*time.Minute, state(provision.Booting))
			})
		})
	}
}

// A BMC that never said who it is is known by its address and system alone, as before.
func TestAServerWithoutAnIdentityIsStillUsed(t *testing.T) {
	bubble(t, func(ctx context.Context) {
		bmc := twoSlots(redfishfake.Options{Power: redfish.PowerOff})
		bmc.SetIdentity(redfish.Identity{SerialNumber: "Default string"})
		r := newRig(ctx, bmc, heldBy(serverid.Identity{Serial: "Default string"}))
		r.until(t, 10*time.Minute, state(provision.Booting))
	})
}

// A mainboard that was swapped is another server until a person says that it is the host's: then it is inspected as a new one.
func TestAnAcceptedServerIsInspected(t *testing.T) {
	bubble(t, func(ctx context.Context) {
		b := unclaimed()
		b.Facts.Inventoried, b.Server = true, recordA
		bmc := twoSlots(redfishfake.Options{Identity: serverA})
		r := newRig(ctx, bmc, b)
		inspected := func() int { return bmc.Calls()[redfishfake.OpIdentify] }
		r.until(t, time.Minute, state(provision.Available))
		bmc.SetIdentity(serverB)
		r.until(t, 5*time.Minute, state(provision.OtherServer))
		r.change(func(b *Brief) { b.Accepted = "cccccccc-0000-4000-8000-00000000000c" })
		r.pass(t, 60)
		if n := inspected(); n != 0 {
			t.Fatalf("inspected %d times, and a third server was accepted", n)
		}
		r.change(func(b *Brief) { b.Accepted = "BBBBBBBB-0000-4000-8000-00000000000B" })
		r.until(t, 5*time.Minute, state(provision.Available))
		if n := inspected(); n != 1 {
			t.Errorf("inspected %d times", n)
		}
		// What was recorded follows. The former server is another one now, and the annotation is history.
		r.change(func(b *Brief) { b.Server = serverid.Identity{UUID: serverB.SystemUUID} })
		r.pass(t, 10)
		bmc.SetIdentity(serverA)
		r.until(t, 5*time.Minute, state(provision.OtherServer))
		// A BMC that leaves the identity out for a while is still who it said it was.
		bmc.SetIdentity(redfish.Identity{})
		if d := r.pass(t, 300); d.State != provision.OtherServer {
			t.Errorf("%+v by a BMC that stopped saying who it is", d)
		}
		bmc.SetIdentity(serverB)
		r.until(t, 5*time.Minute, state(provision.Available))
		bmc.SetIdentity(redfish.Identity{})
		if d := r.pass(t, 300); d.State != provision.Available {
			t.Errorf("%+v by a BMC that stopped saying who it is", d)
		}
		if n := inspected(); n != 1 {
			t.Errorf("inspected %d times", n)
		}
	})
}
