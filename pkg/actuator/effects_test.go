package actuator

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/beskar7/beskar7/pkg/bootmedia"
	"github.com/beskar7/beskar7/pkg/coordinator/bmcqueue"
	"github.com/beskar7/beskar7/pkg/provision"
	"github.com/beskar7/beskar7/pkg/redfish"
	"github.com/beskar7/beskar7/pkg/redfish/redfishfake"
)

func released(r *rig) func(provision.Decision) bool {
	return func(provision.Decision) bool { return r.facts().Facts.Claim == provision.ClaimNone }
}

func releasing() Brief {
	b := held()
	b.Facts.Claim, b.Facts.Bound = provision.ClaimReleasing, true
	return b
}

func full(id, url string) redfish.Slot {
	return redfish.Slot{ID: id, Types: []string{"CD"}, CanInsert: true, Inserted: url != "", Image: url}
}

// However a BMC says no to a graceful shutdown, power is cut in the end: at once where it is a refusal, and after the time a
// system has to shut down where the request may have been carried out all the same.
func TestAShutdownThatIsRefusedEndsInForce(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		soon bool
	}{
		"unsupported":        {answer(redfish.KindUnsupported, 405), true},
		"refused as wrong":   {answer(redfish.KindProtocol, 400), true},
		"no such action":     {answer(redfish.KindNotFound, 404), true},
		"malformed answer":   {answer(redfish.KindProtocol, 0), false},
		"internal error":     {answer(redfish.KindBusy, 500), false},
		"not in this state":  {answer(redfish.KindConflict, 409), false},
		"answer cut off":     {answer(redfish.KindUnreachable, 0), false},
		"forbidden for once": {answer(redfish.KindUnauthorized, 403), false},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(ctx context.Context) {
				b := &tap{BMC: twoSlots(redfishfake.Options{Power: redfish.PowerOn}), refuse: func(what string) error {
					if what == string(redfish.ResetGracefulShutdown) {
						return c.err
					}
					return nil
				}}
				r := newTapped(ctx, b, releasing())
				r.shutdown = 5 * time.Minute // more than the longest back-off: it is the first request that counts
				began := time.Now()
				r.until(t, 20*time.Minute, released(r))
				took := time.Since(began)
				if c.soon && took > time.Minute || !c.soon && took < r.shutdown {
					t.Errorf("power was cut after %s, with %s for a shutdown", took, r.shutdown)
				}
				if got := b.asked(); got[len(got)-1] != string(redfish.ResetForceOff) {
					t.Errorf("asked for %v", got)
				}
			})
		})
	}
}

// Every slot is emptied, what is not ours first, and each once; one that cannot be emptied does not keep the others in.
func TestSlotsAreEmptiedInOrder(t *testing.T) {
	token, err := bootmedia.NewToken()
	if err != nil {
		t.Fatal(err)
	}
	ours := bootmedia.BootURL("https://m", token)
	slots := func() []redfish.Slot {
		return []redfish.Slot{full("1", ours), full("2", "http://x/a.iso"), full("3", "http://x/b.iso"), full("4", "")}
	}
	for name, c := range map[string]struct {
		refuse func(string) error
		lose   func(string) error
		want   []string
		stays  bool
	}{
		"plain": {want: []string{"Eject 2", "Eject 3", "Eject 1"}},
		"the answer is lost": {lose: func(what string) error {
			if what == "Eject 2" {
				return answer(redfish.KindUnreachable, 0)
			}
			return nil
		}, want: []string{"Eject 2", "Eject 3", "Eject 1"}},
		"one is stuck": {refuse: func(what string) error {
			if what == "Eject 2" {
				return answer(redfish.KindUnsupported, 405)
			}
			return nil
		}, want: []string{"Eject 2", "Eject 3", "Eject 1", "Eject 2"}, stays: true},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(ctx context.Context) {
				b := &tap{BMC: twoSlots(redfishfake.Options{Power: redfish.PowerOff, Slots: slots()}), refuse: c.refuse, lose: c.lose}
				brief := releasing()
				brief.Hash = token.Hash()
				r := newTapped(ctx, b, brief)
				r.until(t, 10*time.Minute, func(provision.Decision) bool { return len(b.asked()) >= len(c.want) })
				if got := b.asked()[:len(c.want)]; !slices.Equal(got, c.want) {
					t.Errorf("asked %v, want %v", got, c.want)
				}
				if c.stays {
					<-time.After(10 * time.Minute)
					if r.reconcile(t); r.facts().Facts.Claim == provision.ClaimNone {
						t.Error("I6: released with a medium in")
					}
					return
				}
				r.until(t, time.Minute, released(r))
			})
		})
	}
}

