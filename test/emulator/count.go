package emulator

import (
	"maps"
	"net/http"
	"strings"
	"time"
)

// RequestCount is what was asked of a BMC since it was added.
type RequestCount struct {
	Total    int
	ByMethod map[string]int
	// ByPath counts by method and path ("GET /redfish/v1/Systems/1"); session
	// ids are replaced by {id}, a trailing slash is dropped.
	ByPath map[string]int
	// Unauthorized counts answers 401.
	Unauthorized int
	// Connections counts accepted connections.
	Connections int
	// MaxInFlight is the highest number of requests at the same time.
	MaxInFlight int
	// Changes are the POST, PATCH, PUT and DELETE requests in the order they
	// came in, with those still in flight (End is zero).
	Changes []Change
}

// Change is one request of a changing method.
type Change struct {
	// ID is the number Event.Request refers to.
	ID           uint64
	Start, End   time.Time
	Method, Path string
	// Status is the BMC's answer, also when a fault hook kept it from the
	// client; 0 while in flight or when the connection broke before.
	Status int
	// Changed: the request did change something, or caused a change that is
	// still to come. A refused one did not.
	Changed bool
	// Session: what it changed is the session table only.
	Session bool
	// Login: it was an attempt to log in, or about one session, successful or not.
	Login bool
}

func newRequestCount() RequestCount {
	return RequestCount{ByMethod: map[string]int{}, ByPath: map[string]int{}}
}

// arrived counts a request and returns its number and the fault hook.
func (b *BMC) arrived(r *http.Request) (uint64, func(http.ResponseWriter, *http.Request) bool) {
	id := b.fleet.requestSeq.Add(1)
	path := cleanPath(r.URL.Path)
	for _, many := range []string{b.sessionsPath(), tasksPath, monitorPath} {
		if strings.HasPrefix(path, many+"/") {
			path = many + "/{id}"
		}
	}
	b.inFlight.enter()
	b.fleet.inFlight.enter()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.count.Total++
	b.count.ByMethod[r.Method]++
	b.count.ByPath[r.Method+" "+path]++
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		if b.fleet.keepRequests {
			c := &Change{ID: id, Start: time.Now(), Method: r.Method, Path: path}
			b.open[id] = c
			b.reads = append(b.reads, c)
		}
	default:
		c := &Change{ID: id, Start: time.Now(), Method: r.Method, Path: path, Login: strings.HasPrefix(path, b.sessionsPath())}
		b.open[id] = c
		b.changes = append(b.changes, c)
	}
	return id, b.intercept
}

// answered notes what the BMC itself answered.
func (b *BMC) answered(id uint64, status int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c := b.open[id]; c != nil {
		c.Status = status
	}
}

// left notes the end of a request.
func (b *BMC) left(id uint64, status int) {
	b.mu.Lock()
	if status == http.StatusUnauthorized {
		b.count.Unauthorized++
	}
	if c := b.open[id]; c != nil {
		c.End = time.Now()
		if c.Status == 0 {
			c.Status = status
		}
		delete(b.open, id)
	}
	b.mu.Unlock()
	b.fleet.inFlight.leave()
	b.inFlight.leave()
}

// Requests returns a copy of the counters of b's endpoint.
func (b *BMC) Requests() RequestCount {
	b = b.front
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.count
	n.ByMethod, n.ByPath = maps.Clone(n.ByMethod), maps.Clone(n.ByPath)
	n.MaxInFlight = b.inFlight.highest()
	for _, c := range b.changes {
		n.Changes = append(n.Changes, *c)
	}
	return n
}
