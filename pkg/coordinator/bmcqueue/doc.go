// Package bmcqueue is the one gate to all BMCs: every Redfish request of the product is made by an operation or a poll
// that this package started. It knows nothing of Kubernetes and nothing of Redfish.
//
// An operation (Op) is at most one changing request plus the reads around it, asked for by Submit, decided again on
// fresh facts when it runs. A poll (Poll) is a recurring read that the gate makes by itself. Both belong to the lane of
// their BMC endpoint; several hosts behind one chassis manager share a lane.
//
// # Guarantees
//
//  1. At most one operation or poll is in flight on an endpoint, and at most one operation of a host; at most
//     min(WorkerCount, MaxConcurrentOps) are in flight in all. A run occupies its lane and its slot until its function
//     returned, even past its timeout: what we cannot stop we do not overlap.
//  2. Between the end of an operation that changed something and the start of the next that may, on one endpoint, lies
//     the cooldown, or the rest that the first one's result asked for if that is longer. It parks the lane and holds no
//     slot. Polls and read-only operations go on. After a hand-over the cooldown counts from then: the driver before may
//     have begun it; a rest that it was asked for is not known.
//  3. An accepted operation ends in an Outcome (succeeded, failed, superseded, displaced, withdrawn), or waits, or is
//     lost with the process, after which its owner derives it again. Every ending but a withdrawal is told to Done.
//  4. Nothing starts while the Fence is not valid. Lost, it cancels what runs within fenceEvery; back, it begins a quiet
//     time again, as does an Unclean hand-over: nothing at all starts in it. An operation asks CheckFence before each changing
//     request.
//  5. Order is class, then age; AgePeriod of waiting lifts an operation by one class, so nothing starves. Within a class
//     namespaces take turns.
//  6. Polls hold no queue place and use at most a quarter of the slots (one at least); they stretch under load. An operation goes
//     first wherever both could start, until a poll has waited for PollPatience, or AgePeriod where the operation is a release:
//     then one start in pollShare is a poll's. A poll does not start if, going by the last one, it would still run when an
//     operation of its lane may. A poll in flight is not interrupted, unless its BMC gave no sign of life (Answered) for HushAfter
//     while others wait: it is tried again as an unreachable one.
//  7. Endpoints that back off as unreachable use at most a tenth of the slots (one at least).
//  8. RetryAttempts is tries inside the gate; a failed operation is never terminal, its owner submits it again. The
//     back-offs belong to the endpoint (unreachable, busy) and to the host (other failures), and outlive operations.
//  9. A refused log-in parks the endpoint for that credential, not for others: nothing runs there with it until Reset or one
//     probe every ProbeInterval. A probe that finds the BMC unreachable or busy proves nothing and leaves it parked. Hosts that
//     share a Credential send a canary first: until a log-in with it worked, and after one was refused, one endpoint tries it at a
//     time (a canary whose BMC is silent counts for SilentTime, one that hangs for CanaryTime). Refused by two BMCs, it parks the
//     others without a try, for ProbeInterval, then one elsewhere tries; a success opens it for all. A host has one credential at
//     a time, the newest that was named for it; a run in which that changed says nothing about either.
//  10. An operation that returned Wait keeps its lane for its effect: only reads run on the endpoint until it has run
//     again and ended. It is not in flight, and its re-run counts as changing: it waits for the cooldown, too.
//  11. Operations of a Group are in flight at most up to its cap. Those that wait for it hold up no other group. Polls
//     are of no group.
//  12. What becomes of a new wish of a host that has one already is a table, relations; the loser learns it.
//  13. Panics of operations and polls are contained; their value is not kept.
//
// # Not its job
//
// It does not persist anything, decide anything about hosts, speak to BMCs, repeat a GET within a try, or elect a
// driver. What it learned of credentials ends with the process: the first log-in of a new driver is a canary again.
//
// # Locking and cost
//
// All state is in gate, a plain data structure without lock, clock or goroutine, guarded by Queue.mu. No function of
// the caller is called under the lock, so Done, Observer, Fence and operations may call any method. One scheduler
// goroutine (Run) starts one goroutine per run; an idle lane is two small structs. Every step costs O(log n) in lanes
// and waiting operations plus the few operations of one lane; a group that reaches or leaves its cap costs its namespaces, a
// credential that is tried or judged its hosts, and only Apply, a hand-over, Stats and Dump look at all.
package bmcqueue
