package bmcqueue

import "time"

// startedPoll checks a poll that the gate started against every rule.
func (s *spec) startedPoll(r *run, polls, slots int) {
	e := s.end(r.request.Endpoint)
	if polls >= max(slots/4, 1) {
		s.t.Fatalf("%d polls in flight of %d slots", polls+1, slots)
	}
	if s.now.Before(s.silent) {
		s.t.Fatalf("I7: poll of %s in quiet time", r.request.Endpoint)
	}
	if s.now.Before(e.parks[s.uses[r.request.Host]]) || s.now.Before(e.retryAt) {
		s.t.Fatalf("poll of %s while it is parked or backs off", r.request.Endpoint)
	}
	if why := s.held(r.request.Host, r.request.Endpoint); why != "" {
		s.t.Fatalf("poll of %s although %s", r.request.Endpoint, why)
	}
	defer func() { s.opsSince = 0 }()
	_, w, n := s.best()
	if n == 0 {
		return
	}
	patience := time.Minute
	if w != nil && w.op.Class == ClassRelease {
		patience = 5 * time.Minute
	}
	switch {
	case s.opsSince < 3:
		s.t.Fatalf("a poll started before %d operations, one of them %+v, out of its turn", n, w)
	case r.waited < patience:
		s.t.Fatalf("a poll that waited for %s started before %d operations, one of them %+v", r.waited, n, w)
	case e.unreachable > 0:
		s.t.Fatalf("a poll of an unreachable endpoint started before %d operations, one of them %+v", n, w)
	}
}
