// Package daemon is what the process is and tells of itself, whatever it does: which installation it belongs to, how long it waits
// for API servers, and what it is at when somebody asks it by a signal.
//
// Not done here: what is told of hosts and claims is told by those who see to them.
package daemon
