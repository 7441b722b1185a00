// Package hostselection decides which free host a machine should try to claim, and says why the others will not do.
//
// It guarantees: decisions depend on nothing but their inputs (no client, clock, logger or context; time is an argument); the
// same inputs give the same order on every replica and after every restart; under the deterministic algorithm, adding or
// removing a host moves only the machines that must move; the diagnosis is one sentence that never changes because of map order, and
// Diagnosis.Same says whether a newer one tells anything new; one of 10,000 hosts is chosen within a millisecond (the tag budget has
// the test), and nothing is allocated that grows with the hosts that are refused. Pool.Explain gives the whole reasoning.
//
// What the algorithms remember is recorded on the hosts: who holds a host since when (spec.claim), who had it last (spec.lastTenant).
//
// Non-goals: it claims nothing (package coordinator does), and it does not read hardware: it believes the inventory and the
// Available condition that the host controller recorded.
//
// Locking: none. A Pool may be asked by many at once, but not while it is told of a change; hosts that are passed in are never written to.
package hostselection
