package witness

import (
	"sync"
	"time"
)

// Version is one object as an API server stored it.
type Version struct {
	At  time.Time
	Seq int
	// Site is the management cluster; Kind and Name say which object of its one namespace.
	Site, Kind, Name string
	// Object is nil when it is no more.
	Object map[string]any
}

// Server is what a server is, as its BMC knows it and whatever it says.
type Server struct {
	// Power is On, Off or between them.
	Power string
	Armed bool
	// Media are the URLs of what is in the slots.
	Media []string
}

// clean is off, empty and disarmed.
func (s Server) clean() bool { return s.Power == "Off" && !s.Armed && len(s.Media) == 0 }

// Ops of requests.
const (
	On       = "On"
	Shutdown = "GracefulShutdown"
	ForceOff = "ForceOff"
	Arm      = "Arm"
	Disarm   = "Disarm"
	Insert   = "Insert"
	Eject    = "Eject"
	// Outside is nobody's request: mains that fail, a hand at the button.
	Outside = "Outside"
	// Settled is the end of what an earlier request began.
	Settled = "Settled"
	// Another is another server behind the address from now on, Own the recorded one again.
	Another = "Another"
	Own     = "Own"
	// Served is bootstrap data that somebody read from the medium in this server; URL is the machine whose they are.
	Served = "Served"
)

// Request is a request that changed a server.
type Request struct {
	At  time.Time
	Seq int
	// Site is whose process asked, Host the server.
	Site, Host string
	Op         string
	// URL of what was inserted.
	URL           string
	Before, After Server
}

// Text is something that was said: an event, a line of a log, an error.
type Text struct{ Where, Text string }

// History is everything that happened. It is safe for concurrent use while it is written.
type History struct {
	// Cooldown is how long a BMC must be left alone after a change; zero: not judged.
	Cooldown time.Duration
	// BootTimeout is how long a boot may take to give a sign of life.
	BootTimeout time.Duration
	// Secrets must not be in anything but Secrets.
	Secrets []string

	mu       sync.Mutex
	versions []Version
	requests []Request
	texts    []Text
	// entries is the order of everything but texts.
	entries []entry
}

type entry struct {
	version *Version
	request *Request
}

// Stored notes a version.
func (h *History) Stored(v Version) {
	h.mu.Lock()
	defer h.mu.Unlock()
	v.Seq = len(h.entries)
	h.entries = append(h.entries, entry{version: &v})
	h.versions = append(h.versions, v)
}

// Asked notes a request.
func (h *History) Asked(r Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	r.Seq = len(h.entries)
	h.entries = append(h.entries, entry{request: &r})
	h.requests = append(h.requests, r)
}

// Settled notes that a server came to where a request sent it: a transition of power takes time.
func (h *History) Settled(host string, now Server) {
	h.Asked(Request{At: time.Now(), Host: host, Op: Settled, After: now})
}

// Said notes a text.
func (h *History) Said(where, text string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.texts = append(h.texts, Text{where, text})
}

// Size is how much happened until now.
func (h *History) Size() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.entries)
}

// Requests are those that changed a server, in order.
func (h *History) Requests() []Request {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]Request(nil), h.requests...)
}
