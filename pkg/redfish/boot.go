package redfish

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/stmcginnis/gofish/schemas"
)

// maxBootTries bounds how often one override is sent in another form.
const maxBootTries = 5

// bootForm is one way to write the override.
type bootForm struct {
	target string
	mode   string // "" leaves it out
	place  bootPlace
	// full sends target, mode and enabled together.
	full bool
}

// bootMemory is what a client remembers of overrides.
type bootMemory struct {
	// asked is the form last sent that was not read back yet. If it still stands
	// when the override is asked for again, the BMC took it and did nothing.
	asked *bootForm
	// ineffective are the forms that came to nothing.
	ineffective []bootForm
	// settled: the pending resource was read as disarmed, and nothing was asked
	// for since: it need not be read again.
	settled bool
	// elsewhere: the armed override was read from the pending resource.
	elsewhere bool
	// settingsHold tells whether the pending settings hold a Boot; nil: not looked.
	settingsHold *bool
	// attributes is the path of a Dell manager's attributes.
	attributes string
	// shown is how the override was last read to be enabled.
	shown OverrideEnabled
	// byTarget: this BMC refuses to disable an override, and takes the disk as its target.
	byTarget bool
}

func (d bootDoc) override() BootOverride {
	return BootOverride{Enabled: overrideEnabled(string(d.Enabled)), Target: string(d.Target.text), Mode: string(d.Mode.text)}
}

// SetBootOnce writes the override where this BMC wants it. A form that was
// refused as such is sent in the next one; a form that was taken and did nothing
// is left for the next at the next call.
func (c *client) SetBootOnce(ctx context.Context, device BootDevice) error {
	const op = "set boot once"
	if device != BootCD {
		return c.conn.fail(op, &Error{Kind: KindUnsupported, Message: "unknown boot device"})
	}
	form, err := c.bootForm(ctx, op)
	if err != nil {
		return err
	}
	for range maxBootTries {
		if err = c.writeBoot(ctx, op, form, schemas.OnceBootSourceOverrideEnabled); err == nil {
			c.learn(func(l *learned) {
				asked := form
				l.boot.asked, l.boot.settled = &asked, false
			})
			return nil
		}
		next, ok := c.otherForm(form, err)
		if !ok {
			if e := refusalOf(err); e != nil && e.Status == http.StatusBadRequest && e.refusal.saysNothing() {
				// It does not say what is wrong: the next call begins with the next form.
				c.learn(func(l *learned) { l.boot.ineffective = append(l.boot.ineffective, form) })
			}
			return err
		}
		form = next
	}
	return err
}

// ClearBoot disables the override where it was seen. A BMC that knows no other
// override than a lasting one may refuse that: its next boot is then of the disk.
func (c *client) ClearBoot(ctx context.Context) error {
	const op = "clear boot override"
	form, err := c.bootForm(ctx, op)
	if err != nil && KindOf(err) != KindUnsupported { // a BMC without a boot from CD can be armed with something else
		return err
	}
	form.target, form.mode = string(schemas.NoneBootSource), ""
	if form.place == placeDell && !c.know().boot.elsewhere {
		form.place = placeSystem // two places that do not know of each other: clear the one that is armed
	}
	cleared := func(l *learned) { l.boot.asked, l.boot.settled = nil, false }
	if c.know().boot.byTarget {
		if err = c.bootFromDisk(ctx, op); err == nil {
			c.learn(cleared)
			return nil
		}
		c.learn(func(l *learned) { l.boot.byTarget = false })
	}
	for range maxBootTries {
		if err = c.writeBoot(ctx, op, form, schemas.DisabledBootSourceOverrideEnabled); err == nil {
			c.learn(cleared)
			return nil
		}
		next, ok := c.otherForm(form, err)
		if !ok {
			break
		}
		form = next
		form.target = string(schemas.NoneBootSource)
	}
	if c.mayRest(err) && c.bootFromDisk(ctx, op) == nil {
		c.learn(func(l *learned) {
			cleared(l)
			l.boot.byTarget = true
		})
		return nil
	}
	return err
}

// mayRest tells whether a BMC that did not disable its override may rest with it at the
// disk. sushy-tools answers 400 or, with libvirt, 500, and has changed nothing.
func (c *client) mayRest(err error) bool {
	e, ok := asError(err)
	return ok && c.know().boot.shown == OverrideContinuous && (refusalOf(err) != nil || e.Status == http.StatusInternalServerError)
}