// A slot that takes no image of ours, or takes it and shows nothing, is passed over where there is another one.
func TestTheNextSlotIsTried(t *testing.T) {
	for name, how := range map[string]struct {
		refuse error
		lies   bool
	}{
		"refused as wrong": {refuse: answer(redfish.KindProtocol, 400)}, "unsupported": {refuse: answer(redfish.KindUnsupported, 405)}, "a lie": {lies: true},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(ctx context.Context) {
				fake := redfishfake.New(redfishfake.Options{Slots: []redfish.Slot{full("1", ""), full("2", "")}})
				b := &tap{BMC: fake, refuse: func(what string) error {
					fake.SetLie(func(op redfishfake.Op) bool {
						return how.lies && op == redfishfake.OpInsert && what == "Insert 1"
					})
					if what == "Insert 1" {
						return how.refuse
					}
					return nil
				}}
				brief := held()
				brief.Family = bootmedia.FamilyNone
				r := newTapped(ctx, b, brief)
				r.until(t, 10*time.Minute, state(provision.Booting))
				if got := b.asked(); !slices.Equal(got, []string{"Insert 1", "Insert 2", "Arm", "On"}) {
					t.Errorf("asked %v", got)
				}
				if fake.Booted() == "disk" || fake.Booted() == "" {
					t.Errorf("booted from %q", fake.Booted())
				}
			})
		})
	}
}

// Where every slot refuses, as for an image that the BMC cannot fetch, each of them is tried again, and the reason is told.
func TestAllSlotsRefuse(t *testing.T) {
	bubble(t, func(ctx context.Context) {
		broken := true
		b := &tap{BMC: redfishfake.New(redfishfake.Options{Slots: []redfish.Slot{full("1", ""), full("2", "")}}), refuse: func(what string) error {
			if broken && strings.HasPrefix(what, "Insert") {
				return &redfish.Error{Kind: redfish.KindProtocol, Op: "insert media", Status: 400, Message: "the BMC cannot fetch the image"}
			}
			return nil
		}}
		brief := held()
		brief.Family = bootmedia.FamilyNone
		r := newTapped(ctx, b, brief)
		r.until(t, 30*time.Minute, func(provision.Decision) bool { return len(b.asked()) >= 4 })
		if got := b.asked()[:4]; !slices.Equal(got, []string{"Insert 1", "Insert 2", "Insert 1", "Insert 2"}) {
			t.Errorf("asked %v", got)
		}
		if s := r.gate.Status(hostName); !strings.Contains(s.LastError+s.Outcome.Message, "cannot fetch the image") {
			t.Errorf("status says %+v", s)
		}
		if seen, _ := r.hands.Observed(hostName); seen.Failure != nil {
			t.Errorf("a BMC that refuses an image is not out of reach: %+v", seen.Failure)
		}
		broken = false
		r.until(t, 30*time.Minute, state(provision.Booting))
	})
}

// An asynchronous mount that was asked for in the ended tenancy comes up while the host is released: it is waited for and
// taken out before the host is given back (I6).
func TestALateMountIsNotGivenBack(t *testing.T) {
	bubble(t, func(ctx context.Context) {
		fake := redfishfake.New(redfishfake.Options{Slots: []redfish.Slot{full("1", "")}})
		brief := held()
		brief.Family = bootmedia.FamilyNone
		b := &late{tap: tap{BMC: fake}, after: 20 * time.Second}
		r := newRig(ctx, fake, brief)
		r.taps = map[string]redfish.BMC{r.address: b}
		r.until(t, time.Minute, func(provision.Decision) bool { return len(b.asked()) == 1 })
		r.change(func(b *Brief) { b.Facts.Claim = provision.ClaimReleasing })
		r.until(t, 10*time.Minute, released(r))
		if got := b.asked(); !slices.Equal(got, []string{"Insert 1", "Eject 1"}) {
			t.Errorf("asked %v", got)
		}
		<-time.After(time.Minute)
		for _, s := range slotsOf(t, fake) {
			if !s.Empty() {
				t.Error("I6: given back with our medium in")
			}
		}
	})
}

// late mounts media some time after it took the request.
type late struct {
	tap
	after time.Duration
}

