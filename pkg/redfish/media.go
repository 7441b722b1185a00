package redfish

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/beskar7/beskar7/pkg/endpoint"
)

// slotRef is how to reach one slot, as of its latest reading: some BMCs offer an
// action only while it can be used (Supermicro X13: EjectMedia while a medium is in,
// InsertMedia while none is). What a reading leaves out stays as it was known.
type slotRef struct {
	id, path string
	form     insertForm
	// insert and eject are action targets: of the slot, below Oem, or of IsoConfig.
	insert, eject string
}

func (r slotRef) usable() bool { return r.form != insertNone }

// Slots reads each known slot once.
func (c *client) Slots(ctx context.Context) ([]Slot, error) {
	slots, _, err := c.readSlots(ctx, "read media")
	return slots, err
}

// Slot reads one slot where it was found, or looks for it among all.
func (c *client) Slot(ctx context.Context, slotID string) (Slot, error) {
	const op = "read media"
	refs := c.know().slots
	if i := slices.IndexFunc(refs, func(r slotRef) bool { return r.id == slotID }); i >= 0 && refs[i].form != insertIsoConfig {
		slots, _, err := c.slotsAt(ctx, op, []string{refs[i].path})
		if err != nil {
			return Slot{}, c.slotChanged(err)
		}
		return slots[0], nil
	}
	slots, refs, err := c.readSlots(ctx, op)
	if err != nil {
		return Slot{}, err
	}
	if i := slices.IndexFunc(slots, func(s Slot) bool { return s.ID == slotID }); i >= 0 {
		return slots[i], nil
	}
	return Slot{}, c.noSlot(op, refs)
}

// noSlot says that there is no such slot, and which there are.
func (c *client) noSlot(op string, refs []slotRef) error {
	ids := make([]string, len(refs))
	for i, r := range refs {
		ids[i] = r.id
	}
	return c.conn.fail(op, &Error{Kind: KindNotFound, Message: "the BMC has no such media slot, it has " + named(ids)})
}

// readSlots reads the known slots, or finds them first.
func (c *client) readSlots(ctx context.Context, op string) ([]Slot, []slotRef, error) {
	refs := c.know().slots
	if !slices.ContainsFunc(refs, slotRef.usable) { // none, or none yet: remote media may be switched on later
		slots, refs, err := c.findSlots(ctx, op)
		switch {
		case err != nil:
		case !usable(slots):
			c.learn(func(l *learned) { l.slots, l.managerMedia = nil, nil })
		case refs[0].form != insertEnable:
			c.learn(func(l *learned) { l.slots = refs })
		}
		return slots, refs, c.slotChanged(err)
	}
	if refs[0].form == insertIsoConfig {
		slots, err := c.readIsoConfig(ctx, op, refs[0])
		return slots, refs, c.slotChanged(err)
	}
	paths := make([]string, len(refs))
	for i, r := range refs {
		paths[i] = r.path
	}
	slots, found, err := c.slotsAt(ctx, op, paths)
	return slots, found, c.slotChanged(err)
}

// findSlots looks where the row says, then in the other place. The first that
// has a slot which takes an image is it; else the first that has any.
func (c *client) findSlots(ctx context.Context, op string) ([]Slot, []slotRef, error) {
	row, err := c.confirmedRow(ctx, op)
	if err != nil {
		return nil, nil, err
	}
	homes := []mediaHome{mediaSystem, mediaManager}
	if row.media == mediaManager {
		slices.Reverse(homes)
	}
	var slots []Slot
	var refs []slotRef
	known := c.know().Media
	if known != "" {
		if slots, refs, err = c.slotsIn(ctx, op, known); err != nil || usable(slots) {
			return slots, refs, err
		}
	}
	for _, home := range homes {
		collection, err := c.mediaCollection(ctx, op, home)
		if err != nil {
			return nil, nil, err
		}
		found, foundRefs, err := c.slotsIn(ctx, op, collection)
		if err != nil {
			return nil, nil, err
		}
		if usable(found) {
			c.learn(func(l *learned) { l.Media = collection })
			return found, foundRefs, nil
		}
		if len(slots) == 0 {
			slots, refs = found, foundRefs
		}
	}
	slots, refs, err = c.hiddenSlots(ctx, op, row, slots, refs)
	if err == nil && known != "" && len(slots) == 0 {
		// Nobody is to take this for slots that are empty.
		return nil, nil, c.conn.fail(op, &Error{Kind: KindProtocol, Message: "the BMC does not show its media slots any more: it may be starting, or have lost a licence"})
	}
	return slots, refs, err
}

