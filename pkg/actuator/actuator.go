package actuator

import (
	"context"
	"sync"
	"time"

	"k8s.io/utils/clock"

	"github.com/beskar7/beskar7/pkg/coordinator/bmcqueue"
	"github.com/beskar7/beskar7/pkg/provision"
	"github.com/beskar7/beskar7/pkg/redfish"
	"github.com/beskar7/beskar7/pkg/serverid"
)

// Gate is the part of the BMC gate that the actuator uses.
type Gate interface {
	Submit(bmcqueue.Op) bmcqueue.Ticket
	Withdraw(host string)
	Register(bmcqueue.Poll)
	Unregister(host string)
	PollNow(host string)
	Status(host string) bmcqueue.Status
	Reset(endpoint string)
	Retry(endpoint string)
	Park(endpoint, credential string, until time.Time)
}

// Driver opens BMCs; opening makes no request. A client whose log-in was refused stays refused until it is forgotten. Release says
// that one is not needed any more, and reports whether sessions are left at its BMC that LogOut has to end.
type Driver interface {
	BMC(redfish.Target) (redfish.BMC, error)
	Forget(redfish.Target)
	Release(redfish.Target) (left bool)
	LogOut(ctx context.Context, address string) error
}

// Options configure an Actuator.
type Options struct {
	Gate   Gate
	Driver Driver
	Clock  clock.PassiveClock
	// Changed is told, without locks held, when an observation of a host differs from the one before.
	Changed func(host string)
}

// Actuator carries out decisions and keeps the newest observation of each host.
type Actuator struct {
	gate    Gate
	driver  Driver
	clock   clock.PassiveClock
	changed func(string)

	mu    sync.Mutex // guards hosts and everything below it; never held while calling out
	hosts map[string]*tracked
}

// tracked is what is kept of one server: a host at one address and system. A host that moves gets another one, so that
// nothing that was begun at the old server is ever taken for the new one: polls and operations hold on to the tracked they
// were made for, and end without a word when it is not the host's any more.
type tracked struct {
	host     string
	target   redfish.Target
	endpoint string
	// credential is Tracking.Credential.
	credential string
	// version counts the changes of target: a failure met before a change says nothing of what is configured now.
	version     int
	observation Observation
	// firmware is the BMC's, as last learned, perhaps by an earlier process.
	firmware string
	// sent are the changing requests whose effect is still to come, by the id of their wish.
	sent map[string]*sent
	// poweredOn is the claim for which a PowerOn that boots its system was sent and power On was not seen yet. Whoever
	// sees it records the boot.
	poweredOn string
	// shutdown is when the first graceful shutdown for a claim was sent, over all tries.
	shutdown struct {
		claim string
		at    time.Time
	}
	// rests is until when the BMC wants to be left alone: what it says of its slots before that means nothing.
	rests time.Time
	// unread is the slot that a request was sent for since it was read; "" if none was.
	unread string
	// stuck are the slots whose eject was refused, or came to nothing: the others go first.
	stuck map[string]bool
	// changed is the server that answered before the last change.
	changed serverid.Identity
	// steady counts the readings of power in a row that said the same, the first of them at steadyFrom, or after it.
	steady     int
	steadyFrom time.Time
	// inputs are those of the last order; nil before the first.
	inputs *string
	// looks counts how often in a row the same wish to observe found nothing settled.
	looks struct {
		id string
		n  int
	}
}

// New makes an Actuator.
func New(o Options) *Actuator {
	return &Actuator{gate: o.Gate, driver: o.Driver, clock: o.Clock, changed: o.Changed, hosts: map[string]*tracked{}}
}

// Tracking is how a host is watched.
type Tracking struct {
	// Host is "namespace/name".
	Host, Namespace string
	Target          redfish.Target
	// Credential tells the credentials from others without being them, such as UID and version of their Secret: hosts that share
	// them wait for one canary. Empty: each is tried on its own.
	Credential string
	// Interval between polls, asked before each.
	Interval func() time.Duration
	// ParkedUntil, if set, holds back log-ins: this credential was refused before a restart.
	ParkedUntil time.Time
}

