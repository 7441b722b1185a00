package coordinator

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write testdata/*.golden anew")

// schedulesVariable says how many schedules the model plays for each mode; the make target asks for many more than the default.
const schedulesVariable = "BESKAR7_SCHEDULES"

const (
	defaultSchedules = 400
	steps            = 64
)

func schedules(t *testing.T) int {
	t.Helper()
	text := os.Getenv(schedulesVariable)
	if text == "" {
		return defaultSchedules
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", schedulesVariable, err)
	}
	return n
}

var modes = map[string]bool{"optimistic": false, "leader": true}

// TestNoInterleavingBreaksOwnership is the proof of both modes. A failing schedule prints its seed and its story; to play one
// alone, see TestOneSchedule.
func TestNoInterleavingBreaksOwnership(t *testing.T) {
	for name, leader := range modes {
		t.Run(name, func(t *testing.T) {
			began, count := time.Now(), schedules(t)
			faults, played, failed := playAll(leader, count)
			if failed != nil {
				t.Fatalf("seed %d: %s\n%s", failed.seed, failed.broken, strings.Join(failed.story, "\n"))
			}
			t.Logf("%d schedules, %d steps (mean %d) in %s", count, played, played/count, time.Since(began).Round(time.Millisecond))
			if played/count < 40 {
				t.Errorf("the mean schedule has %d steps only", played/count)
			}
			for _, fault := range expected(leader) {
				t.Logf("%7d %s", faults[fault], fault)
				if faults[fault] < count/10 {
					t.Errorf("%s happened %d times only", fault, faults[fault])
				}
			}
		})
	}
}

// expected are the kinds of faults of which there must be plenty.
func expected(leader bool) []string {
	all := []string{"stale cache", "request fails", "reply lost", "write delayed", "process dies", "clock jump", "move",
		"machine deleted", "machine vanished", "machine restored", "careless client",
		"machine of a former one's name"}
	if leader {
		all = append(all, "leader change", "leader change in mid-bind", "deposed arbiter writes after another bound")
	}
	return all
}

// playAll plays the schedules of the seeds from 0 on two processors, up to the first that fails.
func playAll(leader bool, count int) (faults map[string]int, played int, failed *model) {
	var mu sync.Mutex
	var workers sync.WaitGroup
	faults = map[string]int{}
	next := 0
	for range 2 {
		workers.Go(func() {
			for {
				mu.Lock()
				seed := next
				next++
				stop := seed >= count || failed != nil
				mu.Unlock()
				if stop {
					return
				}
				m := newModel(uint64(seed), leader)
				m.run(steps)
				mu.Lock()
				if m.broken != "" && (failed == nil || m.seed < failed.seed) {
					failed = m
				}
				for fault, n := range m.faults {
					faults[fault] += n
				}
				played += m.steps
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	return faults, played, failed
}

// seedVariable names one schedule, "optimistic 17", for TestOneSchedule.
const seedVariable = "BESKAR7_SEED"

func TestOneSchedule(t *testing.T) {
	mode, text, found := strings.Cut(os.Getenv(seedVariable), " ")
	if !found {
		return
	}
	seed, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	m := newModel(seed, modes[mode])
	broken := m.run(steps)
	t.Logf("%s\n%s\n%v", broken, strings.Join(m.story, "\n"), m.faults)
}

// A small schedule of each mode is checked in, so that a change of what goes over the wire is seen in review.
func TestGoldenNarrative(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(modes)) {
		m := newModel(4, modes[name])
		if broken := m.run(14); broken != "" {
			t.Fatal(broken)
		}
		got := fmt.Sprintf("Schedule 4 in %s mode, 14 steps and what settles them. Written by go test -run Golden -update.\n\n%s\n", name, strings.Join(m.story, "\n"))
		file := filepath.Join("testdata", name+".golden")
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s: the narrative is another one; see what changed with -update:\n%s", file, got)
		}
	}
}