func usable(slots []Slot) bool {
	return slices.ContainsFunc(slots, func(s Slot) bool { return s.CanInsert })
}

// mediaCollection is the path of the slots in that place, "" where there are none.
func (c *client) mediaCollection(ctx context.Context, op string, home mediaHome) (string, error) {
	if home == mediaSystem {
		facts, _, err := c.systemFacts(ctx, op)
		if err != nil {
			return "", err
		}
		return string(facts.media), nil
	}
	if known := c.know().managerMedia; known != nil {
		return *known, nil
	}
	manager, err := c.readManager(ctx, op)
	if err != nil {
		if KindOf(err) == KindNotFound || KindOf(err) == KindUnsupported {
			return "", nil
		}
		return "", err
	}
	return string(manager.VirtualMedia), nil
}

// slotsIn lists a VirtualMedia collection; none where it is missing.
func (c *client) slotsIn(ctx context.Context, op, collection string) ([]Slot, []slotRef, error) {
	if collection == "" {
		return nil, nil, nil
	}
	paths, _, err := c.members(ctx, op, collection)
	if err != nil {
		if KindOf(err) == KindNotFound || KindOf(err) == KindUnsupported {
			return nil, nil, nil
		}
		return nil, nil, err
	}
	return c.slotsAt(ctx, op, paths)
}

func (c *client) slotsAt(ctx context.Context, op string, paths []string) ([]Slot, []slotRef, error) {
	row := c.row()
	slots := make([]Slot, 0, len(paths))
	refs := make([]slotRef, 0, len(paths))
	for _, path := range paths {
		var doc mediaDoc
		resp, err := c.conn.get(ctx, op, path, &doc)
		if err != nil {
			return nil, nil, err
		}
		if doc.mute() {
			return nil, nil, c.conn.fail(op, &Error{Kind: KindProtocol, Message: "the BMC says nothing of its media slot " + lastSegment(path)})
		}
		ref := doc.ref(path, resp.header, row)
		c.learn(func(l *learned) {
			l.tag(path, resp, doc.Tag)
			ref = l.refine(ref)
		})
		slot := doc.slot(ref, row)
		if err := c.followMount(ctx, &slot); err != nil {
			return nil, nil, err
		}
		refs = append(refs, ref)
		slots = append(slots, slot)
	}
	return slots, refs, nil
}

// refine completes what was read of a slot with what is known of it, and keeps
// the outcome. Needs c.mu.
func (l *learned) refine(read slotRef) slotRef {
	i := slices.IndexFunc(l.slots, func(r slotRef) bool { return r.path == read.path })
	if i < 0 {
		return read
	}
	known := l.slots[i]
	if read.form == insertNone {
		read.form, read.insert = known.form, known.insert
	}
	read.eject = orText(read.eject, known.eject)
	slots := slices.Clone(l.slots)
	slots[i] = read
	l.slots = slots
	return read
}

// mute: nothing is said, as by a BMC that starts. An empty slot says what it is; nobody is to take this for one.
func (d *mediaDoc) mute() bool {
	return d.ID == "" && len(d.MediaTypes) == 0 && d.ConnectedVia == "" && d.Image == "" && d.ImageName == "" && !bool(d.Inserted) &&
		d.Actions.v.Insert.v.Target == "" && d.Actions.v.Eject.v.Target == "" && len(d.Oem.v) == 0
}

// ref finds the way into the slot: the standard action, a vendor's, or a PATCH
// where the row or the BMC says so.
func (d *mediaDoc) ref(path string, h http.Header, row *vendor) slotRef {
	r := slotRef{id: lastSegment(path), path: path, form: insertNone, insert: targetOf(d.Actions.v.Insert, path, insertName), eject: targetOf(d.Actions.v.Eject, path, ejectName)}
	oem := func(suffix string) string {
		if t := actionNamed(d.Actions.v.Oem.v, suffix); t != "" {
			return t
		}
		for _, part := range d.Oem.v {
			if t := actionNamed(part.v.Actions.v, suffix); t != "" {
				return t
			}
		}
		return ""
	}
	patchable := row.insert == insertPatch || strings.Contains(strings.ToUpper(strings.Join(h.Values("Allow"), ",")), http.MethodPatch)
	switch {
	case !row.takes(r.id):
	case r.insert != "":
		r.form = insertAction
	case oem("InsertVirtualMedia") != "":
		r.form, r.insert, r.eject = insertHP, oem("InsertVirtualMedia"), orText(r.eject, oem("EjectVirtualMedia"))
	case patchable:
		r.form = insertPatch
	case r.eject != "" && !d.empty():
		// A medium is in that the BMC would take out: the next one goes in where the specification has it.
		r.form, r.insert = insertAction, standardTarget(path, insertName)
	}
	return r
}

