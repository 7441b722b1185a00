package redfish

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// slotRef is how to reach one slot; fixed until the firmware changes.
type slotRef struct {
	id, path      string
	insert, eject string // action targets
	patch         bool   // no action, but PATCH is allowed
}

func (r slotRef) usable() bool { return r.insert != "" || r.patch }

// Slots reads each known slot once.
func (c *client) Slots(ctx context.Context) ([]Slot, error) {
	slots, _, err := c.readSlots(ctx, "read media")
	return slots, err
}

// readSlots reads the known slots, or finds them first: the system's own where
// it has usable ones (newer iDRACs), else the manager's.
func (c *client) readSlots(ctx context.Context, op string) ([]Slot, []slotRef, error) {
	if refs := c.know().slots; len(refs) > 0 {
		paths := make([]string, len(refs))
		for i, r := range refs {
			paths[i] = r.path
		}
		slots, found, err := c.slotsAt(ctx, op, paths)
		if KindOf(err) == KindNotFound {
			c.learn(func(l *learned) { l.slots = nil })
		}
		return slots, found, err
	}
	slots, refs, err := c.findSlots(ctx, op)
	if err == nil && len(refs) > 0 {
		c.learn(func(l *learned) { l.slots = refs })
	}
	return slots, refs, err
}

func (c *client) findSlots(ctx context.Context, op string) ([]Slot, []slotRef, error) {
	facts, _, err := c.systemFacts(ctx, op)
	if err != nil {
		return nil, nil, err
	}
	slots, refs, err := c.slotsIn(ctx, op, facts.media)
	if err != nil || slices.ContainsFunc(slots, func(s Slot) bool { return s.CanInsert }) {
		return slots, refs, err
	}
	manager, err := c.readManager(ctx, op)
	if err != nil {
		if leftOut(err) {
			return slots, refs, nil
		}
		return nil, nil, err
	}
	others, otherRefs, err := c.slotsIn(ctx, op, manager.VirtualMedia)
	if err != nil {
		return nil, nil, err
	}
	if len(others) > 0 {
		return others, otherRefs, nil
	}
	return slots, refs, nil
}

// slotsIn lists a VirtualMedia collection; none where it is missing.
func (c *client) slotsIn(ctx context.Context, op string, collection link) ([]Slot, []slotRef, error) {
	if collection == "" {
		return nil, nil, nil
	}
	paths, _, err := c.members(ctx, op, string(collection))
	if err != nil {
		if KindOf(err) == KindNotFound || KindOf(err) == KindUnsupported {
			return nil, nil, nil
		}
		return nil, nil, err
	}
	return c.slotsAt(ctx, op, paths)
}

func (c *client) slotsAt(ctx context.Context, op string, paths []string) ([]Slot, []slotRef, error) {
	slots := make([]Slot, 0, len(paths))
	refs := make([]slotRef, 0, len(paths))
	for _, path := range paths {
		var doc mediaDoc
		resp, err := c.conn.get(ctx, op, path, &doc)
		if err != nil {
			return nil, nil, err
		}
		ref := doc.ref(path, resp.header)
		refs = append(refs, ref)
		slots = append(slots, doc.slot(ref))
	}
	return slots, refs, nil
}

func (d *mediaDoc) ref(path string, h http.Header) slotRef {
	r := slotRef{
		id: lastSegment(path), path: path,
		insert: string(d.Actions.v.Insert.v.Target), eject: string(d.Actions.v.Eject.v.Target),
	}
	r.patch = r.insert == "" && strings.Contains(strings.ToUpper(strings.Join(h.Values("Allow"), ",")), http.MethodPatch)
	return r
}

func (d *mediaDoc) slot(r slotRef) Slot {
	return Slot{
		ID: r.id, Types: strs(d.MediaTypes), Inserted: bool(d.Inserted),
		Image: string(d.Image), ImageName: string(d.ImageName), ConnectedVia: string(d.ConnectedVia),
		CanInsert: r.usable(),
	}
}

// slot finds a slot by its id, among the known or by reading them.
func (c *client) slot(ctx context.Context, op, id string) (slotRef, error) {
	refs := c.know().slots
	if len(refs) == 0 {
		var err error
		if _, refs, err = c.readSlots(ctx, op); err != nil {
			return slotRef{}, err
		}
	}
	ids := make([]string, len(refs))
	for i, r := range refs {
		ids[i] = r.id
		if r.id == id {
			return r, nil
		}
	}
	return slotRef{}, c.conn.fail(op, &Error{Kind: KindNotFound, Message: "the BMC has no such media slot, it has " + named(ids)})
}

// insertField is what some BMCs want in an insert body beyond the image, and
// only those: others refuse it.
type insertField struct {
	names []string
	// plain words also occur in prose ("cannot be inserted"): these count only
	// where the message id says that something is missing.
	plain bool
	add   func(body map[string]any, image *url.URL)
}

func (f insertField) wantedBy(r *refusal) bool {
	if f.plain && !r.has("actionparametermissing", "propertymissing", "createfailedmissingreqproperties") {
		return false
	}
	return slices.ContainsFunc(f.names, r.names)
}

