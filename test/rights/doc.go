// Command rights compares what the manager's roles grant with what its ServiceAccount used, by the audit logs of runs:
//
//	go run ./rights                        the logs of the last demo and of the last end-to-end tests, under out/
//	go run ./rights FILE...                these logs
//
// It ends with 1 when a request was refused for want of a right, or when a right was used by no run and exceptions.yaml gives no
// reason for it. An exception for what is not granted is an error, so that the list stays true.
//
// Guarantees: rules with wildcards are refused, as nothing can be said of them. Non-goals: paths such as /apis, which every account
// may read; names of objects, which our rules do not tell apart.
//
// Locking: none, it has one goroutine.
package main
