// Package coordinator decides who owns a host.
//
// A claim has two halves: the machine's hostRef and the host's claim. It is inert until both name each other, so neither a crash
// between the two writes, nor a stale cache, nor a deposed leader that writes late can give one machine two hosts or one host two
// machines. Each half is set under the resource version of the object that was judged, and only by its own writer.
//
// There are two modes behind Claimer. In optimistic mode the machine controller does both: first hostRef (the intent), then
// compare-and-set on the host; a lost race is a normal outcome. In claim-leader mode an elected Arbiter, on any replica, writes the
// host's half for the machines in its queue, and the Confirmer, in the machine controller, answers with hostRef: two writes for
// each claim, and no conflicts but with outsiders. Each claim names the Lease under which it was made, in both modes: the claimer
// asks for it before it writes and claims nothing without it; of two claims for one machine the younger Lease's is confirmed.
//
// What crashes leave is repaired in both directions. A hostRef without its claim: the optimistic mode goes on with it, the Confirmer
// clears it; neither does if the machine was provisioned. A claim without its hostRef: the Confirmer confirms it if it gives the
// machine what it asks for, and else the host controller clears it after a grace time, as Judge says. A write whose answer was lost
// is found out on the same host under the same id.
//
// It guarantees: Claim can be repeated after any error and resumes to the same end; a machine with a provider id never gets
// another host; MarkRelease marks only claims that are the machine's own; a host that comes to fit wakes one of the machines that
// wait, and each other costs nothing until its turn. Judge is pure.
//
// Non-goals: it never talks to a BMC, sets no condition and clears no claim: the host controller does, on what Judge says.
//
// Locking: the optimistic mode has one mutex each for assumed hosts, for the room of waiting machines and for the pools of hosts;
// an arbiter one for its whole term, under which Wish reads caches. None is ever held during a request.
//
// The proof is model_test.go and the files beside it; testdata/mutants holds the guards that it was tried without.
package coordinator
