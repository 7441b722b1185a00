package crash

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/beskar7/beskar7/api/v1beta1"
)

var (
	flagLives = flag.String("lives", "", "how many lives are lived: a number, long or all; empty: the sample of every day")
	flagSeed  = flag.Uint64("seed", 1, "which lives are in a sample")
	flagOnly  = flag.String("only", "", "live only the lives whose name matches")
)

// sample is how many lives are lived every day, long how many by "make crash": the core, each of them, and as many of the others.
// Measured on two busy processors a life takes a tenth of a second of one of them.
const (
	sample = 1800
	long   = 20_000
)

// core is one fault at every request of the lives that most machines have.
func (p plan) core() bool {
	return len(p.faults) == 1 && p.life.lag == 1 && slices.Contains(crashes, p.faults[0].what) && (p.life.report == succeeds || p.life.report == silent)
}

// plan is one life and what goes wrong in it.
type plan struct {
	life   life
	faults []fault
}

func (p plan) String() string {
	s := p.life.String()
	for _, f := range p.faults {
		s += fmt.Sprintf(", %s at %d", f.what, f.at)
	}
	return s
}

var crashes = []string{"fail before", "fail after", "crash before", "crash after", "conflict"}

// lives are all ways that a life goes without a fault.
func lives() []life {
	var all []life
	for _, leader := range []bool{false, true} {
		for _, boot := range []v1beta1.BootMode{v1beta1.BootModeLive, v1beta1.BootModeInstall} {
			for _, lag := range []int{1, 4} {
				for _, r := range []report{succeeds, silent, fails, late} {
					all = append(all, life{leader: leader, boot: boot, lag: lag, report: r})
				}
			}
			all = append(all, life{leader: leader, boot: boot, lag: 2, report: succeeds, pair: true})
			if boot == v1beta1.BootModeLive {
				all = append(all, life{leader: leader, boot: boot, lag: 1, report: succeeds, again: true})
			}
		}
	}
	return all
}

// plans are all lives with one fault at every request, and as many with two as have one.
func plans(t *testing.T, seed uint64) []plan {
	var all []plan
	random := rand.New(rand.NewPCG(seed, 1))
	persons := slices.Sorted(maps.Keys(deeds))
	for _, l := range lives() {
		n, _ := live(t, plan{life: l})
		whats := crashes
		if !l.pair && (l.report == succeeds || l.report == silent) {
			whats = slices.Concat(crashes, persons)
		}
		for at := 1; at <= n+3; at++ {
			for _, what := range whats {
				all = append(all, plan{l, []fault{{at, what}}})
			}
			for range len(whats) / 3 {
				first := fault{at, whats[random.IntN(len(whats))]}
				all = append(all, plan{l, []fault{first, {at + 1 + random.IntN(n), crashes[random.IntN(len(crashes))]}}})
			}
		}
	}
	return all
}

// live lives one life and reports what was wrong with it. It returns how many requests there were, and whether it went well.
func live(t *testing.T, p plan) (requests int, well bool) {
	t.Helper()
	story := "" // a bubble that fails ends its caller, too
	synctest.Test(t, func(*testing.T) {
		w := newWorld(p.life, p.faults...)
		why := w.play()
		requests = w.n
		wrong := w.history.Judge()
		if why != "" {
			wrong = append(wrong, why)
		}
		if len(wrong) > 0 {
			story = fmt.Sprintf("%s\n  cut: %s\n  %s\n  again: go test ./crash -args -only='^%s$'\n  BMC:\n%s", p, strings.Join(w.cuts, "; "), strings.Join(wrong, "\n  "), regexp.QuoteMeta(p.String()), w.story())
		}
	})
	if story != "" {
		t.Error(story)
	}
	return requests, story == ""
}

// story is what was done to servers, a line each.
func (w *world) story() string {
	var out strings.Builder
	for _, r := range w.history.Requests() {
		fmt.Fprintf(&out, "    %s %s %s %s: %s armed %v media %d -> %s armed %v media %d\n", r.At.Format("15:04:05.0"), r.Site, r.Host, r.Op, r.Before.Power, r.Before.Armed, len(r.Before.Media), r.After.Power, r.After.Armed, len(r.After.Media))
	}
	return out.String()
}

// TestEveryCut lives the lives that the flags choose.
func TestEveryCut(t *testing.T) {
	all := plans(t, *flagSeed)
	chosen := choose(t, all)
	if len(chosen) == 0 {
		t.Fatal("no life is called so")
	}
	t.Logf("%d of %d lives, seed %d", len(chosen), len(all), *flagSeed)
	var next sync.Mutex
	failures := 0
	for shard := range 2 {
		t.Run(fmt.Sprint("shard ", shard), func(t *testing.T) {
			t.Parallel()
			for {
				next.Lock()
				if len(chosen) == 0 || failures >= 20 {
					next.Unlock()
					return
				}
				p := chosen[0]
				chosen = chosen[1:]
				next.Unlock()
				if _, well := live(t, p); !well {
					next.Lock()
					failures++
					next.Unlock()
				}
			}
		})
	}
}

func choose(t *testing.T, all []plan) []plan {
	if *flagOnly != "" {
		only := regexp.MustCompile(*flagOnly)
		return slices.DeleteFunc(all, func(p plan) bool { return !only.MatchString(p.String()) })
	}
	n := sample
	rand.New(rand.NewPCG(*flagSeed, 2)).Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	switch *flagLives {
	case "all":
		return all
	case "long":
		n = long
		slices.SortStableFunc(all, func(a, b plan) int {
			switch {
			case a.core() == b.core():
				return 0
			case a.core():
				return -1
			}
			return 1
		})
	case "":
	default:
		if _, err := fmt.Sscan(*flagLives, &n); err != nil {
			t.Fatal(err)
		}
	}
	return all[:min(n, len(all))]
}
