package actuator

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/beskar7/beskar7/pkg/bootmedia"
	"github.com/beskar7/beskar7/pkg/coordinator/bmcqueue"
	"github.com/beskar7/beskar7/pkg/provision"
	"github.com/beskar7/beskar7/pkg/redfish"
	"github.com/beskar7/beskar7/pkg/redfish/redfishfake"
)

// theBoot is what provisioning an off, empty host changes, in this order (D11).
var theBoot = []redfishfake.Op{redfishfake.OpInsert, redfishfake.OpInsert, redfishfake.OpSetBootOnce, redfishfake.OpReset}

func twoSlots(o redfishfake.Options) *redfishfake.BMC {
	if o.Slots == nil {
		o.Slots = []redfish.Slot{{ID: "CD1", Types: []string{"CD"}, CanInsert: true}, {ID: "CD2", Types: []string{"CD", "USBStick"}, CanInsert: true}}
	}
	return redfishfake.New(o)
}

func TestBootsAndReleases(t *testing.T) {
	bubble(t, func(ctx context.Context) {
		bmc := twoSlots(redfishfake.Options{Power: redfish.PowerOff, Steps: 2})
		r := newRig(ctx, bmc, held())
		r.until(t, 10*time.Minute, state(provision.Booting))
		if got := bmc.Changes(); !slices.Equal(got, theBoot) {
			t.Errorf("booting changed %v, want %v", got, theBoot)
		}
		if seen, _ := r.hands.Observed(hostName); seen.Boots[claimID].IsZero() {
			t.Error("the boot was not recorded")
		}
		r.change(func(b *Brief) { b.Facts.NodeSeen = true })
		r.until(t, time.Minute, state(provision.Provisioned))
		if n := len(bmc.Changes()); n != len(theBoot) {
			t.Errorf("I5: a bound host was changed: %v", bmc.Changes())
		}
		r.change(func(b *Brief) { b.Facts.Claim = provision.ClaimReleasing })
		bmc.SetOSUp(true)
		r.until(t, 10*time.Minute, func(d provision.Decision) bool {
			return d.State != provision.Releasing && d.State != provision.Provisioned
		})
		if s := stateOf(t, bmc); s.Power != redfish.PowerOff || s.Boot.Armed() {
			t.Errorf("released as %+v", s)
		}
		for _, slot := range slotsOf(t, bmc) {
			if !slot.Empty() {
				t.Errorf("released with %q in %s", slot.ImageName, slot.ID)
			}
		}
	})
}

