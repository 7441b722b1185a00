package redfishtest

import (
	"context"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/beskar7/beskar7/pkg/redfish"
)

// Control is the world around the BMC under test. The server starts off, with
// empty media slots and no boot override.
type Control interface {
	// ImageURL is an ISO image that the BMC can fetch.
	ImageURL() string
	// PressPower is somebody at the machine.
	PressPower()
	// SetOSUp makes an operating system listen, or not, to graceful shutdowns of
	// the server while it is on.
	SetOSUp(up bool)
	// Advance lets a little time pass: power transitions move on.
	Advance(ctx context.Context)
}

// patience bounds the wait for an effect.
const patience = 20 * time.Second

type world struct {
	redfish.BMC
	control Control
}

// Run runs the suite. Every subtest gets a server of its own from start.
func Run(t *testing.T, start func(t *testing.T) (redfish.BMC, Control)) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, world){
		"endpoint is canonical":            endpointIsCanonical,
		"starts off and disarmed":          startsOff,
		"on and forced off":                onAndForcedOff,
		"on while on changes nothing":      onWhileOn,
		"off while off changes nothing":    offWhileOff,
		"graceful shutdown with a system":  gracefulWithSystem,
		"graceful shutdown without one":    gracefulWithoutSystem,
		"power changed by others is seen":  powerChangedByOthers,
		"unknown reset type":               unknownResetType,
		"boot once is read back":           bootOnce,
		"boot once is used up by the boot": bootOnceUsedUp,
		"clear boot":                       clearBoot,
		"unknown boot device":              unknownBootDevice,
		"slots":                            slots,
		"one slot":                         oneSlot,
		"insert and eject":                 insertAndEject,
		"eject an empty slot":              ejectEmpty,
		"unknown slot":                     unknownSlot,
		"image that is no URL":             imageNoURL,
		"identity":                         identity,
		"hardware":                         hardware,
		"ended context":                    endedContext,
		"concurrent reads see one server":  concurrentReads,
	} {
		t.Run(name, func(t *testing.T) {
			bmc, control := start(t)
			test(t, world{bmc, control})
		})
	}
	for _, operation := range Operations() {
		t.Run("operation "+operation.Name, func(t *testing.T) {
			bmc, control := start(t)
			if o := operation.Conduct(t.Context(), Harness{BMC: bmc, Control: control}); o.Verdict != Passed {
				t.Fatalf("%s: %s", o.Verdict, o.Words)
			}
		})
	}
}

func (w world) state(t *testing.T) redfish.State {
	t.Helper()
	s, err := w.State(t.Context())
	if err != nil {
		t.Fatalf("State: %v", err)
	}
	return s
}

// until waits until the state is as wanted.
func (w world) until(t *testing.T, what string, wanted func(redfish.State) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var last redfish.State
	for ctx.Err() == nil {
		if last = w.state(t); wanted(last) {
			return
		}
		w.control.Advance(ctx)
	}
	t.Fatalf("not %s within %s, last state %+v", what, patience, last)
}

func (w world) untilPower(t *testing.T, p redfish.PowerState) {
	t.Helper()
	w.until(t, string(p), func(s redfish.State) bool { return s.Power == p })
}

func (w world) on(t *testing.T) {
	t.Helper()
	must(t, w.Reset(t.Context(), redfish.ResetOn))
	w.untilPower(t, redfish.PowerOn)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantKind(t *testing.T, err error, kinds ...redfish.Kind) {
	t.Helper()
	for _, k := range kinds {
		if redfish.KindOf(err) == k {
			return
		}
	}
	t.Fatalf("kind %q (%v), want one of %v", redfish.KindOf(err), err, kinds)
}

// cd is the first slot an ISO can be booted from.
func (w world) cd(t *testing.T) redfish.Slot {
	t.Helper()
	for _, s := range w.slots(t) {
		if s.Bootable() && s.CanInsert {
			return s
		}
	}
	t.Fatal("no bootable slot takes an image")
	return redfish.Slot{}
}

func (w world) slots(t *testing.T) []redfish.Slot {
	t.Helper()
	all, err := w.Slots(t.Context())
	must(t, err)
	return all
}

func (w world) slot(t *testing.T, id string) redfish.Slot {
	t.Helper()
	for _, s := range w.slots(t) {
		if s.ID == id {
			return s
		}
	}
	t.Fatalf("slot %q is gone", id)
	return redfish.Slot{}
}

// untilSlot waits for the slot: some BMCs mount asynchronously.
func (w world) untilSlot(t *testing.T, id, what string, wanted func(redfish.Slot) bool) redfish.Slot {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		s := w.slot(t, id)
		if wanted(s) {
			return s
		}
		if ctx.Err() != nil {
			t.Fatalf("slot not %s within %s: %+v", what, patience, s)
		}
		w.control.Advance(ctx)
	}
}

func endpointIsCanonical(t *testing.T, w world) {
	key, err := redfish.EndpointKey(w.Endpoint())
	must(t, err)
	if key != w.Endpoint() {
		t.Errorf("Endpoint %q, canonical is %q", w.Endpoint(), key)
	}
	if u, err := url.Parse(w.Endpoint()); err != nil || u.Port() == "" {
		t.Errorf("Endpoint %q has no port", w.Endpoint())
	}
}

