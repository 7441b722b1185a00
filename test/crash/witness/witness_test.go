package witness

import (
	"strings"
	"testing"
	"time"
)

// past is a history that is written down by hand, one second apart.
type past struct {
	*History
	now time.Time
}

func newPast() *past {
	return &past{&History{Cooldown: time.Second, BootTimeout: 10 * time.Minute, Secrets: []string{"hunter2"}}, time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)}
}

func (p *past) stored(kind, name string, o map[string]any) {
	p.now = p.now.Add(time.Second)
	p.Stored(Version{At: p.now, Site: "s", Kind: kind, Name: name, Object: o})
}

func (p *past) asked(op string, before, after Server) {
	p.now = p.now.Add(time.Second)
	p.Asked(Request{At: p.now, Site: "s", Host: "h", Op: op, URL: "https://media/0123456789abcdefghijklmn/boot.iso", Before: before, After: after})
}

// served is that somebody read a machine's bootstrap data from the medium in the server.
func (p *past) served(machine string) {
	p.now = p.now.Add(time.Second)
	p.Asked(Request{At: p.now, Site: "s", Host: "h", Op: Served, URL: machine, Before: loaded, After: loaded})
}

type fields = map[string]any

func host(claim fields, more ...fields) fields {
	spec := fields{"boot": fields{"bootMode": "Live"}}
	if claim != nil {
		spec["claim"] = claim
	}
	o := fields{"spec": spec}
	for _, m := range more {
		for k, v := range m {
			spec[k] = v
		}
	}
	return o
}

func claim(id string, more ...fields) fields {
	c := fields{"id": id, "machine": "m", "cluster": "c"}
	for _, m := range more {
		for k, v := range m {
			c[k] = v
		}
	}
	return c
}

func machine(host, id string) fields {
	return fields{"spec": fields{"hostRef": fields{"name": host, "claimID": id}, "providerID": "beskar7://ns/" + host + "/" + id}}
}

var (
	isOff   = Server{Power: "Off"}
	loaded  = Server{Power: "Off", Media: []string{"u"}}
	armed   = Server{Power: "Off", Armed: true, Media: []string{"u"}}
	running = Server{Power: "On", Media: []string{"u"}}
	bound   = fields{"bound": true}
	marked  = fields{"release": fields{"reason": "MachineDeleted"}}
	granted = fields{"media": fields{"tokenHash": "x"}}
	locked  = fields{"quarantine": fields{"reason": "Person"}}
)

// held is a host that its machine confirms.
func (p *past) held(more ...fields) {
	p.stored("Beskar7Machine", "m", machine("h", "1"))
	p.stored("PhysicalHost", "h", host(claim("1", more...)))
}

// boot is what a claimed host goes through.
func (p *past) boot() {
	p.asked(Insert, isOff, loaded)
	p.asked(Arm, loaded, armed)
	p.asked(On, armed, running)
}

