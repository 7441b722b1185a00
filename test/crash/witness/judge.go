package witness

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Judge says what was wrong, one sentence each, in order.
func (h *History) Judge() []string {
	j := &judge{History: h, world: newWorld()}
	var instant time.Time
	var changed []*Version // of this instant, with what was stored before
	begin := map[id]object{}
	for i := range h.entries {
		e := &h.entries[i]
		at := e.at()
		if !at.Equal(instant) {
			instant, changed, begin = at, nil, map[id]object{}
		}
		if v := e.version; v != nil {
			key := id{v.Site, v.Kind, v.Name}
			if _, seen := begin[key]; !seen {
				begin[key] = j.world.objects[key]
			}
			changed = append(changed, v)
			j.store(v)
			continue
		}
		j.ask(e.request, begin, changed)
	}
	return append(j.found, h.leaks()...)
}

func (e *entry) at() time.Time {
	if e.version != nil {
		return e.version.At
	}
	return e.request.At
}

type judge struct {
	*History
	world *world
	found []string
}

func (j *judge) say(at time.Time, format string, args ...any) {
	j.found = append(j.found, at.Format("15:04:05.000")+" "+fmt.Sprintf(format, args...))
}

// store takes in a version and judges the step to it.
func (j *judge) store(v *Version) {
	key := id{v.Site, v.Kind, v.Name}
	before, after := j.world.objects[key], object(v.Object)
	if after == nil {
		delete(j.world.objects, key)
	} else {
		j.world.objects[key] = after
	}
	switch v.Kind {
	case "PhysicalHost":
		j.hostChanged(v, before, after)
	case "Beskar7Machine":
		if was, is := before.text("spec", "providerID"), after.text("spec", "providerID"); was != "" && after != nil && was != is {
			j.say(v.At, "I1: machine %s had provider id %s, now %s", v.Name, was, is)
		}
		j.providers(v)
	}
}

// hostChanged judges claims.
func (j *judge) hostChanged(v *Version, before, after object) {
	was, is := before.text("spec", "claim", "id"), after.text("spec", "claim", "id")
	server, known := j.world.servers[v.Name]
	if was != "" && is != "" && was != is {
		j.say(v.At, "I1: host %s was %s's by claim %s, and is %s's by claim %s", v.Name, before.text("spec", "claim", "machine"), was, after.text("spec", "claim", "machine"), is)
	}
	if was != "" && is == "" && known && !server.clean() {
		j.endedUnclean(v, before, after, server)
	}
	if was != "" && is == "" {
		j.takenFrom(v, before, after)
	}
	if before.text("status", "state") != "Available" && after.text("status", "state") == "Available" && known && !server.clean() {
		j.say(v.At, "I6: host %s is offered while its server is %+v", v.Name, server)
	}
	if is != "" {
		j.oneHost(v, after)
	}
}

// endedUnclean judges the end of a claim on a server that is not off, empty and disarmed.
func (j *judge) endedUnclean(v *Version, before, after object, server Server) {
	switch {
	case after != nil && !after.has("spec", "quarantine"):
		j.say(v.At, "I6: the claim on host %s ended while its server was %+v", v.Name, server)
	case after == nil && !before.has("metadata", "annotations", movedAnnotation):
		j.say(v.At, "I6: host %s was let go while its server was %+v", v.Name, server)
	}
}

// takenFrom judges the end of a claim that its machine did not give back.
func (j *judge) takenFrom(v *Version, before, after object) {
	if after == nil || before.has("spec", "claim", "release") || after.has("spec", "quarantine") {
		return
	}
	machine := before.text("spec", "claim", "machine")
	m := j.world.objects[id{v.Site, "Beskar7Machine", machine}]
	if m.text("spec", "hostRef", "claimID") == before.text("spec", "claim", "id") && m.has("spec", "providerID") {
		j.say(v.At, "I1: host %s was taken from machine %s, which did not give it back", v.Name, machine)
	}
}

// oneHost: a machine has hardware work on one host only.
func (j *judge) oneHost(v *Version, host object) {
	busy := func(o object) bool {
		return (o.has("spec", "claim", "media") || o.yes("spec", "claim", "bound")) && !o.has("spec", "claim", "release")
	}
	if !busy(host) {
		return
	}
	for key, other := range j.world.objects {
		if key.kind == v.Kind && key.site == v.Site && key.name != v.Name && busy(other) && other.text("spec", "claim", "machine") == host.text("spec", "claim", "machine") {
			j.say(v.At, "I2: machine %s has work on hosts %s and %s", host.text("spec", "claim", "machine"), v.Name, key.name)
		}
	}
}

