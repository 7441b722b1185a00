// Package metrics holds every metric of the product: its name, labels and help, registered once.
//
// It guarantees: names are stable and promlint-clean; every label has a bounded set of values (a value from outside is
// mapped to "other"; of namespaces the first two hundred are told apart); no label per host or BMC, and no secrets. Counters exist
// at 0 before they count, wherever their labels are known.
//
// Non-goals: it serves nothing over HTTP, and it computes nothing: callers say what happened.
//
// Locking: the Prometheus client's own.
package metrics