func (b *late) Insert(ctx context.Context, slot, url string) error {
	return b.change("Insert "+slot, func() error {
		time.AfterFunc(b.after, func() { _ = b.BMC.Insert(context.WithoutCancel(ctx), slot, url) })
		return nil
	})
}

// A slow mount is waited for, and not asked for twice, whatever else the host's owner asks for meanwhile.
func TestASlowMountIsAskedForOnce(t *testing.T) {
	bubble(t, func(ctx context.Context) {
		fake := redfishfake.New(redfishfake.Options{Slots: []redfish.Slot{full("1", "")}})
		brief := held()
		brief.Family = bootmedia.FamilyNone
		b := &late{tap: tap{BMC: fake}, after: 20 * time.Second}
		r := newRig(ctx, fake, brief)
		r.taps = map[string]redfish.BMC{r.address: b}
		r.until(t, time.Minute, func(provision.Decision) bool { return len(b.asked()) == 1 })
		r.change(func(b *Brief) { b.Facts.Paused = true })
		r.reconcile(t)
		<-time.After(3 * time.Second)
		r.change(func(b *Brief) { b.Facts.Paused = false })
		r.until(t, 10*time.Minute, state(provision.Booting))
		if got := b.asked(); !slices.Equal(got, []string{"Insert 1", "Arm", "On"}) {
			t.Errorf("asked %v", got)
		}
	})
}

// I10: the BMC carries any one request out and its answer is lost: the host ends the same, with nothing done twice.
func TestAnyOneAnswerLost(t *testing.T) {
	for n := range 10 {
		for _, kind := range []redfish.Kind{redfish.KindUnreachable, redfish.KindBusy, redfish.KindProtocol} {
			t.Run(fmt.Sprint(n, kind), func(t *testing.T) {
				bubble(t, func(ctx context.Context) {
					calls := 0
					b := &tap{BMC: twoSlots(redfishfake.Options{Power: redfish.PowerOff, Steps: 1}), lose: func(string) error {
						if calls++; calls == n+1 {
							return answer(kind, 0)
						}
						return nil
					}}
					r := newTapped(ctx, b, held())
					r.until(t, 10*time.Minute, state(provision.Booting))
					b.SetOSUp(true)
					r.change(func(b *Brief) { b.Facts.Claim, b.Facts.Bound = provision.ClaimReleasing, true })
					r.until(t, 10*time.Minute, released(r))
					if got := b.Changes(); len(got) != len(theBoot)+3 {
						t.Errorf("changes %v", got)
					}
				})
			})
		}
	}
}

// I2, I5: what was submitted for one claim is not done for another, and not to a host that was bound meanwhile.
func TestAnOrderIsForItsClaim(t *testing.T) {
	for name, change := range map[string]func(*Brief){
		"another claim": func(b *Brief) { b.ClaimID = "fedcba9876543210" },
		"bound":         func(b *Brief) { b.Facts.Bound = true },
		"unconfirmed":   func(b *Brief) { b.Facts.Claim = provision.ClaimUnconfirmed },
		"orphaned":      func(b *Brief) { b.Facts.Claim = provision.ClaimOrphanExpired },
		"paused":        func(b *Brief) { b.Facts.Paused = true },
		"quarantined":   func(b *Brief) { b.Facts.Quarantined = true },
		"nobody's":      func(b *Brief) { b.Facts.Claim, b.ClaimID = provision.ClaimNone, "" },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(ctx context.Context) {
				bmc := twoSlots(redfishfake.Options{Power: redfish.PowerOn})
				b := held()
				b.Facts.Inventoried = true
				r := newRig(ctx, bmc, b)
				if err := r.hands.Track(Tracking{Host: hostName, Namespace: "ns", Target: r.target(), Interval: func() time.Duration { return time.Minute }}); err != nil {
					t.Fatal(err)
				}
				r.change(change)
				r.hands.Submit(Order{Host: hostName, Namespace: "ns", Action: provision.ForceOff, Class: bmcqueue.ClassProvision, ClaimID: claimID, Settle: time.Minute,
					Brief: func(context.Context) (Brief, error) { return r.facts(), nil }})
				<-time.After(5 * time.Minute)
				if got := bmc.Changes(); len(got) != 0 {
					t.Errorf("changed: %v", got)
				}
				if s := r.gate.Status(hostName); s.State != bmcqueue.StateIdle || s.Outcome.Ending != bmcqueue.EndedSucceeded {
					t.Errorf("the order has not ended: %+v", s)
				}
			})
		})
	}
}