// insertFields in the order they are tried.
var insertFields = []insertField{
	{[]string{"TransferProtocolType"}, false, func(b map[string]any, image *url.URL) {
		b["TransferProtocolType"] = strings.ToUpper(image.Scheme)
	}},
	{[]string{"TransferMethod"}, false, func(b map[string]any, _ *url.URL) { b["TransferMethod"] = "Stream" }},
	{[]string{"UserName", "Password"}, true, func(b map[string]any, _ *url.URL) {
		b["UserName"], b["Password"] = "none", "none" // NVIDIA DGX wants some, any
	}},
	{[]string{"WriteProtected"}, true, func(b map[string]any, _ *url.URL) { b["WriteProtected"] = true }},
	{[]string{"Inserted"}, true, func(b map[string]any, _ *url.URL) { b["Inserted"] = true }},
}

// Insert posts the image alone first, then what the refusal asked for, one
// field each time; what the BMC wanted is remembered for the next insert.
func (c *client) Insert(ctx context.Context, slotID, image string) error {
	const op = "insert media"
	u, err := url.Parse(image)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return c.conn.fail(op, &Error{Kind: KindUnsupported, Message: "the image is no http or https URL"})
	}
	slot, err := c.slot(ctx, op, slotID)
	if err != nil {
		return err
	}
	if slot.patch {
		facts, _, err := c.systemFacts(ctx, op)
		if err != nil {
			return err
		}
		return c.slotChanged(c.patch(ctx, op, slot.path, facts.row, map[string]any{"Image": image, "Inserted": true}))
	}
	if !slot.usable() {
		return c.conn.fail(op, &Error{Kind: KindUnsupported, Message: "the slot cannot be given an image over Redfish: use another one"})
	}
	return c.slotChanged(c.insertGrowing(ctx, op, slot.insert, image, u))
}

func (c *client) insertGrowing(ctx context.Context, op, target, image string, u *url.URL) error {
	wanted := slices.Clone(c.know().insert)
	for {
		body := map[string]any{"Image": image}
		for _, f := range insertFields {
			if slices.Contains(wanted, f.names[0]) {
				f.add(body, u)
			}
		}
		err := c.change(ctx, op, http.MethodPost, target, body, nil)
		if err == nil {
			c.learn(func(l *learned) { l.insert = wanted })
			return nil
		}
		more := missingField(err, wanted)
		if more == "" {
			return err
		}
		wanted = append(wanted, more)
	}
}

// missingField is the first field the refusal names that was not sent yet. Only
// a 4xx says that nothing was done.
func missingField(err error, sent []string) string {
	var e *Error
	if !errors.As(err, &e) || e.Status < 400 || e.Status > 499 || e.Status == http.StatusConflict || e.Kind == KindUnauthorized || e.Kind == KindBusy {
		return ""
	}
	for _, f := range insertFields {
		if !slices.Contains(sent, f.names[0]) && f.wantedBy(e.refusal) {
			return f.names[0]
		}
	}
	return ""
}

// Eject posts an empty object, which also those take that want no body; iLO
// wants it. Without an action it patches the image away.
func (c *client) Eject(ctx context.Context, slotID string) error {
	const op = "eject media"
	slot, err := c.slot(ctx, op, slotID)
	if err != nil {
		return err
	}
	if slot.eject != "" {
		return c.slotChanged(c.change(ctx, op, http.MethodPost, slot.eject, struct{}{}, nil))
	}
	facts, _, err := c.systemFacts(ctx, op)
	if err != nil {
		return err
	}
	return c.slotChanged(c.patch(ctx, op, slot.path, facts.row, map[string]any{"Image": nil, "Inserted": false}))
}

// slotChanged forgets the slots when one of them is gone: firmware updates move them.
func (c *client) slotChanged(err error) error {
	if KindOf(err) == KindNotFound {
		c.learn(func(l *learned) { l.slots = nil })
	}
	return err
}

// readManager reads the manager of the system: the one it is managed by, else
// the only one, else the one that names the system.
func (c *client) readManager(ctx context.Context, op string) (*managerDoc, error) {
	path := c.know().manager
	if path == "" {
		found, err := c.findManager(ctx, op)
		if err != nil {
			return nil, err
		}
		path = found
	}
	var doc managerDoc
	if _, err := c.conn.get(ctx, op, path, &doc); err != nil {
		if KindOf(err) == KindNotFound {
			c.learn(func(l *learned) { l.manager = "" })
		}
		return nil, err
	}
	if doc.ID == "" {
		doc.ID = text(lastSegment(path))
	}
	c.learn(func(l *learned) { l.manager = path })
	return &doc, nil
}

func (c *client) findManager(ctx context.Context, op string) (string, error) {
	facts, system, err := c.systemFacts(ctx, op)
	if err != nil {
		return "", err
	}
	for _, m := range facts.managers {
		if m != "" {
			return string(m), nil
		}
	}
	root, rootErr := c.conn.serviceRoot(ctx)
	if rootErr != nil {
		return "", c.conn.fail(op, rootErr)
	}
	if root.Managers == "" {
		return "", c.conn.fail(op, &Error{Kind: KindNotFound, Message: "the BMC publishes no manager"})
	}
	paths, _, err := c.members(ctx, op, string(root.Managers))
	if err != nil {
		return "", err
	}
	if len(paths) == 1 {
		return paths[0], nil
	}
	for _, p := range paths {
		var doc managerDoc
		if _, err := c.conn.get(ctx, op, p, &doc); err != nil {
			return "", err
		}
		if slices.ContainsFunc(doc.Links.v.ManagerForServers, func(l link) bool { return trimSlash(string(l)) == trimSlash(system) }) {
			return p, nil
		}
	}
	return "", c.conn.fail(op, &Error{Kind: KindNotFound, Message: "no manager of the BMC names the system"})
}
