// Package provision decides what to do next with a host. It is pure: no client, no clock, no logger, no context.
//
// Decide takes everything that is true of a host right now (Facts) and gives one Decision: a label for people, and at most
// one Action. It has no memory. Position in the life of a host is read from the BMC, ownership from spec; so a crash, a lost
// reply or a lost status changes nothing but the time it takes. Actions are ordered so that a crash between any two of them
// leaves nothing that boots by accident: a medium goes in only while the server is off, the override is set only while our
// medium is in, power comes last; on release power goes first and the claim last.
//
// Actions are of two kinds. API actions are written by the host controller at once. Hardware actions go through the BMC gate
// and are decided again there, on a fresh read, right before they are done.
package provision
