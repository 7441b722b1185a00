package emulator

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"
)

// mediaPaths are the collections that hold the slots, the manager's first.
func (b *BMC) mediaPaths() []string {
	p := b.kind()
	name := "/VirtualMedia"
	if p.oem == oemSupermicro {
		name = "/VM1"
	}
	switch p.media.home {
	case mediaUnderSystem:
		return []string{b.systemPath() + name}
	case mediaUnderBoth:
		return []string{b.managerPath() + name, b.systemPath() + name}
	default:
		return []string{b.managerPath() + name}
	}
}

func (b *BMC) addMedia(t map[string]*node) {
	p := b.kind()
	for _, home := range b.mediaPaths() {
		for _, s := range b.slots {
			b.addSlot(t, home+"/"+s.id, s)
		}
		t[home] = &node{view: func() doc {
			members := []doc{}
			for _, s := range b.slots {
				if !p.media.hidden || b.oem.enabled {
					members = append(members, link(home+"/"+s.id))
				}
			}
			return resource(home, "VirtualMediaCollection.VirtualMediaCollection", "Virtual Media",
				doc{"Members": members, "Members@odata.count": len(members)})
		}}
	}
}

func (b *BMC) addSlot(t map[string]*node, at string, s *slot) {
	p := b.kind()
	n := &node{view: func() doc { return b.slotDoc(at, s) }}
	t[at] = n
	action := at + "/Actions/VirtualMedia."
	switch {
	case s.spec.local && !s.spec.listed:
		t[action+"InsertMedia"], t[action+"EjectMedia"] = &node{owner: at}, &node{owner: at}
	case p.media.insert == insertByAction:
		t[action+"InsertMedia"] = &node{post: func(c *call) { c.insert(s) }, owner: at}
		t[action+"EjectMedia"] = &node{post: func(c *call) { c.eject(s) }, owner: at}
	case p.media.insert == insertByPatch:
		n.patch = func(c *call) { c.patchSlot(s) }
	}
	b.oemSlot(t, n, at, s)
}

// slotDoc is one VirtualMedia resource. b.mu is held.
func (b *BMC) slotDoc(at string, s *slot) doc {
	m := b.kind().media
	d := doc{
		"MediaTypes": s.spec.types, "Image": nil, "ImageName": nil, "Inserted": false, "ConnectedVia": "NotConnected",
		"WriteProtected": true, "TransferMethod": "Stream", "TransferProtocolType": nil, "Status": healthy(),
	}
	if m.insert == insertByAction && (!s.spec.local || s.spec.listed) {
		insert := doc{"target": at + "/Actions/VirtualMedia.InsertMedia",
			"TransferMethod@Redfish.AllowableValues": []string{"Stream"}}
		protocols := []string{}
		for _, scheme := range m.schemes {
			protocols = append(protocols, strings.ToUpper(scheme))
		}
		if m.prose {
			protocols = []string{"The protocol of the share: " + strings.Join(protocols, " or ")}
		}
		insert["TransferProtocolType@Redfish.AllowableValues"] = protocols
		d["Actions"] = doc{"#VirtualMedia.InsertMedia": insert,
			"#VirtualMedia.EjectMedia": doc{"target": at + "/Actions/VirtualMedia.EjectMedia"}}
	}
	m.dress(d, s.shownLocked())
	switch {
	case s.shownLocked():
		d["Image"], d["ImageName"], d["Inserted"], d["ConnectedVia"] = s.shown, path.Base(s.shown), true, "URI"
		d["WriteProtected"], d["TransferProtocolType"] = s.writeProtected, s.protocol
	case m.keepsImage && s.former != "":
		d["Image"], d["ImageName"] = s.former, path.Base(s.former)
	}
	b.oemSlotDoc(at, s, d)
	return resource(at, "VirtualMedia.v1_6_3.VirtualMedia", s.name, d)
}

const insertAction = "VirtualMedia.InsertMedia"

// insertParameters are the parameters of the action.
var insertParameters = []string{"Image", "Inserted", "WriteProtected", "TransferProtocolType", "TransferMethod",
	"UserName", "Password", "MediaType"}

// image is a wish to have a medium in.
type image struct {
	url, protocol  string
	writeProtected bool
}

// insert is the action VirtualMedia.InsertMedia.
func (c *call) insert(s *slot) {
	im, ms := c.insertion(s)
	if len(ms) > 0 {
		c.fail(http.StatusBadRequest, ms...)
		return
	}
	c.put(s, im)
}