// Track polls a host and makes it known. A changed address or system starts from nothing, and
// the session before is ended; changed credentials or trust keep what was observed and try at once. It is cheap
// and meant to be called at every reconcile.
func (a *Actuator) Track(t Tracking) error {
	if err := t.Target.Validate(); err != nil {
		return err
	}
	endpoint, err := redfish.EndpointKey(t.Target.Address)
	if err != nil {
		return err
	}
	a.mu.Lock()
	old, known := a.hosts[t.Host]
	moved := known && (old.endpoint != endpoint || old.target.SystemID != t.Target.SystemID)
	if known && !moved {
		// What was learned of a BMC comes back from status, and is no change.
		same := old.target.SameBMC(t.Target) && old.credential == t.Credential
		if !same {
			old.retarget(t.Target)
			old.credential = t.Credential
		}
		a.mu.Unlock()
		if !same {
			a.gate.Register(a.pollOf(old, t)) // before the reset: what is tried at once is tried with the new credential
			a.gate.Reset(endpoint)
		}
		return nil
	}
	abandoned := !a.tracks(endpoint)
	server := &tracked{host: t.Host, target: t.Target, credential: t.Credential, endpoint: endpoint, steadyFrom: a.clock.Now(), sent: map[string]*sent{}}
	server.observation.Stale = moved // whatever status says of the hardware is of the old server
	if !moved {
		server.firmware, server.observation.Refused = t.Target.Learned.Firmware, refusedIn(t.Target.Learned)
	}
	a.hosts[t.Host] = server
	a.mu.Unlock()
	switch {
	case !moved && !t.ParkedUntil.IsZero():
		a.gate.Park(endpoint, t.Credential, t.ParkedUntil)
	case abandoned:
		// The gate remembers what the endpoint refused to hosts that are no more, such as this one before its Secret was
		// replaced: these credentials were not refused.
		a.gate.Reset(endpoint)
	}
	a.gate.Withdraw(t.Host)
	a.gate.Unregister(t.Host)
	if moved {
		a.leave(old.target, old.endpoint)
	}
	a.gate.Register(a.pollOf(server, t))
	return nil
}

func (a *Actuator) pollOf(server *tracked, t Tracking) bmcqueue.Poll {
	return bmcqueue.Poll{Endpoint: server.endpoint, Host: t.Host, Namespace: t.Namespace, Credential: t.Credential, Interval: t.Interval,
		Run: func(ctx context.Context) bmcqueue.Result { return a.poll(heard(ctx), server) }}
}

// retarget takes in other credentials, trust or settings for the same server. a.mu is held.
func (t *tracked) retarget(target redfish.Target) {
	t.target = target
	t.version++
	if f := t.observation.Failure; f != nil {
		before := *f
		before.Outdated = true
		t.observation.Failure = &before
	}
}

// tracks says whether a host has this endpoint. a.mu is held.
func (a *Actuator) tracks(endpoint string) bool {
	for _, t := range a.hosts {
		if t.endpoint == endpoint {
			return true
		}
	}
	return false
}

// Forget drops a host, and has its session ended.
func (a *Actuator) Forget(host string) {
	a.gate.Withdraw(host)
	a.gate.Unregister(host)
	a.mu.Lock()
	t := a.hosts[host]
	delete(a.hosts, host)
	a.mu.Unlock()
	if t != nil {
		a.leave(t.target, t.endpoint)
	}
}

// Observed is the newest observation of a host, and whether it is tracked.
func (a *Actuator) Observed(host string) (Observation, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	t, ok := a.hosts[host]
	if !ok {
		return Observation{}, false
	}
	return t.observation.clone(), true
}

// Status is what the gate knows of a host.
func (a *Actuator) Status(host string) bmcqueue.Status { return a.gate.Status(host) }

// InspectAgain has the BMC's report and the inventory read again, once nobody claims the host.
func (a *Actuator) InspectAgain(host string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if t, ok := a.hosts[host]; ok {
		t.observation.Stale = true
	}
}

