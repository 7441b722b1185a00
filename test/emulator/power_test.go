package emulator_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/beskar7/beskar7/test/emulator"
)

func TestPowerTakesTimeAndRefusesWhatChangesNothing(t *testing.T) {
	timings := quick
	timings.PowerOff = time.Hour // so that PoweringOff is there to be seen
	x := newBox(t, newFleet(t, emulator.Options{Timings: timings}), emulator.Spec{})
	equal(t, "ids", x.reset(409, "ForceOff").ids(), []string{"InvalidOperationForSystemState"})
	x.reset(409, "ForceRestart")
	x.reset(409, "GracefulShutdown")
	x.reset(204, "On")
	x.reset(409, "On")
	x.untilPower(emulator.On)
	equal(t, "PowerState", x.want(200, "GET", systemPath, nil).body["PowerState"], "On")
	x.reset(409, "On")
	x.untilBooted("Hdd")
	x.reset(204, "ForceOff")
	if p := x.State().Power; p != emulator.PoweringOff {
		t.Errorf("power %s right after ForceOff", p)
	}
	x.reset(409, "On")
	x.CutPower()
	equal(t, "log", x.log(emulator.EventPower, emulator.EventReset, emulator.EventBoot), []string{
		"reset:redfish:>On", "power:redfish:Off>PoweringOn", "power:redfish:PoweringOn>On", "boot:firmware:>Hdd",
		"reset:redfish:>ForceOff", "power:redfish:On>PoweringOff", "power:outside:PoweringOff>Off",
	})
	x.want(400, "POST", resetPath, obj{"ResetType": "Nmi"})
	x.want(400, "POST", resetPath, obj{})
	x.want(400, "POST", resetPath, obj{"ResetType": "On", "Delay": 1})
}

func TestGracefulShutdownNeedsAGuest(t *testing.T) {
	x := newBox(t, newFleet(t, emulator.Options{}), emulator.Spec{})
	x.reset(204, "On")
	x.untilBooted("Hdd")
	x.reset(204, "GracefulShutdown") // accepted, and nothing happens
	if s := x.State(); s.Power != emulator.On || s.GuestRunning {
		t.Fatalf("state %+v", s)
	}
	g := &obedient{}
	x.SetGuest(g)
	x.reset(204, "ForceRestart")
	x.until("guest", func(s emulator.State) bool { return s.GuestRunning })
	x.reset(204, "GracefulShutdown")
	x.untilPower(emulator.Off)
	x.reset(204, "On")
	x.until("guest", func(s emulator.State) bool { return s.GuestRunning })
	x.reset(204, "GracefulRestart")
	x.until("third boot of the guest", func(s emulator.State) bool { return s.GuestRunning && s.Boots == 4 })
	equal(t, "power", x.log(emulator.EventPower), []string{
		"power:redfish:Off>PoweringOn", "power:redfish:PoweringOn>On",
		"power:redfish:On>PoweringOff", "power:redfish:PoweringOff>Off",
		"power:redfish:Off>PoweringOn", "power:redfish:PoweringOn>On",
		"power:redfish:On>PoweringOff", "power:redfish:PoweringOff>Off",
		"power:redfish:Off>PoweringOn", "power:redfish:PoweringOn>On",
	})
}

func TestForcedOffCancelsTheGuestAndTheNextBootWaitsForIt(t *testing.T) {
	release, entered := make(chan struct{}), make(chan struct{}, 10)
	g := emulator.GuestFunc(func(ctx context.Context, b emulator.Boot) error {
		entered <- struct{}{}
		<-ctx.Done()
		<-release // a guest that is slow to notice
		return ctx.Err()
	})
	x := newBox(t, newFleet(t, emulator.Options{}), emulator.Spec{})
	x.SetGuest(g)
	x.reset(204, "On")
	<-entered
	x.reset(204, "ForceOff")
	x.untilPower(emulator.Off)
	x.reset(204, "On")
	x.untilPower(emulator.On)
	if s := x.State(); s.Boots != 1 || s.GuestRunning {
		t.Fatalf("booted while the former guest runs: %+v", s)
	}
	close(release)
	<-entered
	equal(t, "guest", x.log(emulator.EventGuestStart, emulator.EventGuestStop), []string{
		"guest-start:firmware:>", "guest-stop:guest:>", "guest-start:firmware:>"})
}

func TestGuestSwitchesOffOrRestartsItself(t *testing.T) {
	x := newBox(t, newFleet(t, emulator.Options{}), emulator.Spec{})
	n := 0
	x.SetGuest(emulator.GuestFunc(func(_ context.Context, b emulator.Boot) error {
		n++
		switch n {
		case 1:
			b.Disk.Put("installed", []byte("yes"))
			return emulator.ErrReboot
		case 2:
			if v, ok := b.Disk.Get("installed"); !ok || string(v) != "yes" {
				return errors.New("disk lost")
			}
			return emulator.ErrPowerOff
		}
		return nil
	}))
	x.reset(204, "On")
	x.until("off after two boots", func(s emulator.State) bool { return s.Power == emulator.Off && s.Boots == 2 })
	equal(t, "log", x.log(emulator.EventPower, emulator.EventReset)[3:], []string{
		"reset:guest:>reboot", "power:guest:On>PoweringOff", "power:guest:PoweringOff>Off"})
	x.reset(204, "On")
	x.until("third boot", func(s emulator.State) bool { return s.Boots == 3 && !s.GuestRunning })
	if p := x.State().Power; p != emulator.On {
		t.Errorf("a guest that just returns must leave the server on: %s", p)
	}
}

func TestButtonAndACLoss(t *testing.T) {
	g := &obedient{}
	x := newBox(t, newFleet(t, emulator.Options{}), emulator.Spec{InitialPower: "On"})
	x.untilBooted("Hdd")
	x.PressPower() // no system: off
	x.untilPower(emulator.Off)
	x.SetGuest(g)
	x.PressPower()
	x.until("guest", func(s emulator.State) bool { return s.GuestRunning })
	x.PressPower() // the system shuts down
	x.untilPower(emulator.Off)
	x.override("Cd", "Continuous")
	x.reset(204, "On")
	x.CutPower()
	s := x.State()
	if s.Power != emulator.Off || s.Override.Target != "Cd" || s.Override.Enabled != "Continuous" {
		t.Errorf("after AC loss: %+v", s)
	}
}

func TestPowerCycleComesBack(t *testing.T) {
	x := newBox(t, newFleet(t, emulator.Options{}), emulator.Spec{InitialPower: "On"})
	x.reset(204, "PowerCycle")
	x.until("boot after the cycle", func(s emulator.State) bool { return s.Power == emulator.On && s.Booted != "" })
	equal(t, "power", x.log(emulator.EventPower)[1:], []string{"power:redfish:On>PoweringOff",
		"power:redfish:PoweringOff>Off", "power:redfish:Off>PoweringOn", "power:redfish:PoweringOn>On"})
	// An AC loss while off is on its way ends the way back up.
	x.reset(204, "PowerCycle")
	x.CutPower()
	x.reset(204, "On")
	x.untilPower(emulator.On)
}