func stateOf(t *testing.T, b *redfishfake.BMC) redfish.State {
	t.Helper()
	s, err := b.State(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func slotsOf(t *testing.T, b *redfishfake.BMC) []redfish.Slot {
	t.Helper()
	s, err := b.Slots(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A deaf system is given its time, then power is cut.
func TestGracefulShutdownThatIsNotObeyed(t *testing.T) {
	bubble(t, func(ctx context.Context) {
		bmc := twoSlots(redfishfake.Options{Power: redfish.PowerOn})
		b := held()
		b.Facts.Claim, b.Facts.Bound = provision.ClaimReleasing, true
		r := newRig(ctx, bmc, b)
		began := time.Now()
		r.until(t, 10*time.Minute, func(provision.Decision) bool { return r.facts().Facts.Claim == provision.ClaimNone })
		if took := time.Since(began); took < 30*time.Second {
			t.Errorf("power was cut after %s: the system had no time to shut down", took)
		}
		if got, want := bmc.Changes(), []redfishfake.Op{redfishfake.OpReset, redfishfake.OpReset}; !slices.Equal(got, want) {
			t.Errorf("changes %v, want a graceful and a forced one", got)
		}
	})
}

// D4: what was decided is decided again when its turn comes, and dropped if the answer has changed.
func TestStaleDecisionIsDropped(t *testing.T) {
	bubble(t, func(ctx context.Context) {
		bmc := twoSlots(redfishfake.Options{Power: redfish.PowerOn})
		r := newRig(ctx, bmc, Brief{Facts: provision.Facts{Claim: provision.ClaimNone, Report: provision.ReportNone, Inventoried: true}})
		r.until(t, time.Minute, state(provision.PoweredOn))
		r.hands.Submit(Order{Host: hostName, Namespace: "ns", Action: provision.ForceOff, Class: bmcqueue.ClassRelease, Settle: time.Second,
			Brief: func(context.Context) (Brief, error) { return r.facts(), nil }})
		<-time.After(10 * time.Second) // virtual: the operation has had its turn
		if got := bmc.Changes(); len(got) != 0 {
			t.Errorf("I4: an unclaimed host was changed: %v", got)
		}
	})
}

// A BMC that says yes and does nothing is found out, said so, and asked again.
func TestLyingBMC(t *testing.T) {
	bubble(t, func(ctx context.Context) {
		bmc := twoSlots(redfishfake.Options{Power: redfish.PowerOff})
		lies := 1
		bmc.SetLie(func(op redfishfake.Op) bool {
			if op == redfishfake.OpSetBootOnce && lies > 0 {
				lies--
				return true
			}
			return false
		})
		r := newRig(ctx, bmc, held())
		told := false
		r.until(t, 20*time.Minute, func(d provision.Decision) bool {
			seen, _ := r.hands.Observed(hostName)
			told = told || r.gate.Status(hostName).LastError != "" || seen.Failure != nil
			return d.State == provision.Booting
		})
		if !told || lies != 0 {
			t.Errorf("told %v, lies left %d: the override that was not there went unnoticed", told, lies)
		}
	})
}

// I10: the reply to any one call is lost, before or after it took effect, and the host ends the same, nothing done twice.
func TestAnyOneCallLost(t *testing.T) {
	for _, applied := range []bool{false, true} {
		for n := 1; n <= 40; n++ {
			bubble(t, func(ctx context.Context) {
				bmc := twoSlots(redfishfake.Options{Power: redfish.PowerOff})
				calls := 0
				bmc.SetFault(func(_ context.Context, op redfishfake.Op) error {
					if calls++; calls != n || applied && op != redfishfake.OpState {
						return nil
					}
					return &redfish.Error{Kind: redfish.KindUnreachable, Op: string(op), Message: "cut off", Err: errors.New("cut off")}
				})
				r := newRig(ctx, bmc, held())
				r.until(t, 30*time.Minute, state(provision.Booting))
				if got := bmc.Changes(); !slices.Equal(got, theBoot) {
					t.Errorf("call %d lost: changes %v, want %v", n, got, theBoot)
				}
			})
		}
	}
}

// A new process, which knows nothing, goes on from what the BMC says, at every point of the way.
func TestAnyCrash(t *testing.T) {
	for n := int32(1); n <= 40; n += 2 {
		bubble(t, func(ctx context.Context) {
			bmc := twoSlots(redfishfake.Options{Power: redfish.PowerOff})
			first, crash := context.WithCancel(ctx)
			var calls atomic.Int32
			bmc.SetFault(func(context.Context, redfishfake.Op) error {
				if calls.Add(1) == n {
					crash()
				}
				return nil
			})
			r := newRig(first, bmc, held())
			for first.Err() == nil && r.facts().Facts.Claim == provision.ClaimHeld && calls.Load() < n {
				if d := r.reconcile(t); d.State == provision.Booting {
					break
				}
				<-time.After(time.Second)
				bmc.Step()
			}
			crash()
			bmc.SetFault(nil)
			b := r.facts()
			b.URLs = nil // the token was in memory
			if b.Facts.Content == provision.ContentReady {
				b.Facts.Content = provision.ContentNoToken
			}
			newRig(ctx, bmc, b).until(t, 30*time.Minute, state(provision.Booting))
			if s := stateOf(t, bmc); s.Power != redfish.PowerOn {
				t.Errorf("crash at call %d: the host is %s", n, s.Power)
			}
			if resets := count(bmc.Changes(), redfishfake.OpReset); resets != 1 {
				t.Errorf("crash at call %d: %d power changes, want 1: %v", n, resets, bmc.Changes())
			}
		})
	}
}

func count(ops []redfishfake.Op, op redfishfake.Op) (n int) {
	for _, o := range ops {
		if o == op {
			n++
		}
	}
	return n
}

// A refused log-in is tried once, not again until something changes, and then once.
func TestRefusedLogin(t *testing.T) {
	bubble(t, func(ctx context.Context) {
		bmc := twoSlots(redfishfake.Options{Power: redfish.PowerOff})
		tries, refuse := 0, true
		bmc.SetFault(func(_ context.Context, op redfishfake.Op) error {
			if tries++; refuse {
				return &redfish.Error{Kind: redfish.KindUnauthorized, LoginFailed: true, Op: string(op), Message: "refused"}
			}
			return nil
		})
		r := newRig(ctx, bmc, held())
		r.reconcile(t)
		<-time.After(50 * time.Minute)
		r.reconcile(t)
		if tries != 1 {
			t.Fatalf("%d tries with a refused password, want 1", tries)
		}
		if seen, _ := r.hands.Observed(hostName); seen.Failure == nil || !seen.Failure.LoginFailed {
			t.Errorf("the failure is not told: %+v", seen.Failure)
		}
		refuse = false
		r.hands.RetryNow(hostName)
		r.until(t, 10*time.Minute, state(provision.Booting))
		if r.forgets == 0 {
			t.Error("the refused client was not dropped: it would have refused by itself")
		}
	})
}

// What an endpoint refused to a host that is no more, such as one whose Secret was deleted and made anew, does not hold back the
// next; what it refused to a host that is still there does, also under another name.
func TestRefusedLoginOfAHostThatIsNoMore(t *testing.T) {
	bubble(t, func(ctx context.Context) {
		bmc := twoSlots(redfishfake.Options{Power: redfish.PowerOff})
		tries, refuse := 0, true
		bmc.SetFault(func(_ context.Context, op redfishfake.Op) error {
			if tries++; refuse {
				return &redfish.Error{Kind: redfish.KindUnauthorized, LoginFailed: true, Op: string(op), Message: "refused"}
			}
			return nil
		})
		r := newRig(ctx, bmc, Brief{Facts: provision.Facts{Claim: provision.ClaimNone, Report: provision.ReportNone}})
		r.reconcile(t)
		<-time.After(time.Minute)
		if err := r.hands.Track(Tracking{Host: "ns/other", Namespace: "ns", Target: r.target(), Interval: func() time.Duration { return time.Minute }}); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Minute)
		if tries != 1 {
			t.Fatalf("%d tries with a refused password, want 1", tries)
		}
		refuse = false
		r.hands.Forget(hostName)
		r.hands.Forget("ns/other")
		r.until(t, 10*time.Minute, state(provision.Available))
	})
}

// Without the lease nothing is changed.
func TestLostLease(t *testing.T) {
	bubble(t, func(ctx context.Context) {
		bmc := twoSlots(redfishfake.Options{Power: redfish.PowerOff})
		r := newRig(ctx, bmc, held())
		r.mu.Lock()
		r.fence = false
		r.mu.Unlock()
		for range 20 {
			r.reconcile(t)
			<-time.After(10 * time.Second)
		}
		if got := bmc.Changes(); len(got) != 0 {
			t.Errorf("changed without the lease: %v", got)
		}
	})
}

// An idle poll is one request; the slots are read again only when power or override changed.
func TestIdlePollIsOneRequest(t *testing.T) {
	bubble(t, func(ctx context.Context) {
		bmc := twoSlots(redfishfake.Options{Power: redfish.PowerOff})
		r := newRig(ctx, bmc, Brief{Facts: provision.Facts{Claim: provision.ClaimNone, Report: provision.ReportNone}})
		r.until(t, 10*time.Minute, state(provision.Available))
		before := bmc.Calls()
		<-time.After(10*time.Minute + 30*time.Second)
		after := bmc.Calls()
		if polls := after[redfishfake.OpState] - before[redfishfake.OpState]; polls < 8 || polls > 12 {
			t.Errorf("%d polls in ten minutes of one each", polls)
		}
		if after[redfishfake.OpSlots] != before[redfishfake.OpSlots] {
			t.Error("an idle poll read the slots")
		}
		bmc.PressPower()
		bmc.Step()
		r.until(t, 5*time.Minute, state(provision.PoweredOn))
	})
}

func TestTrack(t *testing.T) {
	bubble(t, func(ctx context.Context) {
		bmc := twoSlots(redfishfake.Options{Power: redfish.PowerOff})
		r := newRig(ctx, bmc, Brief{Facts: provision.Facts{Claim: provision.ClaimNone, Report: provision.ReportNone}})
		r.until(t, 10*time.Minute, state(provision.Available))
		tracking := Tracking{Host: hostName, Namespace: "ns", Target: r.target(), Interval: func() time.Duration { return time.Minute }}
		tracking.Target.Password = "other"
		if err := r.hands.Track(tracking); err != nil {
			t.Fatal(err)
		}
		if seen, _ := r.hands.Observed(hostName); seen.At.IsZero() {
			t.Error("a new password is the same server: what was observed holds")
		}
		tracking.Target.Address = "https://192.0.2.2"
		if err := r.hands.Track(tracking); err != nil {
			t.Fatal(err)
		}
		if seen, _ := r.hands.Observed(hostName); !seen.At.IsZero() {
			t.Error("a new address may be another server: nothing of what was observed holds")
		}
	})
}

func TestMediaAreJudgedByTheRecordedHash(t *testing.T) {
	token, err := bootmedia.NewToken()
	if err != nil {
		t.Fatal(err)
	}
	other, err := bootmedia.NewToken()
	if err != nil {
		t.Fatal(err)
	}
	slot := func(id, url string) redfish.Slot {
		return redfish.Slot{ID: id, Types: []string{"CD"}, CanInsert: true, Inserted: url != "", Image: url}
	}
	boot, config := bootmedia.BootURL("https://m", token), bootmedia.ConfigURL("https://m", token)
	b := held()
	b.Hash = token.Hash()
	for name, c := range map[string]struct {
		slots []redfish.Slot
		want  provision.Media
	}{
		"not read":            {nil, provision.MediaUnknown},
		"empty":               {[]redfish.Slot{slot("1", ""), slot("2", "")}, provision.MediaNone},
		"config only":         {[]redfish.Slot{slot("1", ""), slot("2", config)}, provision.MediaPartial},
		"both":                {[]redfish.Slot{slot("1", boot), slot("2", config)}, provision.MediaOurs},
		"both, exchanged":     {[]redfish.Slot{slot("1", config), slot("2", boot)}, provision.MediaOther},
		"of another token":    {[]redfish.Slot{slot("1", bootmedia.BootURL("https://m", other)), slot("2", config)}, provision.MediaOther},
		"a stranger's":        {[]redfish.Slot{slot("1", "http://x/y.iso"), slot("2", "")}, provision.MediaOther},
		"name without an URL": {[]redfish.Slot{{ID: "1", Types: []string{"CD"}, CanInsert: true, ImageName: "stale.iso"}, slot("2", "")}, provision.MediaOther},
	} {
		if got := Complete(b, Observation{Slots: c.slots}).Media; got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}
