package emulator

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Fault describes a fault that a BMC can be given.
type Fault struct {
	// Name is what SetFault takes, Does what it does, in words.
	Name, Does string
	// Arg says what the argument means, Default what it is when empty; both are
	// empty when there is none.
	Arg, Default string
	// Group is its topic.
	Group string
	// Requests: it is about single requests, and takes the modifiers on, path,
	// times and every.
	Requests bool
	// Source is where it was met.
	Source string
}

// argument is the type of a fault's argument.
type argument int

const (
	argNone argument = iota
	argDuration
	argNumber
	argText
	// argChoice is a text out of those in Arg, separated by " | ".
	argChoice
)

// fault is a Fault with what makes it happen: at most one of the functions. One
// without is looked up by its name where the BMC does what it spoils.
type fault struct {
	Fault
	kind argument
	// trait changes the persona.
	trait func(p *persona, a *active)
	// before sees a request first; true: it has answered.
	before func(x *exchange, a *active) bool
	// spoil changes an answer on its way out.
	spoil func(x *exchange, a *active, r *reply)
	// shape changes a resource as decoded JSON; b.mu is held.
	shape func(b *BMC, a *active, path string, d map[string]any)
	// start and stop act on the BMC under b.mu; start may fail.
	start func(b *BMC, a *active) error
	stop  func(b *BMC, a *active)
}

// active is a fault that is switched on at one BMC. Guarded by BMC.mu but for
// done and what is set once.
type active struct {
	*fault
	arg      string
	duration time.Duration
	number   int64
	text     string
	// on is a method, "read", "change" or "login"; path a part of the path.
	on, path string
	// every nth request only, times requests at most; 0 is all.
	every, times int
	seen, used   int
	// done closes when the fault ends.
	done chan struct{}
	// undo is what start wants remembered.
	undo any
}

// Faults lists all faults, by group.
func Faults() []Fault {
	all := make([]Fault, 0, len(faults))
	for _, f := range faults {
		all = append(all, f.Fault)
	}
	return all
}

// faults is the table, in the order in which they act.
var faults []*fault

func init() {
	faults = slices.Concat(connectionFaults(), httpFaults(), sessionFaults(), bodyFaults(), lieFaults(), mediaFaults(), bootFaults(), powerFaults(), traitFaults(), bmcFaults())
	for _, f := range faults {
		f.Requests = f.Requests || f.before != nil || f.spoil != nil || f.shape != nil
	}
}

func faultNamed(name string) *fault {
	for _, f := range faults {
		if f.Name == name {
			return f
		}
	}
	return nil
}

// SetFault switches a fault on, or changes its argument. The argument is a
// value and, for faults of single requests, modifiers, separated by commas:
// on=POST (a method, or read, change, login), path=TEXT (a part of the path),
// every=N (each nth such request), times=N (then no more). An empty value is
// the fault's default. Faults of the endpoint act on all servers behind it.
func (b *BMC) SetFault(name, arg string) error {
	f := faultNamed(name)
	if f == nil {
		return fmt.Errorf("unknown fault %q", name)
	}
	a, err := f.parse(arg)
	if err != nil {
		return fmt.Errorf("fault %s: %w", name, err)
	}
	if f.endpoint() {
		b = b.front
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return fmt.Errorf("fault %s: the BMC is closed", name)
	}
	b.endFaultLocked(name)
	if f.start != nil {
		if err := f.start(b, a); err != nil {
			return fmt.Errorf("fault %s: %w", name, err)
		}
	}
	b.faults[name] = a
	if f.trait != nil {
		b.refaceLocked()
	}
	b.record(cause{who: ByOutside}, Event{Kind: EventFault, To: name, Detail: a.arg})
	return nil
}

// endpoint: the fault is one of the BMC's web server, not of one server.
func (f *fault) endpoint() bool {
	return f.before != nil || f.spoil != nil || slices.Contains([]string{"connection", "http", "sessions", "bmc"}, f.Group)
}

// ClearFault switches a fault off; one that is not on is fine.
func (b *BMC) ClearFault(name string) {
	if f := faultNamed(name); f != nil && f.endpoint() {
		b = b.front
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.endFaultLocked(name)
}

// ClearFaults switches all faults of b, and of the endpoint it is at, off.
func (b *BMC) ClearFaults() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.clearFaultsLocked()
	b.front.clearFaultsLocked()
}