// A bound system that was installed boots from its disk, unarmed: that is counted, too, as its boots back off.
func TestABoundSystemsBootFromItsDiskIsRecorded(t *testing.T) {
	bubble(t, func(ctx context.Context) {
		bmc := twoSlots(redfishfake.Options{Power: redfish.PowerOff})
		b := held()
		b.Facts.Bound, b.Facts.Install = true, true
		r := newRig(ctx, bmc, b)
		r.until(t, time.Minute, func(d provision.Decision) bool {
			seen, _ := r.hands.Observed(hostName)
			return seen.State.Power == redfish.PowerOn
		})
		if seen, _ := r.hands.Observed(hostName); seen.Boots[claimID].IsZero() || bmc.Booted() != "disk" {
			t.Errorf("boots %v, booted from %q", seen.Boots, bmc.Booted())
		}
	})
}

// Power that is not settled is looked at ever less often, and no reset is sent meanwhile.
func TestUnclearPowerIsOnlyLookedAt(t *testing.T) {
	bubble(t, func(ctx context.Context) {
		bmc := twoSlots(redfishfake.Options{Power: redfish.PowerOff})
		bmc.SetPowerState(redfish.PowerUnknown)
		r := newRig(ctx, bmc, held())
		r.reconcile(t)
		for end := time.Now().Add(time.Hour); time.Now().Before(end); {
			select {
			case <-r.wake:
				r.reconcile(t)
			case <-time.After(time.Minute):
			}
		}
		if n := bmc.Calls()[redfishfake.OpState]; n < 60 || n > 140 {
			t.Errorf("%d looks in an hour, of which 60 are polls", n)
		}
		if got := bmc.Changes(); len(got) != 0 {
			t.Errorf("changed: %v", got)
		}
		bmc.SetPowerState(redfish.PowerOff)
		r.until(t, 10*time.Minute, state(provision.Booting))
	})
}

// A medium that a person put into an idle host is noticed, though an idle poll reads no slots.
func TestAnInsertedMediumIsNoticed(t *testing.T) {
	bubble(t, func(ctx context.Context) {
		bmc := twoSlots(redfishfake.Options{Power: redfish.PowerOff})
		r := newRig(ctx, bmc, unclaimed())
		r.until(t, time.Minute, state(provision.Available))
		bmc.SetSlot(full("CD1", "http://x/y.iso"))
		r.until(t, time.Hour, state(provision.NotEmpty))
	})
}

// What firmware lets go when power changes is not ejected, on the word of a reading from before.
func TestSlotsAreReadAgainAfterPowerChanged(t *testing.T) {
	bubble(t, func(ctx context.Context) {
		fake := redfishfake.New(redfishfake.Options{Power: redfish.PowerOn, Slots: []redfish.Slot{full("1", "http://x/y.iso")}})
		b := &tap{BMC: fake, lose: func(what string) error {
			if what == string(redfish.ResetForceOff) {
				fake.SetSlot(full("1", ""))
			}
			return nil
		}}
		brief := releasing()
		brief.Facts.Bound = false
		r := newTapped(ctx, b, brief)
		r.until(t, 10*time.Minute, released(r))
		if got := b.asked(); !slices.Equal(got, []string{"ForceOff"}) {
			t.Errorf("asked %v", got)
		}
	})
}

// I6: cutting power is decided without a look at the slots, and so proves nothing of them.
func TestTheSlotsAreReadBeforeAReleaseIsProven(t *testing.T) {
	bubble(t, func(ctx context.Context) {
		fake := redfishfake.New(redfishfake.Options{Power: redfish.PowerOn, Slots: []redfish.Slot{full("1", "")}})
		b := &tap{BMC: fake}
		brief := held()
		brief.Facts.Bound, brief.Facts.KeepOn = true, false
		r := newTapped(ctx, b, brief)
		r.until(t, time.Minute, state(provision.Provisioned))
		fake.SetSlot(full("1", "http://x/y.iso"))
		r.change(func(b *Brief) { b.Facts.Claim, b.Facts.Bound = provision.ClaimReleasing, false })
		r.until(t, 10*time.Minute, released(r))
		if got := b.asked(); !slices.Equal(got, []string{"ForceOff", "Eject 1"}) {
			t.Errorf("asked %v", got)
		}
	})
}