// The standard actions of a slot.
const (
	insertName = "VirtualMedia.InsertMedia"
	ejectName  = "VirtualMedia.EjectMedia"
)

// targetOf is where an action is posted to: where it says, else where the
// specification has it (kubevirtbmc names actions without a target); "" where the
// resource has no such action.
func targetOf(a object[actionDoc], path, name string) string {
	if a.there && a.v.Target == "" {
		return standardTarget(path, name)
	}
	return string(a.v.Target)
}

func standardTarget(path, name string) string { return trimSlash(path) + "/Actions/" + name }

// actionNamed is the target of the action whose name ends so.
func actionNamed(actions map[string]object[actionDoc], suffix string) string {
	for name, a := range actions {
		if strings.HasSuffix(name, "."+suffix) {
			return string(a.v.Target)
		}
	}
	return ""
}

func (d *mediaDoc) slot(r slotRef, row *vendor) Slot {
	s := Slot{
		ID: r.id, Types: strs(d.MediaTypes), Inserted: bool(d.Inserted),
		Image: unlessNone(d.Image), ImageName: unlessNone(d.ImageName), ConnectedVia: string(d.ConnectedVia),
		CanInsert: r.usable(), Stick: row.stick,
	}
	if row.imageStays && !s.Inserted && strings.EqualFold(s.ConnectedVia, "NotConnected") {
		s.Image, s.ImageName = "", ""
	}
	for _, part := range d.Oem.v {
		if status := string(part.v.RedirectionStatus); status != "" && s.Image != "" && !strings.EqualFold(status, "Started") {
			// MegaRAC says Inserted as soon as it was asked, and mounts after that.
			s.Inserted, s.Mounting = false, true
		}
	}
	return s
}

// empty tells whether the document shows no medium.
func (d *mediaDoc) empty() bool {
	return !bool(d.Inserted) && unlessNone(d.Image) == "" && unlessNone(d.ImageName) == ""
}

// unlessNone is the value, but for the words that BMCs write where they mean that
// there is none ("None": MegaRAC, gigabyte-h262 and nvidia-dgx-h100).
func unlessNone(value text) string {
	switch strings.ToLower(string(value)) {
	case "none", "null", "n/a", "na", "-", "empty":
		return ""
	}
	return string(value)
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
	if i := slices.IndexFunc(refs, func(r slotRef) bool { return r.id == id }); i >= 0 {
		return refs[i], nil
	}
	return slotRef{}, c.noSlot(op, refs)
}

// Eject posts an empty object, which also those take that want no body; iLO
// wants it. One that refuses it as a body gets none. Without an action it patches
// the image away.
func (c *client) Eject(ctx context.Context, slotID string) error {
	const op = "eject media"
	slot, err := c.slot(ctx, op, slotID)
	if err != nil {
		return err
	}
	c.forgetMount(slotID)
	if slot.eject == "" && slot.form == insertAction {
		// The action may have come with the medium, after the slot was last read.
		if _, err := c.Slot(ctx, slotID); err != nil {
			return err
		}
		if slot, err = c.slot(ctx, op, slotID); err != nil {
			return err
		}
	}
	if slot.eject == "" {
		_, err = c.patch(ctx, op, slot.path, ejectBody(c.row()))
		return c.slotChanged(err)
	}
	bodies := []any{struct{}{}, nil}
	if c.know().Eject == ejectBare {
		slices.Reverse(bodies)
	}
	if _, err = c.post(ctx, op, slot.eject, bodies[0]); err == nil || !refusedBody(err) {
		return c.slotChanged(err)
	}
	_, again := c.post(ctx, op, slot.eject, bodies[1])
	switch {
	case again == nil:
		c.learn(func(l *learned) { l.Eject = map[bool]string{true: ejectBare}[bodies[1] == nil] })
		return nil
	case refusedBody(again):
		return c.slotChanged(err) // neither: it is not about the body
	}
	return c.slotChanged(again)
}