// violations are planted in a past that is right but for them.
var violations = map[string]struct {
	want string
	do   func(*past)
}{
	"a claim over a claim":      {"I1: host h was", func(p *past) { p.held(); p.stored("PhysicalHost", "h", host(claim("2"))) }},
	"two machines are one node": {"I1: machines", func(p *past) { p.held(); p.stored("Beskar7Machine", "n", machine("h", "1")) }},
	"another provider id":       {"I1: machine m had", func(p *past) { p.held(); p.stored("Beskar7Machine", "m", machine("h", "2")) }},
	"a host is taken away":      {"I1: host h was taken", func(p *past) { p.held(); p.stored("PhysicalHost", "h", host(nil)) }},
	"two hosts of one machine":  {"I2", func(p *past) { p.held(granted); p.stored("PhysicalHost", "i", host(claim("2", granted))) }},
	"a boot of nobody's host":   {"I4: an unclaimed", func(p *past) { p.stored("PhysicalHost", "h", host(nil)); p.asked(On, isOff, running) }},
	"a boot without a host":     {"I4: the server of no", func(p *past) { p.asked(On, isOff, running) }},
	"an unconfirmed claim":      {"I4: claim and machine", func(p *past) { p.stored("PhysicalHost", "h", host(claim("1"))); p.asked(Insert, isOff, loaded) }},
	"a boot in release":         {"I4: a host in release", func(p *past) { p.held(marked); p.asked(On, armed, running) }},
	"a boot of whatever":        {"I4: powered on without", func(p *past) { p.held(); p.asked(On, isOff, running) }},
	"a paused host": {"I5: a paused", func(p *past) {
		p.held()
		p.stored("PhysicalHost", "h", host(claim("1"), fields{"paused": true}))
		p.asked(Insert, isOff, loaded)
	}},
	"a host of a paused cluster": {"I5: a paused", func(p *past) {
		p.stored("Cluster", "c", fields{"spec": fields{"paused": true}})
		p.held()
		p.asked(Insert, isOff, loaded)
	}},
	"a quarantined host": {"I5: a quarantined", func(p *past) {
		p.held()
		p.stored("PhysicalHost", "h", host(claim("1"), locked))
		p.asked(Insert, isOff, loaded)
	}},
	"a bound host is cut":   {"I5: a bound", func(p *past) { p.held(bound); p.asked(ForceOff, running, loaded) }},
	"a bound host is armed": {"I5: a bound", func(p *past) { p.held(bound); p.asked(Arm, running, running) }},
	"a lost Live system":    {"I5: a Live system", func(p *past) { p.held(bound); p.asked(On, armed, running) }},
	"a second installation": {"I5: an installed", func(p *past) {
		p.held()
		p.stored("PhysicalHost", "h", host(claim("1", bound), fields{"boot": fields{"bootMode": "Install"}}))
		p.asked(Insert, isOff, loaded)
	}},
	"a medium is left behind": {"I6: the claim", func(p *past) {
		p.held(marked)
		p.asked(ForceOff, running, loaded)
		p.stored("PhysicalHost", "h", host(nil))
	}},
	"a running host is offered": {"I6: host h is offered", func(p *past) {
		p.held(marked)
		p.asked(ForceOff, running, loaded)
		p.stored("PhysicalHost", "h", host(nil, locked))
		p.stored("PhysicalHost", "h", fields{"status": fields{"state": "Available"}})
	}},
	"no rest": {"I7", func(p *past) {
		p.held()
		p.asked(Insert, isOff, loaded)
		p.now = p.now.Add(-time.Millisecond)
		p.asked(Arm, loaded, armed)
	}},
	"another server is changed": {"I11", func(p *past) { p.held(); p.asked(Another, isOff, isOff); p.asked(Insert, isOff, loaded) }},
	"data of another machine":   {"I12", func(p *past) { p.held(granted); p.served("n") }},
	"data of a bound host":      {"I12", func(p *past) { p.held(bound); p.served("m") }},
	"data without a confirmation": {"I12", func(p *past) {
		p.stored("PhysicalHost", "h", host(claim("1", granted)))
		p.served("m")
	}},
	"a password in a log": {"I9: a secret is in a log", func(p *past) { p.held(); p.Said("a log line", "it is hunter2, shh") }},
	"a token in a status": {"I9: a secret is in PhysicalHost", func(p *past) {
		p.held()
		p.asked(Insert, isOff, loaded)
		p.stored("PhysicalHost", "h", host(claim("1"), fields{"x": "0123456789abcdefghijklmn"}))
	}},
	"a boot is cut short":       {"I10: a boot of ours", func(p *past) { p.held(); p.boot(); p.asked(ForceOff, running, loaded) }},
	"a second boot":             {"I10: server h was booted again", func(p *past) { p.held(); p.boot(); p.asked(On, armed, running) }},
	"media of a running server": {"D11", func(p *past) { p.held(); p.boot(); p.asked(Eject, running, Server{Power: "On"}) }},
}

// TestEveryViolationIsFound plants each of them.
func TestEveryViolationIsFound(t *testing.T) {
	for name, c := range violations {
		t.Run(name, func(t *testing.T) {
			p := newPast()
			c.do(p)
			if found := strings.Join(p.Judge(), "\n"); !strings.Contains(found, c.want) {
				t.Errorf("want %q, found\n%s", c.want, found)
			}
		})
	}
}

// TestARightLifeIsRight: what the violations are planted in is none.
func TestARightLifeIsRight(t *testing.T) {
	p := newPast()
	p.stored("PhysicalHost", "h", host(nil))
	p.held()
	p.asked(Another, isOff, isOff)
	p.asked(Own, isOff, isOff)
	p.served("m")
	p.boot()
	p.stored("PhysicalHost", "h", host(claim("1", bound)))
	p.stored("PhysicalHost", "h", host(claim("1", bound, marked)))
	p.asked(Shutdown, running, loaded)
	p.asked(Eject, loaded, isOff)
	p.stored("PhysicalHost", "h", host(nil))
	p.stored("PhysicalHost", "h", fields{"status": fields{"state": "Available"}})
	if found := p.Judge(); len(found) > 0 {
		t.Error(strings.Join(found, "\n"))
	}
}

// TestWhatChangesInTheInstantIsForgiven: a pause that is stored while an operation is under way comes too late for its request, and
// one that was stored before it does not.
func TestWhatChangesInTheInstantIsForgiven(t *testing.T) {
	for _, late := range []bool{true, false} {
		p := newPast()
		p.held()
		pause := host(claim("1"), fields{"paused": true})
		if p.stored("PhysicalHost", "h", pause); late {
			p.now = p.now.Add(-time.Second)
		}
		p.asked(Insert, isOff, loaded)
		if found := p.Judge(); (len(found) == 0) != late {
			t.Errorf("late %v: %v", late, found)
		}
	}
}
