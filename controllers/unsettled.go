package controllers

import (
	"sync"
	"time"
)

// unsettled remembers since when this process has seen the claims of hosts in a position that ends when its grace is over: not
// confirmed by its machine, or without one. It is not recorded: the time in which no manager ran must not count, as nobody looked
// then, and what was gone for a moment of a `clusterctl move` or a restore may be back by now. So a restart begins a new grace.
// The zero value is ready for use.
type unsettled struct {
	mu   sync.Mutex
	seen map[string]sighting
}

type sighting struct {
	position position
	since    time.Time
}

// position is what is in doubt. Another claim, a machine that comes or goes, and a Cluster that comes or goes begin a new one.
type position struct {
	claim            string
	machine, cluster bool // there is one of the claim's name
}

// since is when the host was first seen in the position it is in now.
func (u *unsettled) since(host string, now time.Time, p position) time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	if s, found := u.seen[host]; found && s.position == p {
		return s.since
	}
	if u.seen == nil {
		u.seen = map[string]sighting{}
	}
	u.seen[host] = sighting{p, now}
	return now
}

// forget is for a host whose claim is settled, and for one that is gone.
func (u *unsettled) forget(host string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.seen, host)
}