func ejectBody(row *vendor) map[string]any {
	if row.eject == ejectImage {
		return map[string]any{"Image": nil}
	}
	return map[string]any{"Image": nil, "Inserted": false}
}

// refusedBody: the request was not understood, for whatever it was sent with.
func refusedBody(err error) bool {
	e, ok := asError(err)
	if !ok || e.Status != http.StatusBadRequest && e.Status != http.StatusUnsupportedMediaType {
		return false
	}
	return e.refusal.saysNothing() || e.refusal.has("malformedjson", "emptyjson", "unrecognizedrequestbody", "actionparameterunknown", "actionparameternotsupported")
}

// slotChanged forgets the slots when one of them is gone, or is what no slot can be: firmware updates move them, and what a
// BMC said of them in its confusion is not to be asked for ever.
func (c *client) slotChanged(err error) error {
	e, ok := asError(err)
	if ok && (e.Kind == KindNotFound || e.Kind == KindProtocol && e.Status == 0) {
		c.learn(func(l *learned) { l.slots, l.managerMedia = nil, nil })
	}
	return err
}

// taskGrace is how long a task may be missing after it was named: iDRACs know
// theirs only after a while.
const taskGrace = 30 * time.Second

// mount is an insert that the BMC answered with 202.
type mount struct {
	task    string
	since   time.Time
	problem string
}

// noteMount keeps the task of an accepted insert, where the BMC named one. Where
// it did not, reading the slot is all there is to do.
func (c *client) noteMount(slotID string, resp *response) {
	m := mount{since: time.Now()}
	if resp.status == http.StatusAccepted {
		var doc struct {
			Path text `json:"@odata.id"`
		}
		if m.task = resp.header.Get("Location"); m.task == "" && decode(resp.body, &doc) == nil {
			m.task = string(doc.Path)
		}
	}
	c.learn(func(l *learned) {
		delete(l.mounts, slotID)
		if m.task != "" {
			l.mounts[slotID] = m
		}
	})
}

func (c *client) forgetMount(slotID string) {
	c.learn(func(l *learned) { delete(l.mounts, slotID) })
}

// followMount reads the task of an insert that is not to be seen yet: one read.
// A task that vanished, or ended well, leaves the slot to tell.
func (c *client) followMount(ctx context.Context, slot *Slot) error {
	c.mu.Lock()
	m, ok := c.learned.mounts[slot.ID]
	c.mu.Unlock()
	if !ok || slot.Inserted {
		c.forgetMount(slot.ID)
		return nil
	}
	if m.task != "" {
		var doc taskDoc
		resp, err := c.conn.do(ctx, request{op: "read task", method: http.MethodGet, link: m.task})
		switch {
		case err == nil:
			_ = decode(resp.body, &doc) // an ended monitor answers with anything
			m = m.after(resp.status, &doc)
		case KindOf(err) == KindNotFound && time.Since(m.since) < taskGrace:
		case leftOut(err):
			m.task = ""
		default:
			return err
		}
	}
	slot.Mounting, slot.Problem = slot.Mounting || m.task != "", m.problem
	c.learn(func(l *learned) {
		if m.task == "" && m.problem == "" {
			delete(l.mounts, slot.ID)
			return
		}
		l.mounts[slot.ID] = m
	})
	return nil
}

// after is the mount once its task was read.
func (m mount) after(status int, doc *taskDoc) mount {
	switch strings.ToLower(string(doc.TaskState)) {
	case "exception", "killed", "cancelled", "interrupted":
		m.task, m.problem = "", mountFailed
	case "completed":
		m.task = ""
		if s := string(doc.TaskStatus); strings.EqualFold(s, "Critical") || strings.EqualFold(s, "Warning") {
			m.problem = mountFailed
		}
	case "":
		if status != http.StatusAccepted {
			m.task = ""
		}
	}
	return m
}

const mountFailed = "the BMC gave up mounting the image: check that its network reaches the media URL and trusts its certificate"

// imageURL checks what is to be inserted.
func imageURL(image string) (*url.URL, *Error) {
	u, err := endpoint.Parse(image)
	if err != nil {
		return nil, &Error{Kind: KindUnsupported, Message: "the image is no http or https URL"}
	}
	return u, nil
}
