package redfish

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

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
		// Some say it in prose only: two words that belong together are no accident.
		return len(f.names) > 1 && r.saysNothing() && !slices.ContainsFunc(f.names, func(n string) bool { return !r.names(n) })
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

func insertFieldNamed(name string) *insertField {
	i := slices.IndexFunc(insertFields, func(f insertField) bool { return f.names[0] == name })
	if i < 0 {
		return nil
	}
	return &insertFields[i]
}

// Insert sends the smallest body that this BMC is known to take, then what the
// refusal asked for, one member each time; what it wanted is learned.
func (c *client) Insert(ctx context.Context, slotID, image string) error {
	const op = "insert media"
	u, invalid := imageURL(image)
	if invalid != nil {
		return c.conn.fail(op, invalid)
	}
	slot, err := c.slot(ctx, op, slotID)
	if err != nil {
		return err
	}
	c.forgetMount(slotID)
	switch slot.form {
	case insertNone:
		return c.conn.fail(op, &Error{Kind: KindUnsupported, Message: "the slot cannot be given an image over Redfish: use another one"})
	case insertIsoConfig:
		return c.slotChanged(c.insertIsoConfig(ctx, op, slot, u))
	case insertEnable:
		return c.enableMedia(ctx, op)
	case insertAction, insertPatch, insertHP:
	}
	resp, err := c.insertGrowing(ctx, op, slot, u)
	if err != nil {
		return c.slotChanged(c.explainInsert(err, u))
	}
	c.noteMount(slotID, resp)
	return nil
}

// insertGrowing repeats the request only after a refusal that names a member as
// missing, or as one too many.
func (c *client) insertGrowing(ctx context.Context, op string, slot slotRef, u *url.URL) (*response, error) {
	send := func(fields []string) (*response, error) {
		body := map[string]any{"Image": u.String()}
		for _, f := range insertFields {
			if slices.Contains(fields, f.names[0]) {
				f.add(body, u)
			}
		}
		if slot.form == insertPatch {
			return c.patch(ctx, op, slot.path, body)
		}
		return c.post(ctx, op, slot.insert, body)
	}
	usual := c.usualFields(slot.form)
	fields, dropped := c.fieldsFor(slot.form), []string{}
	for {
		resp, err := send(fields)
		if err == nil {
			if slot.form != insertPatch {
				c.learnFields(fields, usual)
			}
			return resp, nil
		}
		if more := missingField(err, append(slices.Clone(fields), dropped...)); more != "" {
			fields = append(slices.Clone(fields), more)
			continue
		}
		less := refusedField(err, fields)
		if less == "" || slot.form == insertPatch && less == "Inserted" {
			return nil, err
		}
		dropped = append(dropped, less)
		fields = slices.DeleteFunc(slices.Clone(fields), func(f string) bool { return f == less })
	}
}

// usualFields are the row's for that form.
func (c *client) usualFields(form insertForm) []string {
	fields := slices.Clone(c.row().fields)
	if form == insertPatch {
		fields = append(fields, "Inserted") // a PATCH of the image alone is not yet an insert
	}
	return fields
}

// fieldsFor are the members to begin with.
func (c *client) fieldsFor(form insertForm) []string {
	kept := c.know().Insert
	switch {
	case kept == "" || form == insertPatch:
		return c.usualFields(form)
	case kept == wordNone:
		return nil
	}
	return strings.Split(kept, ",")
}

func (c *client) learnFields(fields, usual []string) {
	word := ""
	if !slices.Equal(slices.Sorted(slices.Values(fields)), slices.Sorted(slices.Values(usual))) {
		if word = strings.Join(fields, ","); word == "" {
			word = wordNone
		}
	}
	c.learn(func(l *learned) { l.Insert = word })
}

// refusalOf is the error of a 4xx that says that nothing was done.
func refusalOf(err error) *Error {
	e, ok := asError(err)
	if !ok || e.Status < 400 || e.Status > 499 || e.Status == http.StatusConflict || e.Kind == KindUnauthorized || e.Kind == KindBusy {
		return nil
	}
	return e
}

func asError(err error) (*Error, bool) {
	var e *Error
	ok := errors.As(err, &e)
	return e, ok
}

// missingField is the first field the refusal names that was not sent yet.
func missingField(err error, sent []string) string {
	e := refusalOf(err)
	if e == nil || e.refusal.has(unwanted...) {
		return ""
	}
	for _, f := range insertFields {
		if !slices.Contains(sent, f.names[0]) && f.wantedBy(e.refusal) {
			return f.names[0]
		}
	}
	return ""
}

// unwanted are the message keys of a member that must not be sent.
var unwanted = []string{"actionparameterunknown", "actionparameternotsupported", "propertyunknown", "propertynotwritable", "actionparametervaluenotinlist", "propertyvaluenotinlist"}

// refusedField is the first field that was sent and that the refusal names as
// not wanted.
func refusedField(err error, sent []string) string {
	e := refusalOf(err)
	if e == nil || !e.refusal.has(unwanted...) {
		return ""
	}
	for _, name := range sent {
		if f := insertFieldNamed(name); f != nil && slices.ContainsFunc(f.names, e.refusal.names) {
			return name
		}
	}
	return ""
}

// explainInsert adds what is known of the row to a refusal that says little.
func (c *client) explainInsert(err error, u *url.URL) error {
	failed, ok := asError(err)
	if ok && failed.Kind == KindBusy && failed.Status >= http.StatusInternalServerError && failed.Status != http.StatusServiceUnavailable {
		// sushy-tools fetches the image before it answers, and says 502 where it cannot.
		failed.Message += "; it may be unable to fetch the image: check that its network reaches the media URL and trusts its certificate"
	}
	e := refusalOf(err)
	if e != nil && u.Scheme == "http" && c.row().httpsOnly {
		e.Message += "; BMCs of this kind fetch images over https only: give the host an https media URL"
	}
	return err
}
