//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/beskar7/beskar7/test/emulator"
	"github.com/beskar7/beskar7/test/lab"
)

// Variables of TestNamedCalls.
const (
	// cutVariable is one life to live again: "mode: call, before" or "mode: call, after".
	cutVariable = "BESKAR7_E2E_CUT"
	// namedTimeVariable is for how long lives are begun; default namedTime.
	namedTimeVariable = "BESKAR7_E2E_NAMED_TIME"
	namedTime         = 7 * time.Minute
)

const (
	optimisticMode = "optimistic"
	leaderMode     = "leader"
	// lanesOfMode: most of a life is waiting, for a lease to run out and for BMCs to rest.
	lanesOfMode = 5
	// failuresShown: after so many nothing new is learnt.
	failuresShown = 5
)

// TestNamedCalls kills the real manager at the calls of a machine's life, one call in each life: before the call is forwarded to the
// API server or to the BMC, or after its effect and before its answer. Which calls there are, an undisturbed life tells first, in
// both modes of claiming. Every life must end as an undisturbed one does, and the witness must have nothing to say.
func TestNamedCalls(t *testing.T) {
	if only := os.Getenv(cutVariable); only != "" {
		liveAgain(t, only)
		return
	}
	limit := namedTime
	if v := os.Getenv(namedTimeVariable); v != "" {
		var err error
		if limit, err = time.ParseDuration(v); err != nil {
			t.Fatal(err)
		}
	}
	var modes []string
	for range lanesOfMode {
		modes = append(modes, optimisticMode, leaderMode)
	}
	s := startNamed(t, modes)
	r := &run{site: s, plans: map[string][]cut{}, until: time.Now().Add(limit)}
	r.record()
	if !t.Failed() {
		r.work()
	}
	r.report()
	s.judge()
}

// liveAgain lives one life as a failure named it.
func liveAgain(t *testing.T, only string) {
	mode, rest, _ := strings.Cut(only, ": ")
	m := cutPattern.FindStringSubmatch(rest)
	if m == nil || mode != optimisticMode && mode != leaderMode {
		t.Fatalf("%s=%q is not of the form %q", cutVariable, only, "optimistic: patch physicalhosts {spec.claim.media} #1, after")
	}
	s := startNamed(t, []string{mode})
	l := s.lanes[0]
	calls, err := l.live(t.Context(), cut{call: m[1], after: m[2] == "after"})
	if err != nil {
		t.Error(err)
	}
	if !l.lives[0].reached {
		t.Errorf("this life had no such call; it had:\n  %s", strings.Join(calls, "\n  "))
	}
	s.judge()
}

// run is one TestNamedCalls.
type run struct {
	site  *namedSite
	until time.Time

	mu       sync.Mutex
	plans    map[string][]cut // by mode, what is yet to be cut
	failures int
}

// record lives an undisturbed life in each mode, and plans the cuts: first all changes, both ways, then what is only read or said,
// where nothing has an effect and one way is enough. The order within is seeded.
func (r *run) record() {
	seed := seedOf(r.site.t)
	var group sync.WaitGroup
	for _, l := range r.site.lanes[:2] {
		group.Go(func() {
			calls, err := l.live(r.site.t.Context(), cut{})
			if err != nil {
				r.site.t.Errorf("%s: %v", l.again(cut{}), err)
				return
			}
			random := rand.New(rand.NewPCG(seed, 0))
			var changing, other []cut
			for _, call := range calls {
				if changes(call) {
					changing = append(changing, cut{call, false}, cut{call, true})
				} else {
					other = append(other, cut{call, false})
				}
			}
			random.Shuffle(len(changing), func(i, j int) { changing[i], changing[j] = changing[j], changing[i] })
			random.Shuffle(len(other), func(i, j int) { other[i], other[j] = other[j], other[i] })
			r.mu.Lock()
			defer r.mu.Unlock()
			r.plans[l.mode] = slices.Concat(changing, other)
			r.site.t.Logf("%s: %d cuts at changes and %d at reads; the calls of an undisturbed life:\n  %s", l.mode, len(changing), len(other), strings.Join(calls, "\n  "))
		})
	}
	group.Wait()
}

// next is the next cut of a mode; false: there is none, or no time is left.
func (r *run) next(mode string) (cut, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	plan := r.plans[mode]
	if len(plan) == 0 || time.Now().After(r.until) || r.failures >= failuresShown {
		return cut{}, false
	}
	r.plans[mode] = plan[1:]
	return plan[0], true
}

