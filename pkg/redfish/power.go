package redfish

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/stmcginnis/gofish/schemas"
)

// State is one GET of the system once its path is known.
func (c *client) State(ctx context.Context) (State, error) {
	doc, err := c.readSystem(ctx, "read system")
	if err != nil {
		return State{}, err
	}
	return doc.state(), nil
}

func (d *systemDoc) state() State {
	boot := d.Boot.v
	return State{
		Power:      powerState(string(d.PowerState)),
		Boot:       BootOverride{Enabled: overrideEnabled(string(boot.Enabled)), Target: string(boot.Target), Mode: string(boot.Mode)},
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
	return c.change(ctx, op, http.MethodPost, target, map[string]string{"ResetType": word}, nil)
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

// SetBootOnce patches the override of the system.
func (c *client) SetBootOnce(ctx context.Context, device BootDevice) error {
	const op = "set boot once"
	if device != BootCD {
		return c.conn.fail(op, &Error{Kind: KindUnsupported, Message: "unknown boot device"})
	}
	facts, path, err := c.systemFacts(ctx, op)
	if err != nil {
		return err
	}
	target, ok := pick(facts.row.cdTargets, facts.bootTargets)
	if !ok {
		return c.conn.fail(op, &Error{Kind: KindUnsupported, Message: "the BMC offers no boot from CD, only " + named(facts.bootTargets)})
	}
	boot := map[string]string{
		"BootSourceOverrideEnabled": string(schemas.OnceBootSourceOverrideEnabled),
		"BootSourceOverrideTarget":  target,
	}
	if facts.row.bootMode == modeUEFI {
		boot["BootSourceOverrideMode"] = string(schemas.UEFIBootSourceOverrideMode)
	}
	return c.patch(ctx, op, path, facts.row, map[string]any{"Boot": boot})
}

// ClearBoot disables the override and leaves its target: iLO refuses a target
// together with Disabled.
func (c *client) ClearBoot(ctx context.Context) error {
	const op = "clear boot override"
	facts, path, err := c.systemFacts(ctx, op)
	if err != nil {
		return err
	}
	boot := map[string]string{"BootSourceOverrideEnabled": string(schemas.DisabledBootSourceOverrideEnabled)}
	return c.patch(ctx, op, path, facts.row, map[string]any{"Boot": boot})
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
