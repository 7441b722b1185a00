// Package actuator is the only glue of decisions and hardware. It turns an action that provision.Decide gave into an
// operation at the BMC gate, and what a BMC says into an Observation.
//
// Every operation is check, act, read: it reads the BMC, decides again on those fresh facts, acts only if the answer is still
// the same, and reads back until the effect is seen or a deadline passes. A success code of a BMC proves nothing; a decision
// that waited in the queue is never carried out for its age alone. One operation makes at most one changing request; waiting
// for its effect parks it in the gate, where it is neither in flight nor on a worker.
//
// What it guarantees beyond that:
//
//   - An observation is of one server. What was begun at another address or system of the host is dropped, be it a reading, a
//     proof or a failure; a failure met with other credentials says nothing of the present ones.
//   - Nothing is changed, and no release proven, at a server that is not the recorded one, or does not say who it is although it
//     did: identity comes with the reading of power that each turn of an operation begins with.
//   - A request that a BMC took is waited for before the same is asked again, whoever asks, and while one may still take effect
//     no release is proven.
//   - A graceful shutdown ends in a forced one: at once if the BMC says no, else when the time for it is over, whatever became
//     of the request.
//   - A medium from which the server did not come up in time is taken out and put in again before the next boot.
//   - A release is proven by two readings of power in a row that agree, and everything else of the last one.
//   - What one slot refuses the next one gets, and a slot that cannot be emptied does not keep the others full.
//   - A BMC that wants rest after a change gets it: meanwhile nothing else is changed, and the effect not looked for by operations.
//     A refusal costs no rest.
//   - Power and override are read before every change. Slots, which cost a request each, are all read again when
//     the last such reading is older than three quarters of a minute, when power or override changed, and before a release is
//     proven. After a request that concerns one slot, that one is read.
//
// Its memory is of this process. Losing it in a restart is harmless: everything is read again, and a shutdown is given its time
// once more. Which slots refused is part of what is learned, which the caller keeps and gives back with the Target.
//
// It does not wait for BMCs, retry (the gate does), keep anything in the API, or decide anything. All methods are safe for
// concurrent use. Actuator.mu guards everything that is kept of hosts; it is never held while a BMC, the gate, a Brief or
// Changed is called.
package actuator
