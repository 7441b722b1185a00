package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/beskar7/beskar7/pkg/redfish"
	"github.com/beskar7/beskar7/pkg/redfish/redfishtest"
	"github.com/beskar7/beskar7/test/emulator"
)

// cell is what came of one try.
type cell struct {
	name, operation string
	// word is the outcome: done, not tried, seen, or a kind of the driver's; want those that are expected.
	word, words, want string
	// broken is what is not as it must be.
	broken []string
}

func (c cell) good() bool { return len(c.broken) == 0 }

// The words of cells beside those of lives.
const (
	notTried = "not tried"
	// seen: the BMC said yes, and reading back said no.
	seen = "seen"
)

// parallel runs tries, many at a time: most of a try is waiting.
func parallel(n int, try func(i int)) {
	var wait sync.WaitGroup
	slots := make(chan struct{}, 64)
	for i := range n {
		wait.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			try(i)
		})
	}
	wait.Wait()
}

// personas tries every operation on every persona.
func (s *site) personas(ctx context.Context) []cell {
	operations, names := redfishtest.Operations(), emulator.Personas()
	cells := make([]cell, len(names)*len(operations))
	parallel(len(cells), func(i int) {
		name, op := names[i/len(operations)], operations[i%len(operations)]
		c := s.conduct(ctx, fmt.Sprintf("%s-%d", name, i), name, op, trial{}, done)
		c.name = name
		cells[i] = c
	})
	return cells
}

// faults tries every operation under every fault on the generic persona: work that is done, or an error of the kind that is
// expected, in time.
func (s *site) faults(ctx context.Context) []cell {
	operations, all := redfishtest.Operations(), trials(true)
	cells := make([]cell, len(all)*len(operations))
	parallel(len(cells), func(i int) {
		fault, op := all[i/len(operations)], operations[i%len(operations)]
		c := s.conduct(ctx, fmt.Sprintf("fault-%d", i), "generic", op, fault, expectedOf(fault.name).operation(i%len(operations)))
		c.name = fault.name
		cells[i] = c
	})
	return cells
}

// cellLimit is how long a try may take: every wait of the driver's ends far earlier.
const cellLimit = 3 * time.Minute

// conduct has one operation conducted on a fresh server, and holds what it says against what is wanted and the server's own truth.
func (s *site) conduct(ctx context.Context, server, persona string, op redfishtest.Operation, fault trial, want string) cell {
	c := cell{operation: op.Name, want: want}
	h, closed, err := s.harness(server, persona, fault)
	if err != nil {
		c.broken = append(c.broken, err.Error())
		return c
	}
	w := h.Control.(*world)
	h.Patience = cellLimit / 2
	if !accepts(want, done) {
		h.Patience = 4 * time.Second // what does not come is not waited for
	}
	if fault.name != "" {
		if err := w.bmc.SetFault(fault.Name, fault.argument); err != nil {
			c.broken = append(c.broken, err.Error())
		}
	}
	within, cancel := context.WithTimeout(ctx, cellLimit)
	defer cancel()
	c.take(op.Conduct(within, h))
	if !accepts(want, c.word) {
		c.broken = append(c.broken, fmt.Sprintf("it must come out as %q", want))
	}
	if within.Err() != nil {
		c.broken = append(c.broken, fmt.Sprintf("it did not end within %v", cellLimit))
	}
	if c.word == done && expectedOf(fault.name).unseen == "" {
		if lie := lieAbout(op.Name, w.bmc.State(), w.image); lie != "" {
			c.broken = append(c.broken, "a lie was believed: "+lie)
		}
	}
	if err := closed(); err != nil {
		c.broken = append(c.broken, "closing: "+err.Error())
	}
	c.broken = append(c.broken, harm(w.bmc, 0)...)
	if s := left(w.bmc, leftBy[fault.Name]); s != "" {
		c.broken = append(c.broken, s)
	}
	return c
}

// leftBy is how many sessions may be left over under a fault that hides from a driver what it would need to end them.
var leftBy = map[string]int{}

// take turns an outcome into a word.
func (c *cell) take(o redfishtest.Outcome) {
	c.words = o.Words
	switch {
	case o.Verdict == redfishtest.Passed:
		c.word = done
	case o.Verdict == redfishtest.NotTried:
		c.word = notTried
	case o.Kind != "" && o.Kind != redfish.KindCanceled:
		c.word = string(o.Kind)
	case o.Words != "":
		c.word = seen
	default:
		c.broken = append(c.broken, "it failed without a word")
	}
}

// lives leads every persona through a life without a fault, and through one under each fault.
func (s *site) lives(ctx context.Context, of part) []lived {
	var cells []lived
	for _, persona := range emulator.Personas() {
		for _, fault := range append([]trial{{}}, trials(false)...) {
			if (of.persona == "" || of.persona == persona) && (of.fault == "" || of.fault == fault.name) {
				cells = append(cells, lived{persona: persona, fault: fault.name, under: fault})
			}
		}
	}
	parallel(len(cells), func(i int) {
		persona, fault := cells[i].persona, cells[i].under
		provision, release := expectedOf(fault.name).life(persona)
		c := s.live(ctx, "life-"+persona+"-"+fault.name, persona, fault, [2]string{provision, release})
		for _, part := range []struct{ name, came, want string }{{"provisioning", c.provision.word, provision}, {"release", c.release.word, release}} {
			if !accepts(part.want, part.came) {
				c.broken = append(c.broken, fmt.Sprintf("%s must come out as %q", part.name, part.want))
			}
		}
		if len(c.broken) > 0 { // at once: the table comes minutes later
			fmt.Fprintf(os.Stderr, "conformance: %s, %s: %s, %s: %s\n", persona, cmp.Or(fault.name, "no fault"), c.provision.word, c.release.word, line(c.broken))
		}
		cells[i] = c
	})
	return cells
}