// bootFromDisk makes the disk the lasting target.
func (c *client) bootFromDisk(ctx context.Context, op string) error {
	facts, path, err := c.systemFacts(ctx, op)
	if err != nil {
		return err
	}
	word, ok := pick([]schemas.BootSource{schemas.HddBootSource}, facts.bootTargets)
	if !ok {
		return c.conn.fail(op, &Error{Kind: KindUnsupported, Message: "the BMC offers no boot from disk, only " + named(facts.bootTargets)})
	}
	_, err = c.patch(ctx, op, path, map[string]any{"Boot": map[string]string{
		"BootSourceOverrideEnabled": string(schemas.ContinuousBootSourceOverrideEnabled), "BootSourceOverrideTarget": word}})
	return err
}

// bootForm is the form to begin with: the row's, as refined by what was learned
// and by what came to nothing.
func (c *client) bootForm(ctx context.Context, op string) (bootForm, error) {
	row, err := c.confirmedRow(ctx, op)
	if err != nil {
		return bootForm{}, err
	}
	place, err := c.bootPlace(ctx, op, row)
	if err != nil {
		return bootForm{}, err
	}
	facts, _, err := c.systemFacts(ctx, op)
	if err != nil {
		return bootForm{}, err
	}
	c.learn(func(l *learned) {
		if l.boot.asked != nil {
			l.boot.ineffective, l.boot.asked = append(l.boot.ineffective, *l.boot.asked), nil
		}
	})
	l := c.know()
	forms := bootForms(row, l.Learned, place, facts, l.mode)
	if len(forms) == 0 {
		return bootForm{place: place}, c.conn.fail(op, &Error{Kind: KindUnsupported, Message: "the BMC offers no boot from CD, only " + named(facts.bootTargets)})
	}
	for _, form := range forms {
		if !slices.Contains(l.boot.ineffective, form) {
			return form, nil
		}
	}
	c.learn(func(l *learned) { l.boot.ineffective = nil }) // all of them: begin again
	return forms[0], nil
}

// bootForms are the forms worth a try, the likeliest first: each word for the CD
// with the row's mode, then with the other one. A learned word goes first, a
// learned mode is the only one. Without facts the row alone is asked.
//
// A mode is only sent to a BMC that publishes one: boards without it refuse the
// whole request (X10SDV; metal-operator redfish_supermicro.go).
func bootForms(row *vendor, l Learned, place bootPlace, facts *systemFacts, published string) []bootForm {
	if place == placeDell {
		return []bootForm{{target: cdTargets[0], place: place}, {target: cdTargets[0], place: placeSystem}}
	}
	var allowed []string
	if facts != nil {
		allowed = facts.bootTargets
	}
	var words []string
	for _, word := range append([]string{l.BootTarget}, row.targets()...) {
		if word == "" {
			continue
		}
		if word, ok := pick([]schemas.BootSource{schemas.BootSource(word)}, allowed); ok && !slices.Contains(words, word) {
			words = append(words, word)
		}
	}
	modes := []string{"", wordUEFI}
	if row.bootMode == modeUEFI || row.bootMode == modeUnlessUEFI && published != "" && !strings.EqualFold(published, wordUEFI) {
		modes = []string{wordUEFI, ""}
	}
	switch {
	case l.BootMode == wordUEFI:
		modes = []string{wordUEFI}
	case l.BootMode == wordOmitted, facts != nil && !facts.hasMode:
		modes = []string{""}
	}
	var out []bootForm
	for _, mode := range modes {
		for _, word := range words {
			out = append(out, bootForm{target: word, mode: mode, place: place})
		}
	}
	return out
}

// writeBoot is one changing request.
func (c *client) writeBoot(ctx context.Context, op string, form bootForm, enabled schemas.BootSourceOverrideEnabled) error {
	if form.place == placeDell {
		return c.writeDellBoot(ctx, op, enabled)
	}
	facts, path, err := c.systemFacts(ctx, op)
	if err != nil {
		return err
	}
	link := path
	if form.place == placeSettings {
		link = settingsPath(facts, path)
	}
	row := c.row()
	once, full := enabled == schemas.OnceBootSourceOverrideEnabled, form.full || row.bootBody == bodyFull
	boot := map[string]string{"BootSourceOverrideEnabled": string(enabled)}
	// iLO refuses a target together with Disabled; MegaRAC wants all three always.
	if once || full {
		boot["BootSourceOverrideTarget"] = form.target
	}
	if form.mode != "" {
		boot["BootSourceOverrideMode"] = form.mode
	} else if full && !once && facts.hasMode {
		boot["BootSourceOverrideMode"] = wordUEFI
	}
	_, err = c.patch(ctx, op, link, map[string]any{"Boot": boot})
	return err
}