// oneSlot: a slot says the same alone as among all, whatever is in it.
func oneSlot(t *testing.T, w world) {
	same := func() {
		t.Helper()
		for _, s := range w.slots(t) {
			alone, err := w.Slot(t.Context(), s.ID)
			if must(t, err); !reflect.DeepEqual(alone, s) {
				t.Errorf("alone %+v, among all %+v", alone, s)
			}
		}
	}
	id := w.cd(t).ID
	same()
	must(t, w.Insert(t.Context(), id, w.control.ImageURL()))
	w.untilSlot(t, id, "inserted", func(s redfish.Slot) bool { return s.Inserted && !s.Mounting })
	same()
	must(t, w.Eject(t.Context(), id))
	w.untilSlot(t, id, "empty", redfish.Slot.Empty)
	same()
	if _, err := w.Slot(t.Context(), "no such slot"); redfish.KindOf(err) != redfish.KindNotFound {
		t.Errorf("a slot that is not there: %v", err)
	}
}

func imageNoURL(t *testing.T, w world) {
	id := w.cd(t).ID
	for _, image := range []string{"", "image.iso", "file:///etc/passwd"} {
		if err := w.Insert(t.Context(), id, image); redfish.KindOf(err) != redfish.KindUnsupported {
			t.Errorf("Insert of %q: %v", image, err)
		}
	}
	if s := w.slot(t, id); !s.Empty() {
		t.Errorf("slot not empty: %+v", s)
	}
}

func identity(t *testing.T, w world) {
	id, err := w.Identify(t.Context())
	must(t, err)
	state := w.state(t)
	if id.SystemUUID == "" || id.SystemUUID != state.SystemUUID {
		t.Errorf("UUID %q, State has %q", id.SystemUUID, state.SystemUUID)
	}
	if id.SerialNumber != state.Serial {
		t.Errorf("serial %q, State has %q", id.SerialNumber, state.Serial)
	}
	for name, v := range map[string]string{"vendor": id.Vendor, "manufacturer": id.Manufacturer, "model": id.Model,
		"firmware": id.FirmwareVersion, "Redfish version": id.RedfishVersion, "system id": id.SystemID, "manager id": id.ManagerID} {
		if v == "" {
			t.Errorf("no %s", name)
		}
	}
	if len(id.MediaSlots) != len(w.slots(t)) {
		t.Errorf("%d media slots, Slots has %d", len(id.MediaSlots), len(w.slots(t)))
	}
	if len(id.Problems) > 0 {
		t.Errorf("problems with a BMC that lacks nothing: %q", id.Problems)
	}
	if caps := strings.Join(id.Capabilities, " "); !strings.Contains(caps, redfish.CapabilityBootOnceCD) {
		t.Errorf("capabilities %q", caps)
	}
}

func hardware(t *testing.T, w world) {
	hw, err := w.Hardware(t.Context())
	must(t, err)
	if hw.CPU.Cores < 1 || hw.CPU.Threads < hw.CPU.Cores || hw.CPU.Sockets < 1 {
		t.Errorf("CPU %+v", hw.CPU)
	}
	if hw.CPU.Architecture != "amd64" && hw.CPU.Architecture != "arm64" {
		t.Errorf("architecture %q", hw.CPU.Architecture)
	}
	if hw.MemoryBytes < 1<<30 {
		t.Errorf("memory %d", hw.MemoryBytes)
	}
	if len(hw.Disks) == 0 || hw.Disks[0].Bytes <= 0 || hw.Disks[0].Name == "" {
		t.Errorf("disks %+v", hw.Disks)
	}
	if len(hw.NICs) == 0 || hw.NICs[0].MAC != strings.ToLower(hw.NICs[0].MAC) || strings.Count(hw.NICs[0].MAC, ":") != 5 {
		t.Errorf("NICs %+v", hw.NICs)
	}
}

func endedContext(t *testing.T, w world) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	id := w.cd(t).ID
	for name, call := range map[string]func() error{
		"State":       func() error { _, err := w.State(ctx); return err },
		"Reset":       func() error { return w.Reset(ctx, redfish.ResetOn) },
		"SetBootOnce": func() error { return w.SetBootOnce(ctx, redfish.BootCD) },
		"ClearBoot":   func() error { return w.ClearBoot(ctx) },
		"Slots":       func() error { _, err := w.Slots(ctx); return err },
		"Slot":        func() error { _, err := w.Slot(ctx, id); return err },
		"Insert":      func() error { return w.Insert(ctx, id, w.control.ImageURL()) },
		"Eject":       func() error { return w.Eject(ctx, id) },
		"Identify":    func() error { _, err := w.Identify(ctx); return err },
		"Hardware":    func() error { _, err := w.Hardware(ctx); return err },
	} {
		if err := call(); redfish.KindOf(err) != redfish.KindCanceled {
			t.Errorf("%s with an ended context: %v", name, err)
		}
	}
	startsOff(t, w)
	if s := w.slot(t, id); !s.Empty() {
		t.Errorf("slot not empty: %+v", s)
	}
}

func concurrentReads(t *testing.T, w world) {
	first := w.state(t)
	const readers = 8
	errs := make(chan error, readers)
	for range readers {
		go func() {
			s, err := w.State(t.Context())
			if err == nil && s.SystemUUID != first.SystemUUID {
				t.Errorf("UUID %q, want %q", s.SystemUUID, first.SystemUUID)
			}
			errs <- err
		}()
	}
	for range readers {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}
