package bmcqueue

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

var (
	modelSteps = flag.Int("model.steps", 100_000, "steps of the randomised model test")
	modelSeed  = flag.Uint64("model.seed", 1, "seed of the randomised model test")
)

// model drives a gate with random input and compares every start, refusal and ending with the spec.
type model struct {
	t     *testing.T
	rnd   *rand.Rand
	gate  *gate
	spec  *spec
	wishN int
	keyN  int // version of the credentials that are shared
}

func randomSettings(r *rand.Rand) Settings {
	return Settings{
		MaxConcurrentOps: 1 + r.IntN(12), WorkerCount: 1 + r.IntN(12), MaxQueueSize: 5 + r.IntN(20),
		Cooldown: time.Duration(r.IntN(20)) * time.Second, OperationTimeout: time.Minute,
		RetryAttempts: 1 + r.IntN(3), ExponentialBackoff: true, MaxRetryDelay: time.Minute,
		GroupCaps: map[string]int{"a": 1 + r.IntN(3), "b": r.IntN(3)},
	}
}

// TestModel checks I7 and I8 (and order, slots, displacement) over random histories. More of them:
// go test -run TestModel -model.steps 1000000 -model.seed 7.
func TestModel(t *testing.T) {
	const histories = 10
	total := 0
	for i := range uint64(histories) {
		m := newModel(t, *modelSeed*1000+i)
		for range *modelSteps / histories {
			m.step()
		}
		m.finish()
		total += m.spec.accepted
		t.Log(m.spec)
	}
	if total < *modelSteps/20 {
		t.Fatalf("only %d operations accepted: the test tests little", total)
	}
}

func newModel(t *testing.T, seed uint64) *model {
	r := rand.New(rand.NewPCG(seed, seed))
	s := randomSettings(r)
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	m := &model{t: t, rnd: r, spec: newSpec(t, s, now), gate: newGate(s, func() float64 { return 0 })}
	m.gate.takeOver(Unclean, 30*time.Second, now)
	m.spec.tookOver, m.spec.silent = now, now.Add(30*time.Second)
	for i := range 12 { // a host that stays on each endpoint, so that no lane is forgotten: the spec forgets nothing
		m.register(fmt.Sprintf("stay/%d", i), endpointN(i))
	}
	return m
}

func endpointN(i int) string { return fmt.Sprintf("https://bmc-%d", i) }

func (m *model) register(host, endpoint string) {
	key := m.keyFor(host)
	replaced := m.spec.use(host, key)
	old := m.spec.polls[host]
	if old != "" && old != endpoint && key != "" {
		delete(m.spec.polls, host)
		m.spec.reconsider(key)
	}
	if replaced && old == endpoint {
		m.specReset(endpoint, false)
	}
	m.spec.polls[host] = endpoint
	m.gate.register(Poll{Endpoint: endpoint, Host: host, Credential: key, Interval: func() time.Duration { return 0 }}, time.Minute, m.spec.now)
}

// keyFor is one of three credentials that change now and then, or none: one host in four has one of its own.
func (m *model) keyFor(host string) string {
	switch n := int(host[len(host)-1]); n % 4 {
	case 3:
		return ""
	default:
		return fmt.Sprint("key", n%4, "/", (m.keyN+n%4)/4)
	}
}

func (m *model) step() {
	switch p := m.rnd.IntN(100); {
	case p < 35:
		m.submit()
	case p < 65:
		m.complete()
	case p < 85:
		m.spec.now = m.spec.now.Add(time.Duration(m.rnd.IntN(4000)) * time.Millisecond)
	case p < 86:
		m.hear()
	case p < 87:
		m.spec.now = m.spec.now.Add(time.Duration(m.rnd.IntN(600)) * time.Second)
	case p < 90:
		m.withdraw()
	case p < 92:
		m.reset(endpointN(m.rnd.IntN(12)), false)
	case p < 93:
		m.reset(endpointN(m.rnd.IntN(12)), true)
	case p < 94:
		m.park(endpointN(m.rnd.IntN(12)))
	case p < 96:
		n := m.rnd.IntN(40)
		m.keyN += m.rnd.IntN(50) / 49
		m.register(fmt.Sprintf("ns%d/h%d", n%4, n), endpointN((n+m.rnd.IntN(20)/19)%12))
	case p < 97:
		m.gate.pollNow(fmt.Sprintf("stay/%d", m.rnd.IntN(12)), m.spec.now)
	case p < 98:
		m.spec.settings = randomSettings(m.rnd)
		m.gate.apply(m.spec.settings, m.spec.now)
	default:
		m.repeat()
	}
	m.look("", "")
	m.dispatch()
	if got, want := m.gate.waiting(), m.spec.waiting(); got != want {
		m.t.Fatalf("I8: %d operations wait, want %d", got, want)
	}
}

