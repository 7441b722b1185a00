package redfishtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/beskar7/beskar7/pkg/redfish"
)

// Harness is one server under test with the world around it. The server starts
// off, with empty media slots and no boot override, unless DryRun is set.
type Harness struct {
	BMC     redfish.BMC
	Control Control
	// DryRun: nothing is changed, only what reads is tried; Control is not used.
	DryRun bool
	// Patience bounds the wait for each effect; 0 is 20 s.
	Patience time.Duration
}

// Operation is one thing that a driver must bring about on a BMC, by the name
// that people have for it.
type Operation struct {
	Name string
	// Want is what must have been read back for the operation to count.
	Want string
	// Changes: it is not tried in a dry run.
	Changes bool

	conduct func(ctx context.Context, w *bench) (words string, err error)
}

// Verdict is how an operation came out.
type Verdict string

// The verdicts.
const (
	Passed   Verdict = "passed"
	Failed   Verdict = "failed"
	NotTried Verdict = "not tried"
)

// Outcome is what became of an operation, in words that do not depend on how
// fast the BMC was.
type Outcome struct {
	Operation string
	Verdict   Verdict
	Words     string
	// Err is why it failed, Kind its kind if the BMC or the driver said so.
	Err  error
	Kind redfish.Kind
}

// Operations lists them in the order of a server's life. Each brings about what
// it needs, so that any of them can be conducted alone on a fresh server.
func Operations() []Operation {
	return []Operation{
		{"enrol", "identity, inventory and media slots are read", false, enrol},
		{"insert", "the slot shows our image, inserted", true, insert},
		{"boot once", "the override shows once from the virtual CD", true, bootFromCD},
		{"power on", "power On, and the override is used up", true, powerOn},
		{"graceful off", "power Off by the system's own doing", true, gracefulOff},
		{"forced off", "power Off", true, forcedOff},
		{"eject", "the slot shows nothing", true, eject},
		{"release", "off, empty and disarmed, from running with our medium in", true, release},
	}
}

// Conduct brings the operation about on the server and says what became of it.
func (o Operation) Conduct(ctx context.Context, h Harness) Outcome {
	out := Outcome{Operation: o.Name, Verdict: Passed}
	if o.Changes && h.DryRun {
		out.Verdict, out.Words = NotTried, "it changes the server"
		return out
	}
	w := &bench{BMC: h.BMC, control: h.Control, patience: h.Patience}
	if w.patience <= 0 {
		w.patience = patience
	}
	words, err := o.conduct(ctx, w)
	out.Words = words
	if err != nil {
		out.Verdict, out.Words, out.Err, out.Kind = Failed, err.Error(), err, redfish.KindOf(err)
	}
	return out
}

// bench is the harness while an operation is under way.
type bench struct {
	redfish.BMC
	control  Control
	patience time.Duration
}

// errNoEffect: every request was taken, and what was wanted did not come.
var errNoEffect = errors.New("the effect was not to be read")

// change makes a changing request. A busy BMC is asked again; a conflict may mean
// that it is so already, which reading back tells.
func (w *bench) change(ctx context.Context, request func(context.Context) error) error {
	within, cancel := context.WithTimeout(ctx, w.patience)
	defer cancel()
	for {
		err := request(ctx)
		switch redfish.KindOf(err) {
		case redfish.KindBusy:
			if within.Err() != nil {
				return err
			}
			w.control.Advance(within)
		case redfish.KindConflict:
			return nil
		default:
			return err
		}
	}
}

// until reads until what is wanted shows.
func (w *bench) until(ctx context.Context, what string, shows func(context.Context) (bool, error)) error {
	within, cancel := context.WithTimeout(ctx, w.patience)
	defer cancel()
	for {
		ok, err := shows(ctx)
		if ok {
			return nil
		}
		if err != nil && redfish.KindOf(err) != redfish.KindBusy {
			return err
		}
		if within.Err() != nil {
			return fmt.Errorf("%s: %w", what, errNoEffect)
		}
		w.control.Advance(within)
	}
}

