package redfishtest

import (
	"testing"

	"github.com/beskar7/beskar7/pkg/redfish"
)

func startsOff(t *testing.T, w world) {
	s := w.state(t)
	if s.Power != redfish.PowerOff || s.Boot.Armed() {
		t.Fatalf("state %+v, want off and disarmed", s)
	}
}

func onAndForcedOff(t *testing.T, w world) {
	w.on(t)
	must(t, w.Reset(t.Context(), redfish.ResetForceOff))
	w.untilPower(t, redfish.PowerOff)
}

func onWhileOn(t *testing.T, w world) {
	w.on(t)
	if err := w.Reset(t.Context(), redfish.ResetOn); err != nil {
		wantKind(t, err, redfish.KindConflict)
	}
	if s := w.state(t); s.Power != redfish.PowerOn {
		t.Fatalf("power %s", s.Power)
	}
}

func offWhileOff(t *testing.T, w world) {
	if err := w.Reset(t.Context(), redfish.ResetForceOff); err != nil {
		wantKind(t, err, redfish.KindConflict)
	}
	startsOff(t, w)
}

func gracefulWithSystem(t *testing.T, w world) {
	w.on(t)
	w.control.SetOSUp(true)
	must(t, w.Reset(t.Context(), redfish.ResetGracefulShutdown))
	w.untilPower(t, redfish.PowerOff)
}

// gracefulWithoutSystem: nothing happens, and force still works.
func gracefulWithoutSystem(t *testing.T, w world) {
	w.on(t)
	w.control.SetOSUp(false)
	if err := w.Reset(t.Context(), redfish.ResetGracefulShutdown); err != nil {
		wantKind(t, err, redfish.KindConflict)
	}
	for range 5 {
		w.control.Advance(t.Context())
		if s := w.state(t); s.Power != redfish.PowerOn {
			t.Fatalf("power %s", s.Power)
		}
	}
	must(t, w.Reset(t.Context(), redfish.ResetForceOff))
	w.untilPower(t, redfish.PowerOff)
}

func powerChangedByOthers(t *testing.T, w world) {
	startsOff(t, w)
	w.control.PressPower()
	w.untilPower(t, redfish.PowerOn)
}

func unknownResetType(t *testing.T, w world) {
	wantKind(t, w.Reset(t.Context(), redfish.ResetType("Explode")), redfish.KindUnsupported)
	startsOff(t, w)
}

func bootOnce(t *testing.T, w world) {
	must(t, w.SetBootOnce(t.Context(), redfish.BootCD))
	if s := w.state(t); !s.Boot.ArmedFrom(redfish.BootCD) || !s.Boot.Armed() || s.Power != redfish.PowerOff {
		t.Fatalf("state %+v, want once from CD and off", s)
	}
}

func bootOnceUsedUp(t *testing.T, w world) {
	id := w.cd(t).ID
	must(t, w.Insert(t.Context(), id, w.control.ImageURL()))
	must(t, w.SetBootOnce(t.Context(), redfish.BootCD))
	w.on(t)
	w.until(t, "disarmed", func(s redfish.State) bool { return !s.Boot.Armed() })
}

func clearBoot(t *testing.T, w world) {
	must(t, w.SetBootOnce(t.Context(), redfish.BootCD))
	must(t, w.ClearBoot(t.Context()))
	if s := w.state(t); s.Boot.Armed() {
		t.Fatalf("override %+v after ClearBoot", s.Boot)
	}
	must(t, w.ClearBoot(t.Context()))
}

func unknownBootDevice(t *testing.T, w world) {
	wantKind(t, w.SetBootOnce(t.Context(), redfish.BootDevice("Toaster")), redfish.KindUnsupported)
	startsOff(t, w)
}

func slots(t *testing.T, w world) {
	seen := map[string]bool{}
	for _, s := range w.slots(t) {
		if s.ID == "" || seen[s.ID] {
			t.Errorf("slot id %q empty or twice", s.ID)
		}
		seen[s.ID] = true
		if !s.Empty() {
			t.Errorf("slot not empty at the start: %+v", s)
		}
	}
	again := w.slots(t)
	for _, s := range again {
		if !seen[s.ID] {
			t.Errorf("slot id %q is new in the second reading", s.ID)
		}
	}
	w.cd(t)
}

func insertAndEject(t *testing.T, w world) {
	id, image := w.cd(t).ID, w.control.ImageURL()
	for range 2 {
		must(t, w.Insert(t.Context(), id, image))
		full := w.untilSlot(t, id, "inserted", func(s redfish.Slot) bool { return s.Inserted })
		if full.Image != image || full.Empty() {
			t.Fatalf("slot %+v, want the image", full)
		}
		must(t, w.Eject(t.Context(), id))
		w.untilSlot(t, id, "empty", redfish.Slot.Empty)
	}
}

func ejectEmpty(t *testing.T, w world) {
	id := w.cd(t).ID
	if err := w.Eject(t.Context(), id); err != nil {
		wantKind(t, err, redfish.KindConflict, redfish.KindProtocol)
	}
	if s := w.slot(t, id); !s.Empty() {
		t.Fatalf("slot %+v", s)
	}
}

func unknownSlot(t *testing.T, w world) {
	wantKind(t, w.Insert(t.Context(), "no-such-slot", w.control.ImageURL()), redfish.KindNotFound)
	wantKind(t, w.Eject(t.Context(), "no-such-slot"), redfish.KindNotFound)
}
