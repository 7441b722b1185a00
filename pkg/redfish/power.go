package redfish

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/stmcginnis/gofish/schemas"
)

// State is one GET of the system once its path is known, and one more while a
// boot override may be pending in another resource.
func (c *client) State(ctx context.Context) (State, error) {
	const op = "read system"
	doc, err := c.readSystem(ctx, op)
	if err != nil {
		return State{}, err
	}
	state := doc.state()
	if state.Boot, err = c.readBoot(ctx, op, state.Boot); err != nil {
		return State{}, err
	}
	return state, nil
}

func (d *systemDoc) state() State {
	return State{
		Power:      powerState(string(d.PowerState)),
		Boot:       d.Boot.v.override(),
		Health:     string(d.Status.v.Health),
		SystemUUID: string(d.UUID),
		Serial:     string(d.SerialNumber),
	}
}

// powerState: anything but the four words is unknown, above all "".
func powerState(s string) PowerState {
	for _, p := range []PowerState{PowerOn, PowerOff, PowerPoweringOn, PowerPoweringOff} {
		if strings.EqualFold(s, string(p)) {
			return p
		}
	}
	return PowerUnknown
}

func overrideEnabled(s string) OverrideEnabled {
	for _, o := range []OverrideEnabled{OverrideDisabled, OverrideOnce, OverrideContinuous} {
		if strings.EqualFold(s, string(o)) {
			return o
		}
	}
	return OverrideUnknown
}

// resetWords are the Redfish types that do what is wanted, best first. None of
// them may do more: PowerCycle can leave a host off, PushPowerButton toggles.
var resetWords = map[ResetType][]schemas.ResetType{
	ResetOn:               {schemas.OnResetType, schemas.ForceOnResetType},
	ResetForceOff:         {schemas.ForceOffResetType},
	ResetGracefulShutdown: {schemas.GracefulShutdownResetType},
}

// Reset posts the first type that the BMC allows; where it names none, the
// first of all.
func (c *client) Reset(ctx context.Context, reset ResetType) error {
	op := "power " + string(reset)
	facts, path, err := c.systemFacts(ctx, op)
	if err != nil {
		return err
	}
	words, ok := resetWords[reset]
	if !ok {
		return c.conn.fail("power", &Error{Kind: KindUnsupported, Message: "unknown reset type"})
	}
	allowed, err := c.resetTypes(ctx, op, facts)
	if err != nil {
		return err
	}
	word, ok := pick(words, allowed)
	if !ok {
		return c.conn.fail(op, &Error{Kind: KindUnsupported, Message: "the BMC does not offer it, only " + named(allowed)})
	}
	target := facts.resetTarget
	if target == "" {
		target = trimSlash(path) + "/Actions/ComputerSystem.Reset"
	}
	_, err = c.post(ctx, op, target, map[string]string{"ResetType": word})
	if err == nil && reset == ResetOn {
		c.learn(func(l *learned) { l.boot.asked = nil }) // the boot uses the override up
	}
	return c.notYet(reset, err)
}

const (
	// lateOn is when to try On again where it is refused for a while after an Off.
	lateOn = 10 * time.Second
	// notReady is when to try again where the BMC is not ready for a change of
	// power, which it is not just after another one.
	notReady = 5 * time.Second
)

// notYet tells a refusal for the moment from one because it is so already: an On
// that conflicts with a server that was last read off has come too soon, and so
// has a change that the server's state does not allow while its power is not what
// the BMC complains of.
func (c *client) notYet(reset ResetType, err error) error {
	e, ok := asError(err)
	if !ok || e.Kind != KindConflict {
		return err
	}
	switch {
	case reset == ResetOn && c.row().power == powerLateOn && c.know().power == PowerOff:
		e.Kind, e.Message, e.After = KindBusy, "the BMC takes no power-on so soon after the power-off", lateOn
	case e.refusal.has("invalidoperationforsystemstate") && !e.refusal.names("power is"):
		e.Kind, e.Message, e.After = KindBusy, "the BMC is not ready for a change of power yet", notReady
	}
	return err
}

// pick gives the first wanted word among the allowed in the BMC's spelling; an
// empty list allows all.
func pick[W ~string](wanted []W, allowed []string) (string, bool) {
	if len(allowed) == 0 {
		return string(wanted[0]), true
	}
	for _, w := range wanted {
		i := slices.IndexFunc(allowed, func(a string) bool { return strings.EqualFold(a, string(w)) })
		if i >= 0 {
			return allowed[i], true
		}
	}
	return "", false
}

// resetTypes are the allowed types, from the system or from the ActionInfo it
// points to (one GET, once). A broken ActionInfo restricts nothing.
func (c *client) resetTypes(ctx context.Context, op string, facts *systemFacts) ([]string, error) {
	if len(facts.resetTypes) > 0 || facts.resetInfo == "" {
		return facts.resetTypes, nil
	}
	var info actionInfoDoc
	if _, err := c.conn.get(ctx, op, facts.resetInfo, &info); err != nil {
		if leftOut(err) {
			return nil, nil
		}
		return nil, err
	}
	var types []string
	for _, p := range info.Parameters {
		if strings.EqualFold(string(p.Name), "ResetType") {
			types = strs(p.AllowableValues)
		}
	}
	c.learn(func(l *learned) {
		if l.facts != nil {
			next := *l.facts
			next.resetTypes = types
			l.facts = &next
		}
	})
	return types, nil
}

// leftOut tells whether a part that failed so can be left out: it is not there
// or unreadable, which the next read would not change.
func leftOut(err error) bool {
	switch KindOf(err) {
	case KindNotFound, KindUnsupported, KindProtocol:
		return true
	case KindUnreachable, KindUnauthorized, KindBusy, KindConflict, KindCertificate, KindCanceled:
	}
	return false
}