func (w *bench) untilState(ctx context.Context, what string, wanted func(redfish.State) bool) error {
	return w.until(ctx, what, func(ctx context.Context) (bool, error) {
		s, err := w.State(ctx)
		return err == nil && wanted(s), err
	})
}

func (w *bench) untilSlot(ctx context.Context, id, what string, wanted func(redfish.Slot) bool) error {
	return w.until(ctx, what, func(ctx context.Context) (bool, error) {
		s, err := w.Slot(ctx, id)
		switch {
		case redfish.KindOf(err) == redfish.KindNotFound:
			return false, nil
		case err != nil:
			return false, err
		case s.Problem != "":
			return false, errors.New(s.Problem)
		}
		return wanted(s), nil
	})
}

// tries is how often a request is made whose effect does not come: a BMC may
// refuse it as a conflict for a while, and a driver may need several forms of it,
// each of which the BMC can take without doing anything.
const tries = 5

// effect makes the request and waits for its effect, again and again.
func (w *bench) effect(ctx context.Context, what string, request func(context.Context) error, wanted func(redfish.State) bool) error {
	part := *w
	part.patience = w.patience / tries
	var err error
	for range tries {
		if err = w.change(ctx, request); err != nil {
			return err
		}
		if err = part.untilState(ctx, what, wanted); !errors.Is(err, errNoEffect) {
			return err
		}
	}
	return err
}

func (w *bench) reset(ctx context.Context, r redfish.ResetType, to redfish.PowerState) error {
	return w.effect(ctx, "power "+string(to),
		func(ctx context.Context) error { return w.Reset(ctx, r) },
		func(s redfish.State) bool { return s.Power == to })
}

func enrol(ctx context.Context, w *bench) (string, error) {
	id, err := w.Identify(ctx)
	if err != nil {
		return "", err
	}
	hw, err := w.Hardware(ctx)
	if err != nil {
		return "", err
	}
	if id.SystemUUID == "" && id.SerialNumber == "" {
		return "", errors.New("neither system UUID nor serial number")
	}
	if hw.CPU.Cores < 1 || hw.MemoryBytes < 1 {
		return "", fmt.Errorf("inventory without processors or memory: %d cores, %d bytes", hw.CPU.Cores, hw.MemoryBytes)
	}
	var slots []string
	for _, s := range id.MediaSlots {
		word := s.ID
		if !s.CanInsert {
			word += " (browser only)"
		}
		slots = append(slots, word)
	}
	words := fmt.Sprintf("%s, slots %s", id.Vendor, strings.Join(slots, ", "))
	for _, p := range id.Problems {
		words += "; " + p
	}
	return words, nil
}

// insert tries the slots in the BMC's order: some refuse images for good.
func insert(ctx context.Context, w *bench) (string, error) {
	slots, err := w.Slots(ctx)
	if err != nil {
		return "", err
	}
	var refused []string
	var last error
	for _, s := range slots {
		if !s.Bootable() || !s.CanInsert {
			continue
		}
		if last = w.insertInto(ctx, s); last == nil {
			words := "slot " + s.ID
			if len(refused) > 0 {
				words += ", after " + strings.Join(refused, ", ") + " refused"
			}
			return words, nil
		}
		switch redfish.KindOf(last) {
		case redfish.KindUnsupported, redfish.KindProtocol, redfish.KindNotFound:
			refused = append(refused, s.ID)
		default:
			return "", last
		}
	}
	if last == nil {
		last = errors.New("no slot takes an image that a server boots from")
	}
	return "", last
}

