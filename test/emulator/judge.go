package emulator

import (
	"fmt"
	"slices"
	"time"
)

// Gap is two changing requests on one BMC that follow each other.
type Gap struct {
	BMC string
	// Between is the time from the end of the first to the start of the second;
	// negative when they overlap.
	Between       time.Duration
	First, Second Change
}

func (g Gap) String() string {
	return fmt.Sprintf("%s: %v between %s %s (%d) and %s %s (%d)", g.BMC, g.Between,
		g.First.Method, g.First.Path, g.First.Status, g.Second.Method, g.Second.Path, g.Second.Status)
}

// Verdict is what the requests to a fleet were like.
type Verdict struct {
	// MaxInFlight is the highest number of requests inside all BMCs at the same
	// time, MaxPerBMC that inside the BMC (endpoint) Busiest. Since the fleet was
	// made or, if every request is kept, since the time asked for.
	MaxInFlight, MaxPerBMC int
	Busiest                string
	// Changes counts the requests since the time asked for that changed
	// something, or were to, other than sessions; Refused those of them that did
	// not change anything.
	Changes, Refused int
	// Overlaps are changing requests on one BMC at the same time, effective or
	// not; TooClose are effective ones within the cooldown of the last effective one.
	Overlaps, TooClose []Gap
	// MinGap is the shortest time between effective ones on one BMC; 0 when no
	// BMC had two.
	MinGap time.Duration
	// MaxSessions is the highest number of sessions that one account had at
	// once, since the fleet was made; Crowded is its BMC.
	MaxSessions int
	Crowded     string
}

// Judge looks at all requests to the fleet that began at since or later; the
// zero time is all. Requests that are still in flight count as ending now.
func (f *Fleet) Judge(cooldown time.Duration, since time.Time) Verdict {
	v := Verdict{MaxInFlight: f.MaxInFlight()}
	var all []Change
	for _, b := range f.BMCs() {
		if b.front != b {
			continue
		}
		requests := b.RequestLog()
		per := b.Requests().MaxInFlight
		if f.keepRequests {
			requests = slices.DeleteFunc(requests, func(c Change) bool { return c.Start.Before(since) })
			all = append(all, requests...)
			per = concurrent(requests)
		}
		if per > v.MaxPerBMC {
			v.MaxPerBMC, v.Busiest = per, b.Name()
		}
		v.gaps(b.Name(), requests, cooldown, since)
		for _, n := range b.PeakSessions() {
			if n > v.MaxSessions {
				v.MaxSessions, v.Crowded = n, b.Name()
			}
		}
	}
	if f.keepRequests {
		v.MaxInFlight = concurrent(all)
	}
	return v
}

// gaps judges the changing requests of one BMC.
func (v *Verdict) gaps(bmc string, requests []Change, cooldown time.Duration, since time.Time) {
	var busyUntil, effective *Change
	for i := range requests {
		c := &requests[i]
		if c.Read() || c.Session || c.Login || c.Start.Before(since) {
			continue
		}
		v.Changes++
		if busyUntil != nil && c.Start.Before(busyUntil.End) {
			v.Overlaps = append(v.Overlaps, Gap{bmc, c.Start.Sub(busyUntil.End), *busyUntil, *c})
		}
		if busyUntil == nil || c.End.After(busyUntil.End) {
			busyUntil = c
		}
		if !c.Changed {
			v.Refused++
			continue
		}
		if effective != nil {
			g := Gap{bmc, c.Start.Sub(effective.End), *effective, *c}
			if g.Between < cooldown {
				v.TooClose = append(v.TooClose, g)
			}
			if v.MinGap == 0 || g.Between < v.MinGap {
				v.MinGap = g.Between
			}
		}
		effective = c
	}
}

// Read says whether the method changes nothing.
func (c Change) Read() bool { return c.Method == "GET" || c.Method == "HEAD" || c.Method == "OPTIONS" }

// concurrent is the highest number of requests at the same time.
func concurrent(requests []Change) int {
	type edge struct {
		at time.Time
		by int
	}
	edges := make([]edge, 0, 2*len(requests))
	for _, c := range requests {
		edges = append(edges, edge{c.Start, 1}, edge{c.End, -1})
	}
	slices.SortFunc(edges, func(x, y edge) int {
		if d := x.at.Compare(y.at); d != 0 {
			return d
		}
		return x.by - y.by // an end comes before a start at the same time
	})
	now, high := 0, 0
	for _, e := range edges {
		now += e.by
		high = max(high, now)
	}
	return high
}

// RequestLog returns the changing requests at b's endpoint, and the reading
// ones if Options.KeepRequests, in the order of their start. Those in flight
// end now.
func (b *BMC) RequestLog() []Change {
	b = b.front
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	all := make([]Change, 0, len(b.changes)+len(b.reads))
	for _, cs := range [][]*Change{b.changes, b.reads} {
		for _, c := range cs {
			x := *c
			if x.End.IsZero() {
				x.End = now
			}
			all = append(all, x)
		}
	}
	slices.SortFunc(all, func(x, y Change) int { return x.Start.Compare(y.Start) })
	return all
}
