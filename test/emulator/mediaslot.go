package emulator

import (
	"context"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
)

func (b *BMC) addMedia(t map[string]*node) {
	var members []string
	for _, s := range b.slots {
		p := b.mediaPath() + "/" + s.id
		members = append(members, p)
		t[p] = &node{view: func() doc { return b.slotDoc(s) }}
		t[p+"/Actions/VirtualMedia.InsertMedia"] = &node{post: func(c *call) { c.insert(s) }, owner: p}
		t[p+"/Actions/VirtualMedia.EjectMedia"] = &node{post: func(c *call) { c.eject(s) }, owner: p}
	}
	collection(t, b.mediaPath(), "VirtualMedia", "Virtual Media", members...)
}

// slotDoc is one VirtualMedia resource. b.mu is held.
func (b *BMC) slotDoc(s *slot) doc {
	p := b.mediaPath() + "/" + s.id
	d := doc{
		"MediaTypes": s.types, "Image": nil, "ImageName": nil, "Inserted": false, "ConnectedVia": "NotConnected",
		"WriteProtected": true, "TransferMethod": "Stream", "TransferProtocolType": nil, "Status": healthy(),
		"Actions": doc{
			"#VirtualMedia.InsertMedia": doc{
				"target": p + "/Actions/VirtualMedia.InsertMedia",
				"TransferProtocolType@Redfish.AllowableValues": []string{"HTTP", "HTTPS"},
				"TransferMethod@Redfish.AllowableValues":       []string{"Stream"},
			},
			"#VirtualMedia.EjectMedia": doc{"target": p + "/Actions/VirtualMedia.EjectMedia"},
		},
	}
	if s.image != "" {
		d["Image"], d["ImageName"], d["Inserted"], d["ConnectedVia"] = s.image, path.Base(s.image), true, "URI"
		d["WriteProtected"], d["TransferProtocolType"] = s.writeProtected, s.protocol
	}
	return resource(p, "VirtualMedia.v1_6_3.VirtualMedia", s.name, d)
}

const insertAction = "VirtualMedia.InsertMedia"

// insertParameters are the parameters of the action; all but Image are optional.
var insertParameters = []string{"Image", "Inserted", "WriteProtected", "TransferProtocolType", "TransferMethod",
	"UserName", "Password", "MediaType"}

// insert checks the URL from the BMC's own address, then has the medium in.
func (c *call) insert(s *slot) {
	image, protocol, bad := c.insertion()
	if bad != nil {
		c.fail(http.StatusBadRequest, *bad)
		return
	}
	b := c.b
	b.mu.Lock()
	if s.busy || s.image != "" && !b.persona.insertReplaces {
		b.mu.Unlock()
		c.fail(http.StatusConflict, msgInUse("slot "+s.id))
		return
	}
	s.busy = true
	b.mu.Unlock()
	// A BMC goes on when its client hangs up.
	_, _, err := b.stat(context.WithoutCancel(c.r.Context()), image)
	b.mu.Lock()
	s.busy = false
	if err == nil && !b.closed {
		s.clearLocked()
		s.image, s.protocol, s.writeProtected = image, protocol, string(c.body["WriteProtected"]) != "false"
		b.record(c.by, Event{Kind: EventInsert, To: s.id, Detail: redact(image)})
	}
	b.mu.Unlock()
	if err != nil {
		c.fail(http.StatusBadRequest, msgFetch(err.Error()))
		return
	}
	c.answer(http.StatusNoContent, nil)
}

// insertion reads the parameters; the message says what is wrong with them.
func (c *call) insertion() (image, protocol string, bad *message) {
	refuse := func(m message) (string, string, *message) { return "", "", &m }
	for name := range c.body {
		if !slices.Contains(insertParameters, name) {
			return refuse(msgParameterUnknown(insertAction, name))
		}
	}
	image, ok := c.text("Image")
	if !ok {
		return refuse(msgParameterMissing(insertAction, "Image"))
	}
	u, err := url.Parse(image)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return refuse(msgParameterFormat(insertAction, "Image", "it is no http or https URL"))
	case strings.ContainsAny(image, "?&"):
		return refuse(msgParameterFormat(insertAction, "Image", "it holds ? or &"))
	case !strings.HasSuffix(image, ".iso"):
		return refuse(msgParameterFormat(insertAction, "Image", "it does not end in .iso"))
	}
	protocol = strings.ToUpper(u.Scheme)
	if p, sent := c.text("TransferProtocolType"); sent && p != protocol {
		return refuse(msgParameterValue(insertAction, "TransferProtocolType", p))
	}
	if m, sent := c.text("TransferMethod"); sent && m != "Stream" {
		return refuse(msgParameterValue(insertAction, "TransferMethod", m))
	}
	if string(c.body["Inserted"]) == "false" {
		return refuse(msgParameterValue(insertAction, "Inserted", "false"))
	}
	return image, protocol, nil
}

// eject takes the medium out; a running system loses it.
func (c *call) eject(s *slot) {
	for name := range c.body {
		c.fail(http.StatusBadRequest, msgParameterUnknown("VirtualMedia.EjectMedia", name))
		return
	}
	b := c.b
	b.mu.Lock()
	empty := s.image == ""
	busy := s.busy
	if !empty && !busy {
		from := redact(s.image)
		s.clearLocked()
		b.record(c.by, Event{Kind: EventEject, From: s.id, Detail: from})
	}
	b.mu.Unlock()
	switch {
	case busy:
		c.fail(http.StatusConflict, msgInUse("slot "+s.id))
	case empty && b.persona.ejectEmpty >= http.StatusBadRequest:
		c.fail(b.persona.ejectEmpty, msgNoMedium("slot "+s.id))
	default:
		c.answer(http.StatusNoContent, nil)
	}
}
