package coordinator

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// progress is an ArbiterObserver that keeps what it was told.
type progress struct {
	mu                       sync.Mutex
	elected, served, waiting int
	leads                    bool
}

func (p *progress) ArbiterElected()                { p.note(func() { p.elected++ }) }
func (p *progress) ArbiterLeads(yes bool)          { p.note(func() { p.leads = yes }) }
func (p *progress) ArbiterQueue(length int)        { p.note(func() { p.waiting = length }) }
func (p *progress) ArbiterProcessed(time.Duration) { p.note(func() { p.served++ }) }

func (p *progress) note(what func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	what()
}

// TestTheArbiterTellsOfItsWork: five machines for three hosts, and the end of the term.
func TestTheArbiterTellsOfItsWork(t *testing.T) {
	c, p := newCourt(t, fleet(3, 5, nil)...), &progress{}
	c.progress = p
	c.sit(func() {
		synctest.Wait()
		p.note(func() {
			if p.elected != 1 || !p.leads || p.served != 3 || p.waiting != 2 {
				t.Errorf("elected %d times, leads %t, %d machines served, %d wait; want 1, true, 3, 2", p.elected, p.leads, p.served, p.waiting)
			}
		})
	})
	if p.leads || p.waiting != 0 {
		t.Errorf("after its term it leads: %t, and %d wait", p.leads, p.waiting)
	}
}