func (m *model) dispatch() {
	for r := m.gate.next(m.spec.now); r != nil; r = m.gate.next(m.spec.now) {
		m.spec.started(r)
	}
	m.spec.stalled()
}

// look takes what the gate told, and checks that it is exactly the expected ending.
func (m *model) look(kind string, how Ending) {
	seen := endings{}
	for _, e := range m.gate.takeEvents() {
		if e.tell != nil {
			e.tell(seen)
		}
	}
	for k, e := range seen {
		if k != kind || e != how {
			m.t.Fatalf("I8: %s ended as %s, expected %q as %q", k, e, kind, how)
		}
		m.spec.gone(k, e)
	}
	if kind != "" && len(seen) == 0 {
		m.t.Fatalf("I8: %s did not end, expected %s", kind, how)
	}
}

// endings is an Observer that keeps what ended.
type endings map[string]Ending

func (e endings) Ended(kind string, _ Class, how Ending, _ Failure) {
	if how != EndedRefused {
		e[kind] = how
	}
}
func (endings) Tried(string, string, Class, Failure, time.Duration, time.Duration) {}
func (endings) CooldownWaited()                                                    {}
func (endings) Panicked(string, string, []byte)                                    {}

func (m *model) submit() {
	n := m.rnd.IntN(40)
	m.wishN++
	endpoint := endpointN(n % 12)
	if m.rnd.IntN(30) == 0 {
		endpoint = endpointN(m.rnd.IntN(12)) // its address changed
	}
	o := Op{
		Endpoint: endpoint, Host: fmt.Sprintf("ns%d/h%d", n%4, n), Namespace: fmt.Sprintf("ns%d", n%4),
		Class: Class(m.rnd.IntN(3)), Kind: fmt.Sprint("wish", m.wishN), ReadOnly: m.rnd.IntN(6) == 0, Run: idle,
		Group: []string{"", "a", "b"}[n%3],
	}
	o.Credential = m.keyFor(o.Host)
	if m.rnd.IntN(5) == 0 {
		o.Cooldown = time.Duration(1+m.rnd.IntN(30)) * time.Second
	}
	reason, loser, how := m.spec.submitted(o)
	if got := m.gate.submit(o, m.spec.now); got.Reason != reason {
		m.t.Fatalf("submit %+v: %s, want %s", o, got.Reason, reason)
	}
	m.look(loser, how)
}

// repeat submits a wish again that is in the gate.
func (m *model) repeat() {
	if w := m.pickLive(); w != nil {
		if w.op.Credential != "" {
			m.spec.use(w.op.Host, w.op.Credential)
		}
		loser := ""
		var how Ending
		if w.running {
			w.withdrawn = false
			if x := m.spec.waitingOf(w.op.Host, nil); x != nil {
				loser, how = x.op.Kind, EndedSuperseded
			}
		}
		if got := m.gate.submit(w.op, m.spec.now); !got.Accepted || got.Reason != ReasonMerged && got.Reason != ReasonParked {
			m.t.Fatalf("equal wish: %+v", got)
		}
		m.look(loser, how)
	}
}

func (m *model) pickLive() *specWish {
	if len(m.spec.live) == 0 {
		return nil
	}
	kinds := slices.Sorted(maps.Keys(m.spec.live))
	return m.spec.live[kinds[m.rnd.IntN(len(kinds))]]
}

func (m *model) withdraw() {
	w := m.pickLive()
	if w == nil {
		return
	}
	if r := m.spec.runningOf(w.op.Host); r != nil {
		r.withdrawn = true
	}
	loser := ""
	var how Ending
	if x := m.spec.waitingOf(w.op.Host, nil); x != nil {
		loser, how = x.op.Kind, EndedWithdrawn
	}
	m.gate.withdraw(w.op.Host, m.spec.now)
	m.look(loser, how)
}

