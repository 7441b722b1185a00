package bmcqueue

import (
	"context"
	"errors"
	"time"
)

// Settings are the guide's settings of the gate: this is the one place that says what each of them means. Every one can change
// while the gate runs (Apply), and counts from the next decision on; what is in flight keeps what it started with, and nothing is
// lost or repeated. Values below their minimum are raised to it.
type Settings struct {
	// MaxConcurrentOps (provisioning.maxConcurrentOps) caps what is in flight over all BMCs: operations and polls alike. One
	// that waits (for its turn, a cooldown, a back-off, its effect) is not in flight. A smaller value stops nothing: starts
	// wait until enough has ended. Minimum 1.
	MaxConcurrentOps int
	// WorkerCount (provisioning.workerCount) caps the goroutines that run them; the smaller of the two is the cap. Minimum 1.
	WorkerCount int
	// MaxQueueSize (provisioning.maxQueueSize) caps waiting requested operations, those that park for a cooldown, a back-off or
	// their effect included. Running ones and polls do not count. What was accepted stays, also when the value shrinks or when
	// it goes back to waiting for its next try. Minimum 1.
	MaxQueueSize int
	// OperationTimeout (provisioning.operationTimeout) bounds one run of an operation or poll: its context ends then. A run
	// under way keeps the value that it started with. 0 or less means DefaultOperationTimeout.
	OperationTimeout time.Duration
	// Cooldown (provisioning.bmcCooldownPeriod) is the time between two changing operations on one endpoint, from the end of
	// one to the start of the next. One whose result says that nothing was sent starts none. A changed value is measured from
	// the same end. Op.Cooldown overrides it for one host. 0 or less means none.
	Cooldown time.Duration
	// RetryAttempts (provisioning.retryAttempts) is the number of failed tries inside the gate after which an operation is
	// handed back as failed. Waiting for an effect, a refused log-in and a run that we cut short ourselves are no failed
	// tries. Minimum 1.
	RetryAttempts int
	// ExponentialBackoff (provisioning.exponentialBackoff) doubles the back-off, BaseDelay at first, at every failure in a row;
	// without it every back-off is BaseDelay. Jitter takes up to half of either. A back-off under way is not computed anew.
	ExponentialBackoff bool
	// MaxRetryDelay (provisioning.maxRetryDelay) caps a back-off that the gate computed, also the first. A Retry-After of the
	// BMC is clamped to MinRetryAfter and MaxRetryAfter instead. 0 or less means DefaultMaxRetryDelay.
	MaxRetryDelay time.Duration
	// GroupCaps cap operations in flight by Op.Group, within the cap of all. No entry, or 0 or less, is no cap. Polls are of no
	// group: they are short, have a cap of their own, and a group at its cap has to be watched, too.
	GroupCaps map[string]int
}

// Fixed times of the gate.
const (
	// DefaultOperationTimeout stands in for an unset Settings.OperationTimeout.
	DefaultOperationTimeout = 5 * time.Minute
	// DefaultMaxRetryDelay stands in for an unset Settings.MaxRetryDelay.
	DefaultMaxRetryDelay = 10 * time.Minute
	// DefaultDrainTimeout stands in for an unset Options.DrainTimeout.
	DefaultDrainTimeout = 20 * time.Second
	// BaseDelay is the first back-off after a failure; jitter takes up to half of it.
	BaseDelay = 2 * time.Second
	// MinRetryAfter and MaxRetryAfter clamp what a BMC asks for with Retry-After.
	MinRetryAfter = time.Second
	MaxRetryAfter = 5 * time.Minute
	// ProbeInterval is how often a parked endpoint is tried again unasked: BMCs lock accounts after a few failures.
	ProbeInterval = time.Hour
	// CanaryTime is how long the log-in that tries a credential first keeps others from trying it, once its BMC gave a sign of life.
	CanaryTime = 30 * time.Second
	// SilentTime is how long it does without one (see Answered): a BMC that is silent cannot lock an account, and a rack without
	// power must not hold back all hosts of its Secret.
	SilentTime = 2 * time.Second
	// HushAfter is when a poll whose BMC is silent gives its slot to others that wait. It is tried again, patiently, among the
	// unreachable ones.
	HushAfter = 4 * time.Second
	// PollPatience is how long a poll lets operations go first; after AgePeriod also those that release hosts do not.
	PollPatience = time.Minute
	// pollShare: of this many runs one is a poll's, if one lost patience.
	pollShare = 4
	// reconsiderAfter is when a refused credential is tried again after the host left that it was refused for.
	reconsiderAfter = time.Minute
	// AgePeriod is the waiting time that lifts an operation by one class, so that nothing starves.
	AgePeriod = 5 * time.Minute
)