// RetryNow clears back-off and parking of the host's endpoint, and reads everything of it again soon.
func (a *Actuator) RetryNow(host string) {
	a.mu.Lock()
	t, ok := a.hosts[host]
	if ok {
		t.observation.Stale = true
		t.observation.setRefused(nil) // a person has perhaps mended what was in the way
	}
	a.mu.Unlock()
	if ok {
		a.gate.Retry(t.endpoint)
		a.gate.PollNow(host)
	}
}

// Withdraw takes back a waiting operation: the newest decision needs none. What was already sent to the BMC is remembered.
func (a *Actuator) Withdraw(host string) { a.gate.Withdraw(host) }

// Order is a decided action with what is needed to decide it again.
type Order struct {
	Host, Namespace string
	Action          provision.Action
	// Class of the operation at the gate.
	Class bmcqueue.Class
	// Inputs are what people can change of what the order is made of. When they change, what failed before says nothing: it is
	// tried at once.
	Inputs string
	// ClaimID keeps the wishes of different tenancies apart.
	ClaimID string
	// Brief reads the facts again, from the API server itself, when the operation has its turn.
	Brief func(context.Context) (Brief, error)
	// Group, such as the vendor, may have a part of the operations in flight; empty: no group.
	Group string
	// Cooldown and Timeout override the settings; 0 keeps them.
	Cooldown, Timeout time.Duration
	// Shutdown bounds a graceful shutdown, Settle every other effect, not counting Rest.
	Shutdown, Settle time.Duration
	// Rest is how long the BMC is left alone after a change.
	Rest Rest
}

// Rest is how long a BMC wants to be left alone after a change: nothing else is changed for that long, and its effect is not
// looked for by the operation before. Zero: not at all, as most BMCs. See redfish.Tuning.
type Rest struct{ AfterEject, AfterInsert, AfterPower time.Duration }

// Submit puts the order into the gate. It never waits. Submitting the same order again is free: the gate lets the newer one
// run in the place of the one that waits, and what was sent for it is kept with the server.
func (a *Actuator) Submit(o Order) bmcqueue.Ticket {
	a.mu.Lock()
	t, ok := a.hosts[o.Host]
	if !ok {
		a.mu.Unlock()
		return bmcqueue.Ticket{Reason: bmcqueue.ReasonInvalid}
	}
	t.observation.prune(o.ClaimID)
	changed := t.inputs != nil && *t.inputs != o.Inputs
	if t.inputs = &o.Inputs; changed {
		t.observation.setRefused(nil)
	}
	a.mu.Unlock()
	r := &run{actuator: a, of: t, id: o.ClaimID + "/" + string(o.Action), order: o}
	ticket := a.gate.Submit(bmcqueue.Op{Endpoint: t.endpoint, Host: o.Host, Namespace: o.Namespace, Class: o.Class,
		Kind: string(o.Action), ID: r.id, ReadOnly: o.Action.Reads(),
		Group: o.Group, Cooldown: o.Cooldown, Timeout: o.Timeout, Run: r.step})
	if changed {
		a.gate.Reset(t.endpoint)
	}
	return ticket
}

// update changes the stored observation under the lock and says whether the server is still the host's.
func (a *Actuator) update(t *tracked, change func(*Observation)) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.hosts[t.host] != t {
		return false
	}
	change(&t.observation)
	return true
}

// access is a BMC as it was opened: for which server, and with which version of its target.
type access struct {
	redfish.BMC
	of      *tracked
	version int
}

func (a *Actuator) open(t *tracked) (access, error) {
	a.mu.Lock()
	if a.hosts[t.host] != t {
		a.mu.Unlock()
		return access{of: t}, errForgotten
	}
	at := access{of: t, version: t.version}
	target, f := t.target, t.observation.Failure
	a.mu.Unlock()
	if f != nil && f.LoginFailed && !f.Outdated {
		// The gate lets an endpoint with a refused log-in through for one probe only, or because something changed.
		a.driver.Forget(target)
	}
	var err error
	at.BMC, err = a.driver.BMC(target)
	return at, err
}
