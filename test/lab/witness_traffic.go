package lab

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/beskar7/beskar7/test/emulator"
)

// judgeTraffic is I7: one request at a time at each BMC, and a rest between changing ones. Session requests are no operations: only
// log-outs may overlap with others, as they are sent by the session pool when it drops a session.
func (t *trial) judgeTraffic(s *server) {
	changes := slices.Clone(s.changes)
	slices.SortStableFunc(changes, func(a, b emulator.Change) int { return a.Start.Compare(b.Start) })
	var last, lastChanged *emulator.Change
	for i := range changes {
		c := &changes[i]
		if sessionRequest(*c) {
			continue
		}
		if last != nil && c.Start.Before(t.end(*last)) {
			t.violate(c.Start, "I7", "server %s: %s %s came in while %s %s was in flight", s.name, c.Method, c.Path, last.Method, last.Path)
		}
		if last == nil || t.end(*c).After(t.end(*last)) {
			last = c
		}
		if !c.Changed {
			continue
		}
		if lastChanged != nil && t.options.Cooldown > 0 {
			if rest := c.Start.Sub(t.end(*lastChanged)); rest < t.options.Cooldown-clockSlack {
				t.violate(c.Start, "I7", "server %s: %s %s came %s after %s %s: the cooldown is %s", s.name, c.Method, c.Path,
					rest.Round(time.Millisecond), lastChanged.Method, lastChanged.Path, t.options.Cooldown)
			}
		}
		lastChanged = c
	}
	if allowed := 1 + overlappingLogouts(s.changes, t.until); s.maxInFlight > allowed {
		t.violate(t.until, "I7", "server %s had %d requests in flight at once; log-outs explain %d", s.name, s.maxInFlight, allowed-1)
	}
}

// end of a request; one still in flight ends after all we know.
func (t *trial) end(c emulator.Change) time.Time {
	if c.End.IsZero() {
		return t.until
	}
	return c.End
}

func sessionRequest(c emulator.Change) bool {
	return c.Session || strings.Contains(c.Path, "/SessionService/Sessions")
}

// overlappingLogouts is the highest number of log-outs in flight at once.
func overlappingLogouts(changes []emulator.Change, until time.Time) int {
	type step struct {
		at time.Time
		by int
	}
	var steps []step
	for _, c := range changes {
		if c.Method != http.MethodDelete || !sessionRequest(c) {
			continue
		}
		end := c.End
		if end.IsZero() {
			end = until
		}
		steps = append(steps, step{c.Start, 1}, step{end, -1})
	}
	slices.SortFunc(steps, func(a, b step) int {
		if a.at.Equal(b.at) {
			return a.by - b.by
		}
		return a.at.Compare(b.at)
	})
	now, most := 0, 0
	for _, s := range steps {
		now += s.by
		most = max(most, now)
	}
	return most
}