// providers: no two machines are the same node.
func (j *judge) providers(v *Version) {
	mine := object(v.Object).text("spec", "providerID")
	for key, other := range j.world.objects {
		if mine != "" && key.kind == v.Kind && key.site == v.Site && key.name != v.Name && other.text("spec", "providerID") == mine {
			j.say(v.At, "I1: machines %s and %s have one provider id", v.Name, key.name)
		}
	}
}

// ask takes in a request and judges it.
func (j *judge) ask(r *Request, begin map[id]object, changed []*Version) {
	w := j.world
	defer func() { w.servers[r.Host] = r.After }()
	switch r.Op {
	case Outside:
		w.lost[r.Host] = true
		return
	case Another:
		w.another[r.Host] = r.At
		return
	case Own:
		delete(w.another, r.Host)
		return
	case Served:
		if why := w.standing(r.Site, r.Host).unread(r.URL); why != "" {
			j.say(r.At, "I12: bootstrap data of machine %s were served to host %s: %s", r.URL, r.Host, why)
		}
		return
	case Settled:
		return
	}
	if since, ok := w.another[r.Host]; ok && r.At.After(since) { // in that instant it may have been asked before
		j.say(r.At, "I11: %s, and another server than %s answers", r.Op, r.Host)
	}
	defer func() { w.last[r.Host] = *r }()
	if last, ok := w.last[r.Host]; ok && last.Site == r.Site && j.Cooldown > 0 && r.At.Sub(last.At) < j.Cooldown {
		j.say(r.At, "I7: %s of server %s %s after its %s", r.Op, r.Host, r.At.Sub(last.At), last.Op)
	}
	if why := j.forbidden(r, begin, changed); why != "" {
		j.say(r.At, "%s: %s of server %s, which was %+v", why, r.Op, r.Host, r.Before)
	}
	if r.Op == On {
		claim := w.standing(r.Site, r.Host).claim.text("id")
		if boots := w.boots[claim]; len(boots) > 0 && !w.lost[r.Host] && r.At.Sub(boots[len(boots)-1].At) < j.BootTimeout {
			j.say(r.At, "I10: server %s was booted again for claim %s without a cause", r.Host, claim)
		}
		w.boots[claim] = append(w.boots[claim], *r)
		w.lost[r.Host] = false
	}
}

// forbidden: no moment of the instant allows the request.
func (j *judge) forbidden(r *Request, begin map[id]object, changed []*Version) string {
	now := j.world.standing(r.Site, r.Host).forbids(*r, j.world, j.BootTimeout)
	if now == "" || len(changed) == 0 {
		return now
	}
	then := *j.world
	then.objects = map[id]object{}
	for key, o := range j.world.objects {
		then.objects[key] = o
	}
	set := func(key id, o object) {
		if then.objects[key] = o; o == nil {
			delete(then.objects, key)
		}
	}
	for key, o := range begin {
		set(key, o)
	}
	for _, v := range append([]*Version{nil}, changed...) {
		if v != nil {
			set(id{v.Site, v.Kind, v.Name}, v.Object)
		}
		if then.standing(r.Site, r.Host).forbids(*r, &then, j.BootTimeout) == "" {
			return ""
		}
	}
	return now
}

// leaks: secrets, and tokens of media, are said nowhere.
func (h *History) leaks() []string {
	hidden := slices.Clone(h.Secrets)
	for _, r := range h.requests {
		for _, part := range strings.Split(r.URL, "/") {
			if len(part) >= 24 { // a token; nothing else in a URL of ours is that long
				hidden = append(hidden, part)
			}
		}
	}
	var found []string
	look := func(where, text string) {
		for _, s := range hidden {
			if strings.Contains(text, s) {
				found = append(found, "I9: a secret is in "+where)
			}
		}
	}
	for _, v := range h.versions {
		if v.Kind != "Secret" {
			text, _ := json.Marshal(v.Object)
			look(v.Kind+" "+v.Name, string(text))
		}
	}
	for _, t := range h.texts {
		look(t.Where, t.Text)
	}
	slices.Sort(found)
	return slices.Compact(found)
}
