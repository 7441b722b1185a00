package bmcqueue

import (
	"fmt"
	"testing"
	"time"
)

// spec is what the gate promises, written the slow and plain way: maps, and a scan over everything for every question.
// It sees only what goes in and what comes out.
type spec struct {
	t        *testing.T
	settings Settings
	now      time.Time
	silent   time.Time
	tookOver time.Time
	ends     map[string]*specEnd  // by endpoint
	hosts    map[string]*specHost // by host
	live     map[string]*specWish // accepted and not ended, by kind, which is unique here
	flying   map[*run]*specRun
	keys     map[string]*specKey // credentials
	uses     map[string]string   // which one a host uses
	polls    map[string]string   // endpoint by host
	before   map[string]map[string]time.Time
	accepted int
	ended    map[Ending]int
	opsSince int // operations started since the last poll
}

type specEnd struct {
	run         *run
	changed     time.Time
	cooldown    time.Duration
	rest        time.Duration
	settling    string // kind
	settleUntil time.Time
	unreachable int
	busy        int
	retryAt     time.Time
	parks       map[string]time.Time // by credential, when the next try is
}

type specHost struct {
	failures int
	retryAt  time.Time
	running  bool
}

type specWish struct {
	op        Op
	since     time.Time
	order     int
	notBefore time.Time
	tries     int
	running   bool
	withdrawn bool
}

type specRun struct {
	wish    *specWish // nil: a poll
	end     string
	suspect bool
	reset   bool
	key     *specKey
	login   string // key, "" if unknown
	host    string
	heard   bool
	round   int
	began   time.Time
}

func newSpec(t *testing.T, s Settings, now time.Time) *spec {
	return &spec{t: t, settings: s, now: now, ends: map[string]*specEnd{}, hosts: map[string]*specHost{},
		live: map[string]*specWish{}, flying: map[*run]*specRun{}, ended: map[Ending]int{},
		keys: map[string]*specKey{}, uses: map[string]string{}, polls: map[string]string{}, before: map[string]map[string]time.Time{}}
}

func (s *spec) end(name string) *specEnd {
	if s.ends[name] == nil {
		s.ends[name] = &specEnd{parks: map[string]time.Time{}}
	}
	return s.ends[name]
}

func (s *spec) host(name string) *specHost {
	if s.hosts[name] == nil {
		s.hosts[name] = &specHost{}
	}
	return s.hosts[name]
}

func (s *spec) cooldownOf(e *specEnd) time.Time {
	if e.changed.IsZero() {
		return e.changed
	}
	at := e.changed.Add(s.settings.Cooldown)
	if e.cooldown > 0 {
		at = e.changed.Add(e.cooldown)
	}
	if rested := e.changed.Add(e.rest); rested.After(at) {
		return rested
	}
	return at
}

func (s *spec) cooldownFor(o Op) time.Duration {
	if o.Cooldown > 0 {
		return o.Cooldown
	}
	return s.settings.Cooldown
}

// mayStart is rule by rule what keeps a waiting wish from starting, slots apart; "" if nothing does.
func (s *spec) mayStart(w *specWish) string {
	e, h := s.end(w.op.Endpoint), s.host(w.op.Host)
	switch {
	case w.running:
		return "it runs"
	case e.run != nil:
		return "its endpoint is occupied"
	case h.running:
		return "its host is occupied"
	case s.now.Before(e.parks[s.uses[w.op.Host]]):
		return "its credential is parked there"
	case s.now.Before(e.retryAt):
		return "its endpoint backs off"
	case s.now.Before(h.retryAt):
		return "its host backs off"
	case s.now.Before(s.silent):
		return "it is quiet time"
	case s.now.Before(w.notBefore):
		return "its effect is awaited"
	case s.held(w.op.Host, w.op.Endpoint) != "":
		return s.held(w.op.Host, w.op.Endpoint)
	case s.groupFull(w.op):
		return "its group is full"
	case w.op.ReadOnly:
		return ""
	case e.settling != "" && e.settling != w.op.Kind, s.now.Before(e.settleUntil):
		return "an effect is awaited on its endpoint"
	case s.now.Before(s.cooldownOf(e)):
		return "its endpoint cools down"
	case s.now.Before(s.tookOver.Add(s.cooldownFor(w.op))):
		return "the driver before may have begun a cooldown"
	}
	return ""
}

func (s *spec) counts() (polls, suspects int) {
	for _, r := range s.flying {
		if r.wish == nil {
			polls++
		}
		if r.suspect {
			suspects++
		}
	}
	return polls, suspects
}

