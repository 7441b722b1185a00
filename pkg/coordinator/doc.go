// Package coordinator decides who owns a host.
//
// A claim has two halves: the machine's hostRef (the intent, written first) and the host's claim (written by compare-and-set).
// It is inert until both name each other, so neither a crash between the two writes, nor a stale cache, nor a deposed leader
// that writes late can give one machine two hosts or one host two machines.
//
// It guarantees: Claim can be repeated after any error and resumes to the same end; a lost race is a normal outcome; a machine
// with a provider id never gets another host; MarkRelease marks only claims that are the machine's own. Judge is pure.
//
// Non-goals: it never talks to a BMC, sets no condition and clears no claim: the host controller does, on what Judge says.
//
// Locking: the optimistic mode keeps one set of assumed hosts under one mutex that is never held during a request.
package coordinator