// put has the medium in, or begins to, and answers.
func (c *call) put(s *slot, im image) {
	b, m := c.b, c.b.kind().media
	b.mu.Lock()
	if status, msg := b.refuseInsertLocked(s); status != 0 {
		b.mu.Unlock()
		c.fail(status, msg)
		return
	}
	if b.useLocked("lie-insert", c.r) {
		b.mu.Unlock()
		c.done(m.insertStatus, "Insert")
		return
	}
	delay := b.scaled(m.mount)
	if a := b.faultLocked("slow-mount"); a != nil {
		delay = a.duration
	}
	if delay > 0 {
		t := b.mountLaterLocked(s, im, delay, c.by)
		b.mu.Unlock()
		if m.insertStatus == http.StatusAccepted {
			c.accepted(t)
		} else {
			c.done(m.insertStatus, "Insert")
		}
		return
	}
	s.busy = true
	b.mu.Unlock()
	// A BMC goes on when its client hangs up.
	err := b.reach(context.WithoutCancel(c.r.Context()), im.url)
	b.mu.Lock()
	s.busy = false
	if err == nil && !b.closed {
		b.mountLocked(s, im, c.by)
	}
	b.mu.Unlock()
	if err != nil {
		c.fail(cmp.Or(m.fetchStatus, http.StatusBadRequest), msgFetch(err.Error()))
		return
	}
	c.done(m.insertStatus, "Insert")
}

// refuseInsertLocked says why an insert is not possible now; status 0 if it is.
func (b *BMC) refuseInsertLocked(s *slot) (int, message) {
	m := b.kind().media
	settle := b.scaled(m.settle)
	if a := b.faultLocked("eject-settle"); a != nil {
		settle = a.duration
	}
	switch {
	case b.faultLocked("no-licence") != nil:
		return http.StatusForbidden, msgLicence()
	case m.hidden && !b.oem.enabled:
		return http.StatusNotFound, msgNotFound("slot " + s.id)
	case b.slotRefusedLocked(s), s.spec.local:
		return http.StatusBadRequest, msgReadOnly("Image")
	case s.busy || s.pending != nil || s.image != "" && !m.replaces:
		return http.StatusConflict, msgInUse("slot " + s.id)
	case !s.ejected.IsZero() && time.Since(s.ejected) < settle:
		return m.settleStatus, msgInUse("slot " + s.id)
	}
	return 0, message{}
}

// slotRefusedLocked: the fault that leaves only the first slot usable.
func (b *BMC) slotRefusedLocked(s *slot) bool {
	return b.faultLocked("first-slot-only") != nil && s != b.slots[0]
}

// mountLocked: the medium is in.
func (b *BMC) mountLocked(s *slot, im image, by cause) {
	s.clearLocked()
	s.shown, s.protocol, s.writeProtected = im.url, im.protocol, im.writeProtected
	if b.faultLocked("insert-unmounted") != nil {
		return // it says so, and nothing is in
	}
	s.image = im.url
	b.record(by, Event{Kind: EventInsert, To: s.id, Detail: redact(im.url)})
}

// mountLaterLocked has the medium in after a while unless an eject comes first.
func (b *BMC) mountLaterLocked(s *slot, im image, d time.Duration, by cause) *task {
	t := b.newTaskLocked("Insert")
	if b.closed {
		return t
	}
	if x := b.front.open[by.req]; x != nil {
		x.Changed = true
	}
	p := &pending{}
	s.pending = p
	time.AfterFunc(d, func() {
		b.mu.Lock()
		wanted := s.pending == p && !b.closed
		if wanted {
			b.fleet.running.Add(1) // before close, whose mark comes first under the lock
			defer b.fleet.running.Done()
		}
		b.mu.Unlock()
		if !wanted {
			return
		}
		err := b.reach(context.Background(), im.url)
		b.mu.Lock()
		defer b.mu.Unlock()
		if s.pending != p || b.closed {
			return
		}
		s.pending = nil
		if err != nil {
			failure := msgFetch(err.Error())
			t.endLocked(&failure)
			return
		}
		b.mountLocked(s, im, by)
		t.endLocked(nil)
	})
	return t
}

// insertion reads the parameters; the messages say what is wrong with them.
func (c *call) insertion(s *slot) (image, []message) {
	m := c.b.kind().media
	for name := range c.body {
		if !slices.Contains(insertParameters, name) {
			return image{}, []message{msgParameterUnknown(insertAction, name)}
		}
		if slices.Contains(m.refuses, name) {
			return image{}, []message{msgParameterUnknown(insertAction, name)}
		}
	}
	if ms := c.missingParameters(); len(ms) > 0 {
		return image{}, ms
	}
	im := image{writeProtected: string(c.body["WriteProtected"]) != "false"}
	var bad *message
	if im.url, im.protocol, bad = c.imageURL(s); bad != nil {
		return image{}, []message{*bad}
	}
	if v, sent := c.text("TransferProtocolType"); sent && v != im.protocol {
		return image{}, []message{msgParameterValue(insertAction, "TransferProtocolType", v)}
	}
	if v, sent := c.text("TransferMethod"); sent && v != "Stream" {
		return image{}, []message{msgParameterValue(insertAction, "TransferMethod", v)}
	}
	if string(c.body["Inserted"]) == "false" {
		return image{}, []message{msgParameterValue(insertAction, "Inserted", "false")}
	}
	return im, nil
}