func (m *model) reset(endpoint string, asked bool) {
	m.specReset(endpoint, asked)
	if asked {
		m.gate.retry(endpoint, m.spec.now)
	} else {
		m.gate.reset(endpoint, m.spec.now)
	}
}

func (m *model) specReset(endpoint string, asked bool) {
	m.spec.forgiven(endpoint, asked)
	e := m.spec.end(endpoint)
	e.unreachable, e.busy, e.retryAt = 0, 0, time.Time{}
	clear(e.parks)
	for _, w := range m.spec.live {
		if w.op.Endpoint == endpoint {
			h := m.spec.host(w.op.Host)
			h.failures, h.retryAt = 0, time.Time{}
		}
	}
	if e.run != nil {
		m.spec.flying[e.run].reset = true
	}
}

func (m *model) park(endpoint string) {
	e := m.spec.end(endpoint)
	key := m.keyFor(fmt.Sprint("h", m.rnd.IntN(10)))
	e.parks[key] = m.spec.now.Add(time.Duration(m.rnd.IntN(600)) * time.Second)
	m.spec.parkedBefore(endpoint, key, e.parks[key])
	m.gate.park(endpoint, key, e.parks[key], m.spec.now)
}

func (m *model) randomResult(r *run) Result {
	res := Result{Changed: r.op != nil && !r.request.ReadOnly && m.rnd.IntN(2) == 0}
	if m.rnd.IntN(6) == 0 {
		res.Rest = time.Duration(m.rnd.IntN(90)) * time.Second
	}
	switch p := m.rnd.IntN(100); {
	case p < 60:
	case p < 75 && r.op != nil:
		res.Wait = time.Duration(1+m.rnd.IntN(30)) * time.Second
	case p < 85:
		res.Failure = Unreachable
	case p < 90:
		res.Failure, res.RetryAfter = Busy, time.Duration(m.rnd.IntN(3)*m.rnd.IntN(200))*time.Second
	case p < 94:
		res.Failure = LoginFailed
	default:
		res.Failure, res.Err = Other, errors.New("refused")
	}
	return res
}

func (m *model) complete() {
	if r := m.pickRun(); r != nil {
		m.end1(r, m.randomResult(r))
	}
}

// hear lets a BMC give a sign of life.
func (m *model) hear() {
	if r := m.pickRun(); r != nil {
		m.spec.flying[r].heard = true
		m.gate.heard(r, m.spec.now)
	}
}

func (m *model) pickRun() *run {
	if len(m.gate.runs) == 0 {
		return nil
	}
	runs := slices.SortedFunc(maps.Keys(m.gate.runs), func(a, b *run) int {
		return slices.Compare([]byte(a.request.Endpoint), []byte(b.request.Endpoint))
	})
	return runs[m.rnd.IntN(len(runs))]
}

func (m *model) end1(r *run, res Result) {
	kind := ""
	how := m.spec.completed(r, res)
	if how != "" {
		kind = r.request.Kind
	}
	m.gate.complete(r, res, time.Minute, m.spec.now)
	m.look(kind, how)
}

// finish lets everything succeed from now on: every accepted operation must come to its end.
func (m *model) finish() {
	for i := 0; len(m.spec.live) > 0; i++ {
		if i > 20_000 {
			m.t.Fatalf("I8: %d operations never end: %s", len(m.spec.live), m.gate.dump(m.spec.now))
		}
		for _, r := range slices.Collect(maps.Keys(m.gate.runs)) {
			m.end1(r, Result{})
		}
		m.spec.now = m.spec.now.Add(10 * time.Second)
		m.dispatch()
	}
	for r := range m.gate.runs {
		m.end1(r, Result{})
	}
	m.checkEmpty()
}

// checkEmpty looks for what was left behind.
func (m *model) checkEmpty() {
	for i := range m.gate.ops {
		for c := range m.gate.ops[i].classes {
			if q := &m.gate.ops[i].classes[c]; q.byAge.len()+q.byTurn.len()+len(q.tenants)+len(q.spaces) > 0 {
				m.t.Fatalf("the ready set is not empty: %d %d", q.byAge.len(), q.byTurn.len())
			}
		}
	}
	if n := len(m.gate.runs) - m.gate.counts.polls; n != 0 || m.gate.counts.suspects > m.gate.counts.polls || len(m.gate.groups) > 0 {
		m.t.Fatalf("counts are off: %d runs, %+v", len(m.gate.runs), m.gate.counts)
	}
}