func (b *BMC) clearFaultsLocked() {
	for _, f := range faults {
		b.endFaultLocked(f.Name)
	}
}

func (b *BMC) endFaultLocked(name string) {
	a := b.faults[name]
	if a == nil {
		return
	}
	delete(b.faults, name)
	close(a.done)
	if a.stop != nil {
		a.stop(b, a)
	}
	if a.trait != nil {
		b.refaceLocked()
	}
	b.record(cause{who: ByOutside}, Event{Kind: EventFault, From: name})
}

// ActiveFaults are the faults that are on, with their arguments, by name; of b
// and of the endpoint it is at.
func (b *BMC) ActiveFaults() map[string]string {
	b.mu.Lock()
	defer b.mu.Unlock()
	on := map[string]string{}
	for _, x := range []*BMC{b.front, b} {
		for name, a := range x.faults {
			on[name] = a.arg
		}
	}
	return on
}

// faultLocked is a fault if it is on at this server, or at its endpoint.
func (b *BMC) faultLocked(name string) *active {
	if a := b.faults[name]; a != nil {
		return a
	}
	if b.front != nil && b.front != b {
		if a := b.front.faults[name]; a != nil && a.endpoint() {
			return a
		}
	}
	return nil
}

// useLocked says whether a fault of single requests strikes this one.
func (b *BMC) useLocked(name string, r *http.Request) bool {
	a := b.faultLocked(name)
	return a != nil && a.hits(b, r)
}

func (b *BMC) use(name string, r *http.Request) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.useLocked(name, r)
}

// hits counts a request and says whether the fault strikes it. b.mu is held.
func (a *active) hits(b *BMC, r *http.Request) bool {
	p := cleanPath(r.URL.Path)
	read := r.Method == http.MethodGet || r.Method == http.MethodHead
	login := r.Method == http.MethodPost && p == b.front.sessionsPath()
	switch a.on {
	case "":
	case "read":
		if !read {
			return false
		}
	case "change":
		if read || login {
			return false
		}
	case "login":
		if !login {
			return false
		}
	default:
		if r.Method != a.on {
			return false
		}
	}
	if !strings.Contains(p, a.path) {
		return false
	}
	a.seen++
	if a.every > 1 && a.seen%a.every != 0 || a.times > 0 && a.used >= a.times {
		return false
	}
	a.used++
	return true
}

// parse reads an argument.
func (f *fault) parse(arg string) (*active, error) {
	a := &active{fault: f, arg: arg, done: make(chan struct{})}
	value := f.Default
	for i, part := range strings.Split(arg, ",") {
		key, v, ok := strings.Cut(part, "=")
		if ok && f.Requests && slices.Contains([]string{"on", "path", "every", "times"}, key) {
			if err := a.modify(key, v); err != nil {
				return nil, err
			}
			continue
		}
		if i > 0 {
			return nil, fmt.Errorf("%q is no modifier of this fault", part)
		}
		if part != "" {
			value = part
		}
	}
	return a, a.take(value)
}

func (a *active) modify(key, v string) error {
	switch key {
	case "on":
		a.on = v
		known := []string{"read", "change", "login", "GET", "HEAD", "POST", "PATCH", "DELETE", "PUT"}
		if !slices.Contains(known, v) {
			return fmt.Errorf("on=%s: not one of %q", v, known)
		}
		return nil
	case "path":
		a.path = v
		return nil
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 {
		return fmt.Errorf("%s=%s is no positive number", key, v)
	}
	if key == "every" {
		a.every = n
	} else {
		a.times = n
	}
	return nil
}

func (a *active) take(value string) (err error) {
	switch a.kind {
	case argNone:
		if value != "" {
			return fmt.Errorf("it takes no argument, got %q", value)
		}
	case argDuration:
		if a.duration, err = time.ParseDuration(value); err != nil {
			return fmt.Errorf("%q is no duration", value)
		}
	case argNumber:
		if a.number, err = strconv.ParseInt(value, 10, 64); err != nil || a.number < 0 {
			return fmt.Errorf("%q is no number", value)
		}
	case argChoice:
		if !slices.Contains(strings.Split(a.Arg, " | "), value) {
			return fmt.Errorf("%q is not one of %s", value, a.Arg)
		}
		a.text = value
	case argText:
		a.text = value
	}
	return nil
}