// best is the rank of the best wish that may start now on an endpoint in order, and how many may start in all.
func (s *spec) best() (rank int, wish *specWish, startable int) {
	_, suspects := s.counts()
	for _, w := range s.live {
		if s.mayStart(w) != "" {
			continue
		}
		if s.end(w.op.Endpoint).unreachable > 0 {
			if suspects < max(min(s.settings.MaxConcurrentOps, s.settings.WorkerCount)/10, 1) {
				startable++
			}
			continue
		}
		startable++
		r := s.rank(w)
		if wish == nil || r > rank || r == rank && w.since.Before(wish.since) {
			rank, wish = r, w
		}
	}
	return rank, wish, startable
}

func (s *spec) rank(w *specWish) int { return int(w.op.Class) + int(s.now.Sub(w.since)/AgePeriod) }

// started checks a run that the gate started against every rule, and takes note of it.
func (s *spec) started(r *run) {
	slots := min(s.settings.MaxConcurrentOps, s.settings.WorkerCount)
	e := s.end(r.request.Endpoint)
	if e.run != nil {
		s.t.Fatalf("I7: two in flight on %s", r.request.Endpoint)
	}
	if len(s.flying) >= slots {
		s.t.Fatalf("I7: %d in flight of %d", len(s.flying)+1, slots)
	}
	polls, suspects := s.counts()
	if e.unreachable > 0 && suspects >= max(slots/10, 1) {
		s.t.Fatalf("%d unreachable endpoints in flight of %d slots", suspects+1, slots)
	}
	sr := &specRun{end: r.request.Endpoint, suspect: e.unreachable > 0, login: s.uses[r.request.Host]}
	if r.op == nil {
		s.startedPoll(r, polls, slots)
	} else {
		sr.wish = s.startedOp(r)
	}
	s.startedKey(r.request.Host, sr)
	s.flying[r], e.run = sr, r
}

func (s *spec) startedOp(r *run) *specWish {
	w := s.live[r.request.Kind]
	if w == nil {
		s.t.Fatalf("%s started, which was never accepted or has ended", r.request.Kind)
	}
	if why := s.mayStart(w); why != "" {
		s.t.Fatalf("I7: %s started although %s", w.op.Kind, why)
	}
	e := s.end(w.op.Endpoint)
	if e.unreachable == 0 {
		rank, best, _ := s.best()
		if s.rank(best) != rank || w.op.Class != best.op.Class {
			s.t.Fatalf("%s of class %d started before %s of class %d", w.op.Kind, w.op.Class, best.op.Kind, best.op.Class)
		}
		for _, x := range s.live {
			if s.mayStart(x) == "" && s.end(x.op.Endpoint).unreachable == 0 && x.op.Class == w.op.Class &&
				x.op.Namespace == w.op.Namespace && x.since.Before(w.since) {
				s.t.Fatalf("%s started before the older %s of its namespace", w.op.Kind, x.op.Kind)
			}
		}
	}
	if e.settling == w.op.Kind {
		e.settling = ""
	}
	s.opsSince++
	w.running, w.withdrawn = true, false
	s.host(w.op.Host).running = true
	return w
}

// stalled checks that the gate left nothing undone when it said that nothing may start.
func (s *spec) stalled() {
	if len(s.flying) >= min(s.settings.MaxConcurrentOps, s.settings.WorkerCount) {
		return
	}
	if _, w, n := s.best(); n > 0 {
		s.t.Fatalf("nothing started although %d operations may, %+v among them", n, w)
	}
}

func (s *spec) delay(n int, asked time.Duration) time.Duration {
	if asked > 0 {
		return min(max(asked, time.Second), 5*time.Minute)
	}
	d := 2 * time.Second
	for i := 1; i < n; i++ {
		d = min(2*d, s.settings.MaxRetryDelay)
	}
	return min(d, s.settings.MaxRetryDelay) / 2
}

// completed predicts what a result does, and returns the ending that must follow ("" if the wish lives on).
func (s *spec) completed(r *run, res Result) Ending {
	sr := s.flying[r]
	delete(s.flying, r)
	e := s.end(sr.end)
	e.run = nil
	if res.Changed {
		e.changed, e.cooldown, e.rest = s.now, r.request.Cooldown, res.Rest
	}
	void := sr.reset && res.Failure != None
	if !void {
		s.learn(e, sr.login, res)
	}
	s.completedKey(sr, res, void)
	if sr.wish == nil {
		return ""
	}
	w, h := sr.wish, s.host(sr.wish.op.Host)
	w.running, h.running = false, false
	switch {
	case void, res.Failure == LoginFailed:
	case res.Failure == None:
		h.failures, h.retryAt = 0, time.Time{}
		if res.Wait == 0 {
			return EndedSucceeded
		}
		w.notBefore = s.now.Add(res.Wait)
		if !w.op.ReadOnly {
			e.settleUntil = w.notBefore
		}
	default:
		w.tries++
		if res.Failure == Other {
			h.failures++
			h.retryAt = s.now.Add(s.delay(h.failures, res.RetryAfter))
		}
		if w.tries >= s.settings.RetryAttempts {
			return EndedFailed
		}
	}
	if w.withdrawn {
		return EndedWithdrawn
	}
	if s.waitingOf(w.op.Host, w) != nil {
		return EndedSuperseded
	}
	if res.Failure == None && res.Wait > 0 && !w.op.ReadOnly {
		e.settling = w.op.Kind
	}
	return ""
}

