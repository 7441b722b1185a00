// Package e2e tells whole stories on a whole site (package lab): unmodified Cluster API, our manager under its own rights from its
// release, servers that boot what they are given. The tests have the build tag e2e.
//
// Guarantees. A test sets no status that it is meant to prove, and waits by asking, with a limit. Each test that touches servers
// ends with lab.Witness, which reads the servers' own logs and the API server's audit log. What a failed test leaves is in
// out/e2e/<test>: logs of all processes, the servers' consoles, the API server's audit log.
//
// TestNamedCalls is the exception: there the test plays Cluster API, on a lab without it, so that a life is short enough to be cut at each
// call. Calls are named by proxies in front of API server and BMCs; at one of them the manager is killed.
//
// Non-goals: speed, and anything that a test of one package can show.
//
// Locking. Stories of one test run one after another, each in a namespace of its own with servers of its own.
// Lanes of TestNamedCalls live at the same time, each with a manager of its own.
package e2e
