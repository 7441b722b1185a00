package lab

import (
	"cmp"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/beskar7/beskar7/test/emulator"
)

// serverLog is a server's own record.
type serverLog struct {
	name string
	// address is the BMC's base URL without a slash at its end.
	address string
	events  []emulator.Event
	changes []emulator.Change
	// maxInFlight is the highest number of requests in the BMC at once.
	maxInFlight int
	// nodes are the provider ids of the nodes that came up on it.
	nodes map[string]bool
}

// condition is what a server was after an event.
type condition struct {
	at    time.Time
	power string
	// offBy is who caused the last power-off.
	offBy    emulator.Actor
	override string
	slots    []string
}

// clean: off, empty, disarmed.
func (c condition) clean() bool {
	return c.power == string(emulator.Off) && len(c.slots) == 0 && disarmed(c.override)
}

// lostPower: off, and not because Redfish was asked for it.
func (c condition) lostPower() bool {
	return c.power == string(emulator.Off) && c.offBy != emulator.ByRedfish
}

func (c condition) String() string {
	text := "power " + c.power
	if len(c.slots) > 0 {
		text += ", medium in " + strings.Join(c.slots, " and ")
	}
	if !disarmed(c.override) {
		text += ", override " + c.override
	}
	return text
}

// disarmed reads the override's words, Target/Enabled/Mode. To boot the disk each time is how BMCs rest that know no Disabled:
// sushy-tools has nothing else (its capture in test/replay).
func disarmed(override string) bool {
	words := strings.Split(override, "/")
	return len(words) < 2 || words[0] == "None" || words[1] == "Disabled" || words[0] == "Hdd" && words[1] == "Continuous"
}

// lasting says whether an override outlives a boot.
func lasting(override string) bool {
	words := strings.Split(override, "/")
	return len(words) > 1 && words[1] == "Continuous"
}

// server is a server's record, played back.
type server struct {
	serverLog
	// conditions[0] is before the first event, conditions[i] after event i-1.
	conditions []condition
	acts       []act
}

// play rebuilds the conditions from the events: a server starts off, empty and disarmed, and logs every change of that.
func play(log serverLog) *server {
	s := &server{serverLog: log}
	slices.SortStableFunc(s.events, func(a, b emulator.Event) int { return cmp.Compare(a.Seq, b.Seq) })
	c := condition{power: string(emulator.Off)}
	s.conditions = append(s.conditions, c)
	for _, e := range s.events {
		c.at, c.slots = e.Time, slices.Clone(c.slots)
		switch e.Kind {
		case emulator.EventPower:
			c.power = e.To
			if e.To == string(emulator.Off) {
				c.offBy = e.Who
			}
		case emulator.EventOverride:
			c.override = e.To
		case emulator.EventInsert:
			if !slices.Contains(c.slots, e.To) {
				c.slots = append(c.slots, e.To)
			}
		case emulator.EventEject:
			c.slots = slices.DeleteFunc(c.slots, func(id string) bool { return id == e.From })
		default: // says nothing of the three
		}
		s.conditions = append(s.conditions, c)
	}
	s.acts = s.collect()
	return s
}

// at is the condition at t.
func (s *server) at(t time.Time) condition {
	return s.conditions[max(0, sort.Search(len(s.conditions), func(i int) bool { return s.conditions[i].at.After(t) })-1)]
}

// cleanWithin says whether the server was clean at some moment of a span.
func (s *server) cleanWithin(m span) bool { return s.within(m, condition.clean) }

// onWithin says whether the server was on at some moment of a span.
func (s *server) onWithin(m span) bool {
	return s.within(m, func(c condition) bool { return c.power == string(emulator.On) })
}

// within says whether something was true of the server at some moment of a span.
func (s *server) within(m span, is func(condition) bool) bool {
	from, to := m.from.Add(-clockSlack), m.to.Add(clockSlack)
	if is(s.at(from)) {
		return true
	}
	return slices.ContainsFunc(s.conditions, func(c condition) bool { return is(c) && c.at.After(from) && !c.at.After(to) })
}

// act is one thing that somebody did to the server through its BMC: a changing request with its events, or, where the request is
// not on record, one event.
type act struct {
	at     time.Time
	what   string
	events []emulator.Event
}

// hardware are the kinds of events that change what the server does or holds.
var hardware = []emulator.EventKind{emulator.EventPower, emulator.EventReset, emulator.EventOverride, emulator.EventInsert, emulator.EventEject}

// collect joins requests and events, by time.
func (s *server) collect() []act {
	byRequest := map[uint64]int{}
	var acts []act
	for _, c := range s.changes {
		if c.Changed && !c.Session {
			byRequest[c.ID] = len(acts)
			acts = append(acts, act{at: c.Start, what: c.Method + " " + c.Path})
		}
	}
	for _, e := range s.events {
		if e.Who != emulator.ByRedfish {
			continue
		}
		if i, known := byRequest[e.Request]; known {
			acts[i].events = append(acts[i].events, e)
		} else if slices.Contains(hardware, e.Kind) {
			acts = append(acts, act{at: e.Time, what: "an unknown request", events: []emulator.Event{e}})
		}
	}
	slices.SortStableFunc(acts, func(a, b act) int { return a.at.Compare(b.at) })
	return acts
}

func (a act) String() string {
	text := a.what
	for _, e := range a.events {
		if e.Kind == emulator.EventReset {
			text += fmt.Sprintf(" (%s)", e.To)
		} else if slices.Contains(hardware, e.Kind) {
			text += fmt.Sprintf(" (%s %s→%s)", e.Kind, e.From, e.To)
		}
	}
	return text + " at " + clock(a.at)
}

func clock(t time.Time) string { return t.UTC().Format("15:04:05.000") }

// booted says whether firmware started a boot from CD in an interval.
func (s *server) booted(i interval) bool {
	return slices.ContainsFunc(s.events, func(e emulator.Event) bool {
		return e.Kind == emulator.EventBoot && e.Who == emulator.ByFirmware && e.To == "Cd" && i.may(e.Time)
	})
}