func (s *spec) learn(e *specEnd, login string, res Result) {
	switch res.Failure {
	case None:
		e.unreachable, e.busy, e.retryAt = 0, 0, time.Time{}
		delete(e.parks, login)
	case Unreachable:
		e.unreachable++
		e.retryAt = s.now.Add(s.delay(e.unreachable, res.RetryAfter))
	case Busy:
		e.unreachable = 0
		e.busy++
		e.retryAt = s.now.Add(s.delay(e.busy, res.RetryAfter))
	case LoginFailed:
		e.unreachable, e.busy, e.retryAt = 0, 0, time.Time{}
		e.parks[login] = s.now
	case Other:
		e.unreachable, e.retryAt = 0, time.Time{}
		delete(e.parks, login)
		if res.RetryAfter > 0 {
			e.retryAt = s.now.Add(s.delay(1, res.RetryAfter))
		}
	}
	if _, parked := e.parks[login]; parked {
		e.parks[login] = s.now.Add(time.Hour)
	}
}

func (s *spec) waitingOf(host string, but *specWish) *specWish {
	for _, w := range s.live {
		if w.op.Host == host && !w.running && w != but {
			return w
		}
	}
	return nil
}

func (s *spec) runningOf(host string) *specWish {
	for _, w := range s.live {
		if w.op.Host == host && w.running {
			return w
		}
	}
	return nil
}

func (s *spec) waiting() (n int) {
	for _, w := range s.live {
		if !w.running {
			n++
		}
	}
	return n
}

// victim is whom a wish of the class may displace: the newest of the lowest class.
func (s *spec) victim(c Class) *specWish {
	var v *specWish
	for _, w := range s.live {
		if w.running || w.op.Class >= c {
			continue
		}
		if v == nil || w.op.Class < v.op.Class || w.op.Class == v.op.Class &&
			(w.since.After(v.since) || w.since.Equal(v.since) && w.order > v.order) {
			v = w
		}
	}
	return v
}

// submitted predicts the answer to a new wish (its kind is not in use), and who ends by it.
func (s *spec) submitted(o Op) (reason Reason, loser string, how Ending) {
	if o.Credential != "" {
		s.use(o.Host, o.Credential)
	}
	w, r := s.waitingOf(o.Host, nil), s.runningOf(o.Host)
	if o.ReadOnly && (w != nil && !w.op.ReadOnly || r != nil && !r.op.ReadOnly) {
		return ReasonOutranked, "", ""
	}
	reason = ReasonQueued
	wish := &specWish{op: o, since: s.now}
	if w != nil {
		reason, loser, how, wish.since = ReasonSuperseded, w.op.Kind, EndedSuperseded, w.since
	} else if s.waiting() >= s.settings.MaxQueueSize {
		v := s.victim(o.Class)
		if v == nil {
			return ReasonFull, "", ""
		}
		loser, how = v.op.Kind, EndedDisplaced
	}
	s.accepted++
	wish.order = s.accepted
	s.live[o.Kind] = wish
	if _, parked := s.end(o.Endpoint).parks[s.uses[o.Host]]; parked {
		reason = ReasonParked
	} else if k := s.keyOf(o.Host); k != nil && k.state == "refused" && s.held(o.Host, o.Endpoint) != "" {
		reason = ReasonParked
	}
	return reason, loser, how
}

// gone takes note of an ending, which must be of a live wish: I8, nothing ends twice.
func (s *spec) gone(kind string, how Ending) {
	w := s.live[kind]
	if w == nil {
		s.t.Fatalf("I8: %s ended (%s), but it was not in the gate", kind, how)
	}
	delete(s.live, kind)
	if e := s.end(w.op.Endpoint); e.settling == kind {
		e.settling = ""
	}
	s.ended[how]++
}

func (s *spec) String() string {
	return fmt.Sprintf("accepted %d, ended %v, live %d", s.accepted, s.ended, len(s.live))
}