// otherForm changes the form as the refusal says. Only a 4xx that names what is
// wrong says that nothing was done and what to do instead.
func (c *client) otherForm(form bootForm, err error) (bootForm, bool) {
	var e *Error
	if !errors.As(err, &e) || e.Status < 400 || e.Status > 499 || e.Kind == KindUnauthorized || e.Kind == KindBusy {
		return form, false
	}
	if place := c.otherPlace(form.place, e); place != form.place {
		form.place = place
		c.learn(func(l *learned) { l.BootPlace = placeWords[place] })
		return form, true
	}
	if !form.full && e.refusal.has(missed...) && e.refusal.names("bootsourceoverridetarget") {
		form.full = true
		return form, true
	}
	if mode, ok := otherMode(form.mode, e.refusal); ok {
		form.mode = mode
		c.learn(func(l *learned) { l.BootMode = map[bool]string{true: wordUEFI, false: wordOmitted}[mode != ""] })
		return form, true
	}
	if next := otherTarget(c.row(), form.target); next != "" && form.place != placeDell && e.refusal.has("propertyvaluenotinlist") {
		form.target = next
		return form, true
	}
	if facts := c.know().facts; form.place == placeSystem && facts != nil && facts.settings != "" && wantsSettings(e.refusal) {
		form.place = placeSettings
		c.learn(func(l *learned) { l.BootPlace = placeWords[placeSettings] })
		return form, true
	}
	return form, false
}

// otherPlace is the system where the refused place cannot be the one: it is not there, takes no change, or holds a Boot without
// an override.
func (c *client) otherPlace(place bootPlace, e *Error) bootPlace {
	gone := e.Status == http.StatusNotFound || e.Status == http.StatusMethodNotAllowed
	unknown := place == placeSettings && e.refusal.has("propertyunknown") && e.refusal.names("bootsourceoverride")
	if place != placeSystem && (gone || unknown) {
		return placeSystem
	}
	return place
}

// refusedMember are the message keys of a member that the BMC does not take as
// it was sent.
var refusedMember = []string{"propertynotwritable", "propertyunknown", "propertyvaluenotinlist", "propertyvaluetypeerror", "propertyvalueconflict", "propertyvalueerror"}

// missed are the message keys of a member that must be sent.
var missed = []string{"propertymissing", "createfailedmissingreqproperties", "actionparametermissing"}

// otherMode leaves the mode out where it was refused and sends it where it was
// missed.
func otherMode(mode string, r *refusal) (string, bool) {
	switch {
	case !r.names("bootsourceoverridemode"):
	case mode != "" && r.has(refusedMember...):
		return "", true
	case mode == "" && r.has(missed...):
		return wordUEFI, true
	}
	return mode, false
}

// wantsSettings: the override is refused here, for all but its mode, or as a whole.
func wantsSettings(r *refusal) bool {
	return r.has("operationsupportedinfuturestateuri") ||
		r.has(refusedMember...) && r.names("bootsourceoverride") && !r.names("bootsourceoverridemode") ||
		r.has("propertynotwritable") && r.isAbout("Boot")
}

// otherTarget is the next word for the virtual CD, "" after the last.
func otherTarget(row *vendor, word string) string {
	words := row.targets()
	i := slices.IndexFunc(words, func(w string) bool { return strings.EqualFold(w, word) })
	if i < 0 || i+1 >= len(words) {
		return ""
	}
	return words[i+1]
}

// confirm compares what was read with what was asked. Needs c.mu.
func (l *learned) confirm(row *vendor, read BootOverride) (downgraded bool) {
	asked := l.boot.asked
	if asked == nil {
		return false
	}
	if !read.ArmedFrom(BootCD) {
		return false
	}
	if asked.mode == wordUEFI && strings.EqualFold(read.Mode, "Legacy") {
		return true
	}
	l.boot.asked, l.boot.ineffective = nil, nil
	first := bootForms(row, Learned{}, asked.place, l.facts, "")[0]
	if asked.target != first.target {
		l.BootTarget = asked.target
	}
	if asked.mode != first.mode {
		l.BootMode = map[bool]string{true: wordUEFI, false: wordOmitted}[asked.mode != ""]
	}
	return false
}
