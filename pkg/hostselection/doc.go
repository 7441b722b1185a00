// Package hostselection decides which free host a machine should try to claim, and says why the others will not do.
//
// It guarantees: pure functions (no client, clock, logger or context; time is an argument); the same inputs give the same
// order on every replica and after every restart; adding or removing a host moves only the machines that must move; the
// diagnosis is one sentence that changes only when a count or a reason does, never because of map order.
//
// Non-goals: it claims nothing (package coordinator does), it keeps no state, and it does not read hardware: it believes the
// inventory and the Available condition that the host controller recorded.
//
// Locking: none; nothing here is shared, and hosts that are passed in are never written to.
package hostselection
