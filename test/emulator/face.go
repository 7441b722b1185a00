package emulator

import (
	"fmt"
	"sync"
	"time"
)

// face is what a BMC is now: its persona, changed by faults that are traits,
// and the tree of URIs that follows from it.
type face struct {
	*persona
	nodes func() map[string]*node
}

func (b *BMC) setFace(p *persona) {
	b.face.Store(&face{persona: p, nodes: sync.OnceValue(b.tree)})
}

// kind is the persona as it is now.
func (b *BMC) kind() *persona { return b.face.Load().persona }

func (b *BMC) nodes() map[string]*node { return b.face.Load().nodes() }

// scaled is a duration of a persona in this fleet.
func (b *BMC) scaled(d time.Duration) time.Duration {
	return time.Duration(float64(d) * b.fleet.timings.Scale)
}

// refaceLocked makes the faces of b and of the servers behind it anew.
func (b *BMC) refaceLocked() {
	for _, x := range append([]*BMC{b}, b.blades...) {
		x.refaceOneLocked()
	}
}

// refaceOneLocked makes the face from the persona and the traits among the faults.
func (b *BMC) refaceOneLocked() {
	p := personas[b.kind().name].clone()
	for _, f := range faults {
		if a := b.faultLocked(f.Name); a != nil && f.trait != nil {
			f.trait(p, a)
		}
	}
	for i, s := range b.slots {
		s.spec = p.media.slots[i]
	}
	b.setFace(p)
}

// adoptLocked puts a blade behind this front.
func (b *BMC) adoptLocked(blade *BMC) error {
	for _, other := range append([]*BMC{b}, b.blades...) {
		if other.spec.SystemID == blade.spec.SystemID {
			return fmt.Errorf("system %s is there already at %s", blade.spec.SystemID, b.URL())
		}
	}
	if b.closed {
		return fmt.Errorf("BMC of %s is closed", b.spec.Name)
	}
	b.blades = append(b.blades, blade)
	return nil
}

// serversLocked are all servers at this endpoint.
func (b *BMC) serversLocked() []*BMC { return append([]*BMC{b.front}, b.front.blades...) }

// lookup finds the node of a path and the server it belongs to. Of a front's
// blades each has only its own resources.
func (b *BMC) lookup(path string) (*BMC, *node) {
	if n := b.nodes()[path]; n != nil {
		return b, n
	}
	b.mu.Lock()
	blades := b.blades
	b.mu.Unlock()
	for _, x := range blades {
		if n := x.nodes()[path]; n != nil {
			return x, n
		}
	}
	if n := b.sessionNode(path); n != nil {
		return b, n
	}
	return b, b.taskNode(path)
}