func (w *bench) insertInto(ctx context.Context, s redfish.Slot) error {
	if !s.Empty() {
		if err := w.empty(ctx, s.ID); err != nil {
			return err
		}
	}
	image := w.control.ImageURL()
	if err := w.change(ctx, func(ctx context.Context) error { return w.Insert(ctx, s.ID, image) }); err != nil {
		return err
	}
	// A slot that stood for others until remote media was switched on may be gone.
	return w.untilSlot(ctx, s.ID, "slot "+s.ID+" with the image", func(s redfish.Slot) bool { return s.Inserted && s.Image == image })
}

func (w *bench) empty(ctx context.Context, id string) error {
	if err := w.change(ctx, func(ctx context.Context) error { return w.Eject(ctx, id) }); err != nil {
		return err
	}
	return w.untilSlot(ctx, id, "slot "+id+" empty", redfish.Slot.Empty)
}

func bootFromCD(ctx context.Context, w *bench) (string, error) {
	if words, err := insert(ctx, w); err != nil {
		return words, err
	}
	err := w.effect(ctx, "boot once from CD",
		func(ctx context.Context) error { return w.SetBootOnce(ctx, redfish.BootCD) },
		func(s redfish.State) bool { return s.Boot.ArmedFrom(redfish.BootCD) })
	if err != nil {
		return "", err
	}
	s, err := w.State(ctx)
	words := "target " + s.Boot.Target
	if s.Boot.Mode != "" {
		words += ", mode " + s.Boot.Mode
	}
	return words, err
}

func powerOn(ctx context.Context, w *bench) (string, error) {
	if _, err := bootFromCD(ctx, w); err != nil {
		return "", err
	}
	if err := w.reset(ctx, redfish.ResetOn, redfish.PowerOn); err != nil {
		return "", err
	}
	return "", w.untilState(ctx, "the override used up", func(s redfish.State) bool { return !s.Boot.Armed() })
}

func gracefulOff(ctx context.Context, w *bench) (string, error) {
	id, err := w.Identify(ctx)
	if err != nil {
		return "", err
	}
	if _, err := powerOn(ctx, w); err != nil {
		return "", err
	}
	if !slices.Contains(id.Capabilities, redfish.CapabilityGracefulShutdown) {
		return "not offered: forced off takes its place", w.reset(ctx, redfish.ResetForceOff, redfish.PowerOff)
	}
	w.control.SetOSUp(true)
	return "", w.reset(ctx, redfish.ResetGracefulShutdown, redfish.PowerOff)
}

func forcedOff(ctx context.Context, w *bench) (string, error) {
	if _, err := powerOn(ctx, w); err != nil {
		return "", err
	}
	return "", w.reset(ctx, redfish.ResetForceOff, redfish.PowerOff)
}

func eject(ctx context.Context, w *bench) (string, error) {
	if words, err := insert(ctx, w); err != nil {
		return words, err
	}
	return w.emptyAll(ctx)
}

func (w *bench) emptyAll(ctx context.Context) (string, error) {
	slots, err := w.Slots(ctx)
	if err != nil {
		return "", err
	}
	var emptied []string
	for _, s := range slots {
		if s.Empty() {
			continue
		}
		if err := w.empty(ctx, s.ID); err != nil {
			return "", err
		}
		emptied = append(emptied, s.ID)
	}
	if len(emptied) == 0 {
		return "nothing was in", nil
	}
	return "slot " + strings.Join(emptied, ", "), nil
}

// release is the way back: off first, because an eject under a running system
// harms it.
func release(ctx context.Context, w *bench) (string, error) {
	if _, err := powerOn(ctx, w); err != nil {
		return "", err
	}
	if err := w.reset(ctx, redfish.ResetForceOff, redfish.PowerOff); err != nil {
		return "", err
	}
	words, err := w.emptyAll(ctx)
	if err != nil {
		return "", err
	}
	if err := w.change(ctx, w.ClearBoot); err != nil {
		return "", err
	}
	return words, w.untilState(ctx, "off and disarmed", func(s redfish.State) bool { return s.Power == redfish.PowerOff && !s.Boot.Armed() })
}