// A poll sees the server off before whoever asked it to shut down looks again. The release goes on at once, and does not wait for
// the end of the time that the shutdown had.
func TestAPollSeesTheShutdownFirst(t *testing.T) {
	bubble(t, func(ctx context.Context) {
		fake := redfishfake.New(redfishfake.Options{Power: redfish.PowerOn, Slots: []redfish.Slot{full("1", "http://x/y.iso")}})
		b := &tap{BMC: fake}
		brief := held()
		brief.Facts.Bound, brief.Facts.KeepOn = true, false
		r := newTapped(ctx, b, brief)
		r.shutdown = time.Hour
		r.until(t, time.Minute, state(provision.Provisioned))
		r.change(func(b *Brief) { b.Facts.Claim = provision.ClaimReleasing })
		asked := func(provision.Decision) bool {
			return slices.Contains(b.asked(), string(redfish.ResetGracefulShutdown))
		}
		r.until(t, time.Minute, asked)
		for s := r.gate.Status(hostName); s.State != bmcqueue.StateSettling || time.Until(s.NextAttempt) < 3*time.Second; s = r.gate.Status(hostName) {
			<-time.After(100 * time.Millisecond) // until the next look is far enough for a poll to come before it
		}
		fake.SetPowerState(redfish.PowerOff)
		r.gate.PollNow(hostName)
		synctest.Wait()
		if seen, _ := r.hands.Observed(hostName); seen.State.Power != redfish.PowerOff {
			t.Fatalf("power is seen as %s", seen.State.Power)
		}
		r.until(t, 2*time.Minute, released(r))
	})
}

// D5: the lease is lost while the operation reads: it changes nothing.
func TestTheLeaseIsLostInMidOperation(t *testing.T) {
	bubble(t, func(ctx context.Context) {
		fake := twoSlots(redfishfake.Options{Power: redfish.PowerOn})
		r := newRig(ctx, fake, held())
		if err := r.hands.Track(Tracking{Host: hostName, Namespace: "ns", Target: r.target(), Interval: func() time.Duration { return time.Minute }}); err != nil {
			t.Fatal(err)
		}
		brief := func(context.Context) (Brief, error) {
			r.mu.Lock()
			r.fence = false
			r.mu.Unlock()
			return r.facts(), nil
		}
		r.hands.Submit(Order{Host: hostName, Namespace: "ns", Action: provision.ForceOff, Class: bmcqueue.ClassProvision, ClaimID: claimID, Settle: time.Minute, Brief: brief})
		<-time.After(5 * time.Minute)
		if got := fake.Changes(); len(got) != 0 {
			t.Errorf("changed without the lease: %v", got)
		}
	})
}

// The address changes while the operation asks the API server: nothing is sent to the old one.
func TestTheAddressChangesInMidOperation(t *testing.T) {
	bubble(t, func(ctx context.Context) {
		r, first, second, _, letGo := twoServers(ctx, "none", releasing())
		close(letGo)
		first.PressPower()
		if err := r.hands.Track(Tracking{Host: hostName, Namespace: "ns", Target: r.target(), Interval: func() time.Duration { return time.Hour }}); err != nil {
			t.Fatal(err)
		}
		brief := func(context.Context) (Brief, error) {
			r.address = elsewhere
			err := r.hands.Track(Tracking{Host: hostName, Namespace: "ns", Target: r.target(), Interval: func() time.Duration { return time.Hour }})
			return r.facts(), err
		}
		r.hands.Submit(Order{Host: hostName, Namespace: "ns", Action: provision.ShutDown, Class: bmcqueue.ClassRelease, ClaimID: claimID, Shutdown: time.Minute, Brief: brief})
		<-time.After(5 * time.Minute)
		if n := len(first.Changes()) + len(second.Changes()); n != 0 {
			t.Errorf("changed: %v, %v", first.Changes(), second.Changes())
		}
	})
}

// What was observed for a claim goes with it.
func TestEndedClaimsAreForgotten(t *testing.T) {
	bubble(t, func(ctx context.Context) {
		bmc := twoSlots(redfishfake.Options{Power: redfish.PowerOff})
		r := newRig(ctx, bmc, held())
		for n := range 3 {
			r.until(t, 10*time.Minute, state(provision.Booting))
			if seen, _ := r.hands.Observed(hostName); len(seen.Boots) != 1 {
				t.Fatalf("tenancy %d: boots %v", n, seen.Boots)
			}
			r.change(func(b *Brief) { b.Facts.Claim, b.Facts.NodeSeen = provision.ClaimReleasing, true })
			r.until(t, 10*time.Minute, released(r))
			next := held()
			next.ClaimID = fmt.Sprintf("%016x", n)
			r.change(func(b *Brief) { *b = next })
		}
	})
}
