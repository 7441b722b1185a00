// Package redfish drives one server's baseboard management controller (BMC)
// over Redfish: power, one-time boot override, virtual media, inventory.
//
// What it guarantees:
//
//   - Every method makes at most one changing request that takes effect. It is
//     sent again in another form (a larger or smaller body, another word, another
//     resource, another If-Match) only after the BMC refused it with an answer that
//     says that nothing was done and what was wrong with it. One form needs two
//     steps: an IsoConfig is written, which does nothing, and then mounted.
//   - Only idempotent reads are retried. A changing request is never repeated
//     after a transport error, because it may have taken effect.
//   - Where media are switched, what the override may be, and which mode is taken are
//     read from the resource's latest answer; the vendor table only says what to try
//     first.
//   - One BMC gets one request at a time: a session that is not needed any more is
//     ended by the next call, or after the last one.
//   - No request leaves for a host other than the BMC's, whatever links or
//     redirects the BMC answers with, and no answer costs more memory than the
//     body cap.
//   - A form that was refused, or was taken and did nothing, is not what the next
//     call begins with; what worked is told by Learned, and a client that is given
//     it starts with it.
//   - A process that was killed leaves no session behind for longer than the next
//     one needs to log in, where the BMC lets our sessions be told from others
//     (session.go). No other session is ever ended.
//   - A login that was refused is not tried again until the Target changes: BMCs
//     lock accounts out.
//   - Errors carry a [Kind], are short, say what a person should check, and never
//     hold a body, a password or a token.
//   - All calls end when their context ends.
//
// What it does not do: it does not read back what it changed (a success code is
// advisory; the caller reads State or Slots and decides), it does not wait for
// effects nor for settle times (TuningOf names them; the actuator has the gate
// park the BMC for them), it does not serialise operations (bmcqueue does), and it
// knows nothing of Kubernetes.
//
// Vendor behaviour is data: the table in vendors_table.go. A row picks from closed
// sets of forms (vendors.go); a new form is a constant and a function in the file
// of its subject, a new vendor is a row. Which row it is, is read from what the BMC
// says of itself (vendors_detect.go), unless the Target names one. Rows come from
// other projects' sources and issues and were not tried on hardware: they are what
// is tried first, never what is insisted on.
//
// gofish supplies the schema: the words of Redfish's enumerations and the typed
// parts of the inventory. Its client is not used: it fetches and decodes the
// service root before anything else (one wrong type there and the BMC is lost),
// builds URLs by concatenation, takes a session without a token, drops the
// headers of error answers, and keeps one context for all calls.
//
// Locking: Pool and the BMCs it returns are safe for concurrent use. Pool.mu
// guards the maps of clients and connections; under it only conn.mu is taken.
// conn.mu guards session and service root, client.mu what was learned of paths
// and forms, and the inventory under way. No lock is held across I/O: a login, and
// the search for sessions of earlier processes after it, run under a one-slot
// semaphore that a caller can leave when its context ends, so that concurrent
// callers share one login.
package redfish