// Options configure a Queue.
type Options struct {
	Settings Settings
	// Fence is asked before every run and several times a second while something is in flight. nil: always valid.
	Fence Fence
	// Done is called, without locks held, whenever the owner of host should look at Status again: its operation
	// ended, lost its place or ended a try, or its endpoint was parked or freed. It must be cheap, must not block and
	// may be called from any goroutine, also from inside Submit for another host. nil: nobody is told.
	Done func(host string)
	// HandOver is how driving came to this process; see TakeOver, which says it later than New.
	HandOver HandOver
	// QuietTime is how long nothing at all starts after an Unclean hand-over, and after the fence became valid again: another
	// driver may have sent a request just before, and the BMC may still be at work on it.
	QuietTime time.Duration
	// DrainTimeout is how long Run lets operations finish after its context ended, before it cancels them.
	DrainTimeout time.Duration
	// Observer receives events for metrics; nil is allowed.
	Observer Observer
	// Jitter returns numbers in [0,1); nil means a random source.
	Jitter func() float64
}

// HandOver is how driving came to this process.
type HandOver int

const (
	// NobodyBefore: no process drove these BMCs before. Operations start at once.
	NobodyBefore HandOver = iota
	// Clean: the driver before ended, and let go only when nothing of it was in flight. Its last cooldowns may still run.
	Clean
	// Unclean: nobody knows what the driver before sent last, nor whether it noticed. All lanes keep the quiet time.
	Unclean
)

// Fence says whether this process may drive BMCs.
type Fence interface {
	// Valid is true while the driver lease is certainly ours. It must be cheap and never block.
	Valid() bool
}

// ErrFenced is returned by CheckFence, and is the cancellation cause of a running operation, when the driver lease is
// not certainly ours any more.
var ErrFenced = errors.New("the driver lease is not held any more")

// ErrStopping is the cancellation cause of an operation that did not end within the drain time of Run.
var ErrStopping = errors.New("the bmc queue is stopping")

// Class orders operations; a higher class goes first and displaces lower ones from a full queue.
type Class int

// The classes, lowest first.
const (
	ClassRest Class = iota
	ClassProvision
	ClassRelease
	classes = 3
)

// Failure is how a run went wrong; it selects what the gate does about it.
type Failure int

const (
	// None: the run did what it should (perhaps with Wait: the effect is still to come).
	None Failure = iota
	// Unreachable: no usable answer. The endpoint backs off, in the slots for unreachable ones.
	Unreachable
	// Busy: the BMC answered that it cannot now (503, 429, task running). The endpoint backs off.
	Busy
	// LoginFailed: a log-in or basic authentication was refused. The endpoint is parked; costs no try.
	LoginFailed
	// Other: anything else. The host's operations back off, the endpoint does not.
	Other
)

// Op is one requested operation: at most one changing request plus the reads around it.
type Op struct {
	// Endpoint is the BMC's address in a canonical form; operations with equal endpoints never overlap.
	Endpoint string
	// Host is "namespace/name" of the PhysicalHost; at most one operation per host waits.
	Host      string
	Namespace string
	Class     Class
	// Kind ("InsertMedia") and ID tell wishes apart: equal Host, Kind and ID are the same wish and are merged.
	Kind string
	ID   string
	// Group, such as a vendor, has operations in flight counted against Settings.GroupCaps; empty: no group.
	Group string
	// Credential: see Poll. A host has one at a time, the newest that Register or Submit named; empty leaves it as it is. The owner
	// of a host with a poll names it there only, as one that was queued for long would bring an old one back.
	Credential string
	// ReadOnly promises that Run never sends a changing request: it waits for neither cooldown nor quiet time, and
	// never supersedes a waiting changing operation.
	ReadOnly bool
	// Cooldown after this operation changed something, and Timeout of one run; 0 means the setting.
	Cooldown time.Duration
	Timeout  time.Duration
	// Run does the work, on fresh facts, and must end soon after its context does: the endpoint stays occupied until
	// it returns. It is called again for every try and after every Wait. Before a changing request it asks CheckFence.
	Run func(context.Context) Result
}

// Result is what one run of an operation or poll found.
type Result struct {
	// Changed: a changing request was (or may have been) sent; the cooldown starts when Run returns.
	Changed bool
	// Rest, with Changed, is how long this BMC wants to be left alone after what was changed. It counts as cooldown where it is
	// longer than that. Polls and read-only operations go on in it.
	Rest time.Duration
	// Failure classifies an unsuccessful run. None with a non-nil Err counts as Other. None says that the log-in works, and
	// LoginFailed that it does not: both are held to be true of the host's Credential.
	Failure Failure
	// RetryAfter is what the BMC asked for; 0 if it did not.
	RetryAfter time.Duration
	// Message is shown to people in Status; Err only if Message is empty. Neither may hold a secret.
	Message string
	Err     error
	// Wait > 0 with Failure None: the effect is still to come. The operation keeps its lane, without being in flight,
	// and runs again after Wait (and the cooldown); meanwhile the endpoint gets reads only.
	Wait time.Duration
}

// Ticket answers Submit.
type Ticket struct {
	// Accepted: the wish is in the queue (perhaps merged into an equal one) and will not be lost silently.
	Accepted bool
	Reason   Reason
	// RetryAfter is, for a refused operation, when to come back.
	RetryAfter time.Duration
}