// missingParameters says which parameters the persona needs and did not get.
func (c *call) missingParameters() []message {
	m := c.b.kind().media
	var names []string
	for _, name := range append([]string{"Image"}, m.needs...) {
		raw := c.body[name]
		if raw == nil || string(raw) == `""` || string(raw) == "null" {
			names = append(names, name)
		}
	}
	if len(names) > 0 && m.vague && names[0] != "Image" {
		return []message{msgVague(names)}
	}
	var ms []message
	for _, name := range names {
		ms = append(ms, msgParameterMissing(insertAction, name))
	}
	return ms
}

// imageURL checks the URL by the persona's rules.
func (c *call) imageURL(s *slot) (image, protocol string, bad *message) {
	m := c.b.kind().media
	refuse := func(why string) (string, string, *message) {
		msg := msgParameterFormat(insertAction, "Image", why)
		return "", "", &msg
	}
	image, ok := c.text("Image")
	if !ok {
		return refuse("it is no string")
	}
	if p, sent := c.text("TransferProtocolType"); m.schemeless && sent && !strings.Contains(image, "://") {
		image = strings.ToLower(p) + "://" + image
	}
	u, err := url.Parse(image)
	suffixes := m.suffixes
	if s.spec.suffixes != nil {
		suffixes = s.spec.suffixes
	}
	switch {
	case err != nil || u.Host == "" || !slices.Contains(m.schemes, u.Scheme):
		return refuse("it is no " + strings.Join(m.schemes, " or ") + " URL")
	case m.plainURL && strings.ContainsAny(image, "?&"):
		return refuse("it holds ? or &")
	case m.strictURL && strings.Contains(image, "="):
		return refuse("it holds =")
	case suffixes != nil && !slices.ContainsFunc(suffixes, func(x string) bool { return strings.HasSuffix(image, x) }):
		return refuse("it does not end in " + strings.Join(suffixes, " or "))
	}
	return image, strings.ToUpper(u.Scheme), nil
}

// patchSlot is the insert and eject of BMCs without the actions.
func (c *call) patchSlot(s *slot) {
	raw, sent := c.body["Image"]
	if sent && string(raw) == "null" || !sent && string(c.body["Inserted"]) == "false" {
		if !c.only("Image", "Inserted", "WriteProtected", "UserName", "Password") {
			return
		}
		c.take(s)
		return
	}
	var inserted *bool
	if i := c.body["Inserted"]; i != nil && json.Unmarshal(i, &inserted) != nil {
		c.fail(http.StatusBadRequest, msgWrongType("Inserted"))
		return
	}
	c.insert(s)
}

// eject is the action VirtualMedia.EjectMedia.
func (c *call) eject(s *slot) {
	for name := range c.body {
		c.fail(http.StatusBadRequest, msgParameterUnknown("VirtualMedia.EjectMedia", name))
		return
	}
	if c.bare && c.b.kind().media.ejectObject {
		c.fail(http.StatusBadRequest, msgMalformed())
		return
	}
	c.take(s)
}

// take has the medium out and answers; a running system loses it.
func (c *call) take(s *slot) {
	b, m := c.b, c.b.kind().media
	b.mu.Lock()
	empty, busy := s.image == "" && !s.shownLocked() && s.pending == nil, s.busy
	if !empty && !busy && !b.useLocked("lie-eject", c.r) {
		b.takeLocked(s, c.by)
	}
	b.mu.Unlock()
	switch {
	case busy:
		c.fail(http.StatusConflict, msgInUse("slot "+s.id))
	case empty && m.ejectEmpty >= http.StatusBadRequest:
		c.fail(m.ejectEmpty, msgNoMedium("slot "+s.id))
	default:
		c.done(m.ejectStatus, "Eject")
	}
}

func (b *BMC) takeLocked(s *slot, by cause) {
	was, stale := s.image, b.faultLocked("stale-inserted")
	shown, protocol := s.shown, s.protocol
	s.clearLocked()
	s.pending, s.ejected, s.former = nil, time.Now(), shown
	if stale != nil && shown != "" {
		s.shown, s.protocol = shown, protocol
		s.staleUntil = time.Now().Add(stale.duration)
	}
	if was != "" {
		b.record(by, Event{Kind: EventEject, From: s.id, Detail: redact(was)})
		if b.faultLocked("eject-crashes") != nil && b.cycle != nil && b.cycle.guestUp {
			b.restartLocked(cause{who: ByFirmware})
		}
	}
}