// work has all lanes live until nothing is planned or the time is over. A lane whose life did not end lives no more.
func (r *run) work() {
	var group sync.WaitGroup
	for _, l := range r.site.lanes {
		group.Go(func() {
			for at, ok := r.next(l.mode); ok; at, ok = r.next(l.mode) {
				if _, err := l.live(r.site.t.Context(), at); err != nil {
					r.mu.Lock()
					r.failures++
					r.mu.Unlock()
					r.site.t.Errorf("%s\n  %v\n  log: %s", l.again(at), err, l.process.Log())
					return
				}
			}
		})
	}
	group.Wait()
}

// report says how much was cut. Names tell the same call in every life well enough that most cuts must be reached, or the test would
// show nothing.
func (r *run) report() {
	lived, reached, exits := 0, 0, 0
	var took []time.Duration
	for _, l := range r.site.lanes {
		exits += int(l.exits.Load())
		for _, one := range l.lives {
			if one.cut.call == "" {
				r.site.t.Logf("%s: an undisturbed life took %s", l.mode, one.to.Sub(one.from).Round(time.Second))
				continue
			}
			took = append(took, one.to.Sub(one.from).Round(time.Second))
			lived++
			if one.reached {
				reached++
			} else {
				r.site.t.Logf("not reached: %s: %s", l.mode, one.cut)
			}
		}
	}
	if lived > 0 {
		slices.Sort(took)
		r.site.t.Logf("%d lives with a cut, %d reached it; half of them took up to %s, the longest %s; the managers ended %d times by themselves",
			lived, reached, took[lived/2], took[lived-1], exits)
	}
	for mode, left := range r.plans {
		n := 0
		for _, at := range left {
			if changes(at.call) {
				n++
			}
		}
		r.site.t.Logf("%s: %d cuts are left for want of time, %d of them at changes", mode, len(left), n)
	}
	if lived == 0 || reached*10 < lived*7 {
		r.site.t.Errorf("of %d cuts only %d were reached: the names of calls differ from life to life", lived, reached)
	}
}

// judge asks the witness, and names the life for each violation.
func (s *namedSite) judge() {
	for _, text := range s.violations() {
		s.t.Error(text)
	}
}

func (s *namedSite) violations() []string {
	w, err := s.WitnessWith(s.t.Context(), "", lab.WitnessOptions{Cooldown: time.Second})
	if err != nil {
		s.t.Fatal(err)
	}
	var all []string
	w.Each(func(at time.Time, text string) {
		for _, l := range s.lanes {
			if strings.Contains(text, l.namespace+"-") || strings.Contains(text, l.namespace+"/") {
				text += "\n  " + l.during(at)
				break
			}
		}
		all = append(all, text)
	})
	s.t.Logf("witness: %d provisioned, %d released, %d double claims, %d violations", w.Provisioned, w.Released, w.DoubleClaims, len(w.Violations))
	return all
}

// TestNamedCallsFindsFaults plants two faults: a write of a release that is answered and never stored, so that the life does not end;
// and a power-on that is played again once the host is given back, as a manager would do that acts on what it remembers.
func TestNamedCallsFindsFaults(t *testing.T) {
	var again replay
	s := startNamed(t, []string{optimisticMode, optimisticMode},
		func(l *lane) {
			l.drop = func(call string) bool { return strings.Contains(call, "spec.claim.release") }
		},
		func(l *lane) { l.heard = again.hear })
	var group sync.WaitGroup
	group.Go(func() {
		l := s.lanes[0]
		l.limit = 45 * time.Second
		if _, err := l.live(t.Context(), cut{}); err == nil || !strings.Contains(err.Error(), "to be offered again") {
			t.Errorf("no release was stored, and the life is said to have ended so: %v", err)
		}
	})
	group.Go(func() {
		if _, err := s.lanes[1].live(t.Context(), cut{}); err != nil {
			t.Error(err)
		}
		again.again()
	})
	group.Wait()
	found := s.violations()
	if !slices.ContainsFunc(found, func(v string) bool {
		return strings.HasPrefix(v, "I6") && strings.Contains(v, "we made server "+s.lanes[1].namespace) && strings.Contains(v, "after undisturbed")
	}) {
		t.Errorf("a host was powered on after its release, and the witness says: %q", found)
	}
}

// replay remembers the last power-on of a server.
type replay struct {
	mu   sync.Mutex
	play func()
}

// again sends it once more.
func (p *replay) again() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.play != nil {
		p.play()
	}
}

func (p *replay) hear(bmc *emulator.BMC, call string, r *http.Request, body []byte) {
	if !strings.HasSuffix(call, "ComputerSystem.Reset On") {
		return
	}
	same := r.Clone(context.WithoutCancel(r.Context()))
	p.mu.Lock()
	defer p.mu.Unlock()
	p.play = func() {
		same.Body = io.NopCloser(bytes.NewReader(body))
		bmc.Answer(httptest.NewRecorder(), same)
	}
}
