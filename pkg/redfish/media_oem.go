package redfish

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"time"
)

// isoConfigID is the slot of boards that mount through an IsoConfig resource.
const isoConfigID = "CfgCD"

// hiddenSlots looks for media that are in no collection: older Supermicro boards
// have an IsoConfig beside it, MegaRAC has no slots before remote media was
// switched on.
func (c *client) hiddenSlots(ctx context.Context, op string, row *vendor, slots []Slot, refs []slotRef) ([]Slot, []slotRef, error) {
	switch row.hidden {
	case insertIsoConfig:
		return c.findIsoConfig(ctx, op, slots, refs)
	case insertEnable:
		if len(slots) > 0 {
			return slots, refs, nil
		}
		_, target, err := c.enableStep(ctx, op, c.know().enabling)
		if err != nil {
			return nil, nil, err
		}
		if target != "" {
			ref := slotRef{id: "CD1", form: insertEnable, insert: target}
			return []Slot{{ID: ref.id, Types: []string{"CD", "DVD"}, CanInsert: true, ConnectedVia: "NotConnected"}}, []slotRef{ref}, nil
		}
	case insertAction, insertPatch, insertHP, insertNone:
	}
	return slots, refs, nil
}

// findIsoConfig looks for CfgCD in the manager's media, whose usual name is VM1.
func (c *client) findIsoConfig(ctx context.Context, op string, slots []Slot, refs []slotRef) ([]Slot, []slotRef, error) {
	collection, err := c.mediaCollection(ctx, op, mediaManager)
	if err != nil {
		return nil, nil, err
	}
	if c.know().Manager != "" {
		for _, folder := range []string{collection, trimSlash(c.know().Manager) + "/VM1"} {
			if folder == "" {
				continue
			}
			ref := slotRef{id: isoConfigID, path: trimSlash(folder) + "/" + isoConfigID, form: insertIsoConfig}
			var doc isoConfigDoc
			if _, err := c.conn.get(ctx, op, ref.path, &doc); err != nil {
				if leftOut(err) {
					continue
				}
				return nil, nil, err
			}
			ref.insert = orText(string(doc.Actions.v.Mount.v.Target), ref.path+"/Actions/IsoConfig.Mount")
			ref.eject = orText(string(doc.Actions.v.UnMount.v.Target), ref.path+"/Actions/IsoConfig.UnMount")
			found, err := c.readIsoConfig(ctx, op, ref)
			return found, []slotRef{ref}, err
		}
	}
	return slots, refs, nil
}

// readIsoConfig reads what is mounted: a medium that is in shows as a member of
// the collection, the image is the configured one.
func (c *client) readIsoConfig(ctx context.Context, op string, ref slotRef) ([]Slot, error) {
	slot := Slot{ID: ref.id, Types: []string{"CD", "DVD"}, CanInsert: true, ConnectedVia: "NotConnected"}
	folder := strings.TrimSuffix(ref.path, "/"+isoConfigID)
	paths, broken, err := c.members(ctx, op, folder)
	if err != nil && KindOf(err) != KindNotFound {
		return nil, err // what cannot be read is not empty
	}
	if broken > 0 || slices.Contains(paths, folder) {
		return nil, c.conn.fail(op, &Error{Kind: KindProtocol, Message: "the BMC's list of mounted media is broken"})
	}
	for _, path := range paths {
		if lastSegment(path) == isoConfigID {
			continue
		}
		var doc mediaDoc
		if _, err := c.conn.get(ctx, op, path, &doc); err != nil {
			if KindOf(err) == KindNotFound {
				continue // unmounted in between
			}
			return nil, err
		}
		slot.Inserted = slot.Inserted || bool(doc.Inserted)
	}
	if !slot.Inserted {
		return []Slot{slot}, nil // host and path stay behind after an unmount
	}
	var doc isoConfigDoc
	if _, err := c.conn.get(ctx, op, ref.path, &doc); err != nil {
		return nil, err
	}
	slot.ConnectedVia, slot.Image = "URI", string(doc.Host)+string(doc.Path)
	return []Slot{slot}, nil
}

// insertIsoConfig sets host and path, which by itself does nothing, and mounts.
func (c *client) insertIsoConfig(ctx context.Context, op string, slot slotRef, u *url.URL) error {
	body := map[string]string{"Host": u.Scheme + "://" + u.Host, "Path": u.EscapedPath()}
	if _, err := c.patch(ctx, op, slot.path, body); err != nil {
		return err
	}
	resp, err := c.post(ctx, op, slot.insert, struct{}{})
	if err != nil {
		return err
	}
	c.noteMount(slot.id, resp)
	return nil
}

// enablingTime is how long MegaRAC needs to switch remote media on.
const enablingTime = 5 * time.Second

// enableSteps are the actions that switch remote media on, in their order.
var enableSteps = []struct {
	action string
	body   map[string]any
}{
	{"EnableRMedia", map[string]any{"RMediaState": "Enable"}},
	{"ConfigureCDInstance", map[string]any{"CDInstance": 1}},
}

// enableStep is the next step that the manager offers, from the one given on.
func (c *client) enableStep(ctx context.Context, op string, from int) (step int, target string, err error) {
	manager, err := c.readManager(ctx, op)
	if err != nil {
		if leftOut(err) {
			return 0, "", nil
		}
		return 0, "", err
	}
	for i := range enableSteps {
		step = (from + i) % len(enableSteps)
		if target = actionNamed(manager.Actions.v.Oem.v, enableSteps[step].action); target != "" {
			return step, target, nil
		}
	}
	return 0, "", nil
}

// enableMedia makes one step towards slots and says when to come back.
func (c *client) enableMedia(ctx context.Context, op string) error {
	step, target, err := c.enableStep(ctx, op, c.know().enabling)
	if err != nil {
		return err
	}
	if _, err := c.post(ctx, op, target, enableSteps[step].body); err != nil {
		return err
	}
	c.learn(func(l *learned) { l.enabling = step + 1 })
	return c.conn.fail(op, &Error{Kind: KindBusy, Message: "the BMC's remote media were off and are being switched on", After: enablingTime})
}