// Reason says what became of a submitted operation.
type Reason string

const (
	// ReasonQueued: accepted, waits for its turn.
	ReasonQueued Reason = "Queued"
	// ReasonMerged: accepted, joined to the equal operation that waits or runs.
	ReasonMerged Reason = "Merged"
	// ReasonSuperseded: accepted in the place of the host's earlier, different operation.
	ReasonSuperseded Reason = "Superseded"
	// ReasonParked: accepted, but the endpoint or its credential is parked after a refused log-in.
	ReasonParked Reason = "Parked"
	// ReasonFull: refused, the queue holds MaxQueueSize operations of this class or higher.
	ReasonFull Reason = "Full"
	// ReasonOutranked: refused, a read-only operation while a changing one of this host waits or runs.
	ReasonOutranked Reason = "Outranked"
	// ReasonStopped: refused, Run has ended.
	ReasonStopped Reason = "Stopped"
	// ReasonInvalid: refused, Endpoint, Host or Run is missing.
	ReasonInvalid Reason = "Invalid"
)

// Poll is a recurring read that the lane of an endpoint makes by itself while its host is registered.
type Poll struct {
	Endpoint  string
	Host      string
	Namespace string
	// Credential names what the host logs in with, in a form that tells nothing: equal for hosts that share a Secret and
	// different once that changed, such as its UID and version; never a password or a hash of one. Until a log-in with it
	// worked in this process, and after one was refused, one host tries it at a time; if that one is refused, the others are
	// parked without a try. Empty: nothing is shared. Registering with another one resets the endpoint, see Reset.
	Credential string
	// Interval is the time to the next poll, asked after every poll (and once in Register), without locks held. Values
	// under a second count as a second. The gate jitters it by a tenth and stretches it under load.
	Interval func() time.Duration
	Run      func(context.Context) Result
}

// State is what a host's operation, or without one its endpoint, is doing.
type State string

const (
	// StateIdle: no operation, endpoint in order.
	StateIdle State = "Idle"
	// StateWaiting: for its turn, the cooldown or the quiet time.
	StateWaiting State = "Waiting"
	// StateRunning: in flight now.
	StateRunning State = "Running"
	// StateSettling: the operation was sent; it runs again at NextAttempt to see its effect.
	StateSettling State = "Settling"
	// StateParked: a log-in was refused, here or, as LastError says, with the same credential at another endpoint; nothing runs
	// until NextAttempt, a Reset or Retry, or a changed credential.
	StateParked State = "Parked"
	// StateBackOff: the last try failed; next one at NextAttempt.
	StateBackOff State = "BackOff"
)

// Ending is how an operation left the gate.
type Ending string

// The endings. Outcome.Message says more.
const (
	EndedNone       Ending = ""
	EndedSucceeded  Ending = "Succeeded"
	EndedFailed     Ending = "Failed"
	EndedRefused    Ending = "Refused"
	EndedDisplaced  Ending = "Displaced"
	EndedSuperseded Ending = "Superseded"
	EndedWithdrawn  Ending = "Withdrawn"
)

// Outcome is the last operation of a host that left the gate. Losing it in a restart is harmless.
type Outcome struct {
	Ending   Ending
	Kind     string
	ID       string
	Class    Class
	Failure  Failure
	Attempts int
	Message  string
	At       time.Time
}

// Status is what the gate knows of a host.
type Status struct {
	State State
	// Kind, ID and Class of the host's operation (the running one before the waiting one); zero when Idle.
	Kind  string
	ID    string
	Class Class
	// Position is 1 for the next operation to start, up to a second old; 0 when nothing of this host waits.
	Position int
	// Attempts is the number of tries of this operation that ended in failure.
	Attempts int
	// LastError and Failure are of the last failed run: of this operation, else of the endpoint.
	LastError string
	Failure   Failure
	// HeldBy is the endpoint that tries the host's credential first, or that refused it (then State is StateParked, unless a newer
	// try is under way): what it is told there decides when this one is tried. Empty: the credential holds nothing back.
	HeldBy string
	// NextAttempt is the earliest time of the next run; zero when only a free slot is missing.
	NextAttempt time.Time
	// Since is when the operation was accepted, or when it started if it runs.
	Since   time.Time
	Outcome Outcome
}

// Observer receives what metrics need. Its methods are called without locks, from any goroutine, and must be cheap.
type Observer interface {
	// Tried: a run of an operation, or (class ClassRest, kind "Poll", no group) of a poll, ended after took, having waited
	// for its turn since it was allowed to start.
	Tried(kind, group string, class Class, failure Failure, waited, took time.Duration)
	// Ended: an operation left the gate; refused ones included.
	Ended(kind string, class Class, ending Ending, failure Failure)
	// CooldownWaited: an operation that may start otherwise waits for the cooldown of its endpoint.
	CooldownWaited()
	// Panicked: a run of kind for host panicked; stack holds no values.
	Panicked(host, kind string, stack []byte)
}
