// Package actuator is the only glue of decisions and hardware. It turns an action that provision.Decide gave into an
// operation at the BMC gate, and what a BMC says into an Observation.
//
// Every operation is check, act, read: it reads the BMC, decides again on those fresh facts, acts only if the answer is still
// the same, and reads back until the effect is seen or a deadline passes. A success code of a BMC proves nothing; a decision
// that waited in the queue is never carried out for its age alone. One operation makes at most one changing request; waiting
// for its effect parks it in the gate, where it is neither in flight nor on a worker.
//
// Observations live in memory only. Losing them in a restart is harmless: everything is read again. All methods are safe for
// concurrent use; none waits for a BMC.
package actuator
