// Command scale measures Beskar7 at size, on a real API server, and compares what it finds with the budgets in rangespec.yaml.
//
//	go run ./scale claim-storm --machines 2000 --hosts 2000 --mode optimistic --replicas 3
//	go run ./scale claim-storm --machines 200 --hosts 200 --kills 10 --overlap
//	go run ./scale managers --machines 60 --kills 6 --mode leader
//	go run ./scale managers --machines 30 --limited
//	go run ./scale claims
//	go run ./scale fleet --hosts 1000 --idle 10m
//
// claims is all of the storms of claims, in the sizes of the budgets. Every run adds to out/scale/claims.json and redraws out/scale/claims.svg; the
// command ends with 1 when a budget is broken and prints a line for each that is.
//
// # What claims in a storm
//
// claim-storm measures claims and nothing else: R processes with W workers each, of this program itself, hold what the manager's
// process holds for claiming (manager, caches, indexes, work queue, and pkg/coordinator with the options that main.go gives it) and
// nothing of the BMC side. The manager itself would not do: in it, all controllers run where the driver lease is held (D5), so that
// R managers are one that claims; its host controller would write as much again, and take the hosts, which have no BMC here, out of
// the pool at once. In optimistic mode each of the R processes claims as if it held the driver lease: the worst that a deposed and
// not yet stopped holder can do, for the whole storm. In leader mode each process is a candidate for arbiter,
// from the start signal on. Every machine is worked on by the machine side of one process, as it is where one process holds the
// driver lease, or of all with --overlap.
//
// The raw write rate is that of the same API server, taken right before by as many processes and workers, which write the bytes of
// a claim (claim and boot on a host, hostRef on a machine) and of its end to objects of their own, one write after the other, with
// nothing else to do and nobody watching those objects.
//
// managers runs the manager itself, as it is shipped, in three processes against emulated BMCs: hosts get into the pool by being
// observed, and the machine controller claims. It is the proof under SIGKILL and under the client limit of the guide, not a
// measurement of claims: what it writes for a machine is more than a claim.
//
// fleet runs one manager as it is shipped, with hosts that share one CA and one credentials Secret: all are registered at once, then the
// manager rests, and is measured in the second half of that time: CPU, resident set, requests to the API server and to the BMCs.
//
// # Who judges
//
// Ownership is judged from the history of the API server: every version of every host and machine, taken by a watch and put in
// the order of their resource versions. Requests are counted in its audit log. Attempts, and the time inside a claim, are what the
// claiming processes say of themselves. Time is this program's: from the start signal until the watch showed both halves.
//
// It guarantees: every process that it starts ends with it; a seed, printed first, repeats the order of kills (not their
// interleaving, which is the machine's).
//
// Non-goals: provisioning, workload clusters.
//
// Locking: history has one mutex, for what its watches add; a crew's members are used by one goroutine.
package main
