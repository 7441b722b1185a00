package redfish

import (
	"context"
	"strings"

	"github.com/stmcginnis/gofish/schemas"
)

// settingsPath is the resource of the system's pending settings: the one it
// points to, else where MegaRAC keeps it.
func settingsPath(facts *systemFacts, system string) string {
	if facts.settings != "" {
		return facts.settings
	}
	return trimSlash(system) + "/SD"
}

// bootPlace is where to write the override: what was learned, else what the row
// says and the BMC has. Settings that hold no Boot are not the place, and neither
// are attributes that do not exist; whether they do costs one read, once.
func (c *client) bootPlace(ctx context.Context, op string, row *vendor) (bootPlace, error) {
	l := c.know()
	for place, word := range placeWords {
		if l.BootPlace == word {
			return bootPlace(place), nil
		}
	}
	if row.bootPlace == placeSystem {
		return placeSystem, nil
	}
	if l.boot.settingsHold == nil {
		_, found, err := c.readPending(ctx, op, row.bootPlace)
		if err != nil {
			return placeSystem, err
		}
		c.learn(func(l *learned) { l.boot.settingsHold = &found })
		if !found {
			c.learn(func(l *learned) { l.BootPlace = placeWords[placeSystem] })
			return placeSystem, nil
		}
	}
	return row.bootPlace, nil
}

// readPending reads the override that waits in the other resource; found is
// false where there is none such.
func (c *client) readPending(ctx context.Context, op string, place bootPlace) (o BootOverride, found bool, err error) {
	if place == placeDell {
		return c.readDellBoot(ctx, op)
	}
	facts, system, err := c.systemFacts(ctx, op)
	if err != nil {
		return o, false, err
	}
	path := settingsPath(facts, system)
	var doc pendingDoc
	resp, err := c.conn.get(ctx, op, path, &doc)
	if err != nil {
		if leftOut(err) {
			return o, false, nil
		}
		return o, false, err
	}
	c.learn(func(l *learned) { l.tag(path, resp, doc.Tag) })
	if doc.Boot == nil || !doc.Boot.v.Target.there && len(doc.Boot.v.Targets) == 0 {
		return o, false, nil // an iDRAC 9 from 7.10 on keeps the boot order here, and no override
	}
	targets, hasMode := strs(doc.Boot.v.Targets), doc.Boot.v.Mode.there
	c.learn(func(l *learned) {
		if l.facts == nil {
			return
		}
		next := *l.facts
		if next.hasMode = next.hasMode || hasMode; len(targets) > 0 {
			next.bootTargets = targets
		}
		l.facts = &next
	})
	return doc.Boot.v.override(), true, nil
}

// readBoot completes the override that the system shows: while one may be
// pending elsewhere, that is read too. It also tells an override that the BMC
// took in another mode than was asked for.
func (c *client) readBoot(ctx context.Context, op string, shown BootOverride) (BootOverride, error) {
	row, l := c.row(), c.know()
	place := row.bootPlace
	for p, word := range placeWords {
		if l.BootPlace == word {
			place = bootPlace(p)
		}
	}
	elsewhere := false
	if place != placeSystem && !shown.Armed() && !l.boot.settled {
		pending, found, err := c.readPending(ctx, op, place)
		if err != nil {
			return shown, err
		}
		if elsewhere = found && pending.Armed(); elsewhere {
			shown = pending
		}
	}
	c.learn(func(l *learned) {
		l.boot.elsewhere = elsewhere
		if place != placeSystem && !shown.Armed() && l.boot.asked == nil {
			l.boot.settled = true
		}
		l.mode, l.boot.shown = shown.Mode, shown.Enabled
		shown.Downgraded = l.confirm(row, shown)
	})
	return shown, nil
}

// The words of a Dell manager's attributes.
const (
	dellDevice  = "ServerBoot.1.FirstBootDevice"
	dellOnce    = "ServerBoot.1.BootOnce"
	dellVCD     = "VCD-DVD"
	dellNormal  = "Normal"
	dellEnabled = "Enabled"
)

// dellAttributes is the path of the manager's attributes: where the manager
// says, else below it.
func (c *client) dellAttributes(ctx context.Context, op string) (string, error) {
	if path := c.know().boot.attributes; path != "" {
		return path, nil
	}
	manager, err := c.readManager(ctx, op)
	if err != nil {
		return "", err
	}
	path := trimSlash(c.know().Manager) + "/Attributes"
	for _, l := range manager.Links.v.Oem.v.Dell.v.DellAttributes {
		// Among the sets of attributes the manager's own bears its id.
		if l != "" && lastSegment(string(l)) == lastSegment(c.know().Manager) {
			path = string(l)
		}
	}
	c.learn(func(l *learned) { l.boot.attributes = path })
	return path, nil
}

func (c *client) readDellBoot(ctx context.Context, op string) (o BootOverride, found bool, err error) {
	path, err := c.dellAttributes(ctx, op)
	if err != nil {
		if leftOut(err) {
			return o, false, nil
		}
		return o, false, err
	}
	var doc attributesDoc
	resp, err := c.conn.get(ctx, op, path, &doc)
	if err != nil {
		if leftOut(err) {
			return o, false, nil
		}
		return o, false, err
	}
	c.learn(func(l *learned) { l.tag(path, resp, doc.Tag) })
	set := doc.Attributes.v
	if set.Device == "" {
		return o, false, nil
	}
	return dellOverride(string(set.Device), string(set.Once)), true, nil
}

// dellOverride puts the attributes into the words of a boot override.
func dellOverride(device, once string) BootOverride {
	if strings.EqualFold(device, dellNormal) {
		return BootOverride{Enabled: OverrideDisabled, Target: "None"}
	}
	o := BootOverride{Enabled: OverrideContinuous, Target: device}
	if strings.EqualFold(once, dellEnabled) {
		o.Enabled = OverrideOnce
	}
	if strings.EqualFold(device, dellVCD) {
		o.Target = cdTargets[0]
	}
	return o
}

func (c *client) writeDellBoot(ctx context.Context, op string, enabled schemas.BootSourceOverrideEnabled) error {
	path, err := c.dellAttributes(ctx, op)
	if err != nil {
		return err
	}
	set := map[string]string{dellDevice: dellVCD, dellOnce: dellEnabled}
	if enabled == schemas.DisabledBootSourceOverrideEnabled {
		set = map[string]string{dellDevice: dellNormal, dellOnce: string(enabled)}
	}
	_, err = c.patch(ctx, op, path, map[string]any{"Attributes": set})
	return err
}
