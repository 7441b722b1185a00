// Package redfish drives one server's baseboard management controller (BMC)
// over Redfish: power, one-time boot override, virtual media, inventory.
//
// What it guarantees:
//
//   - Every method makes at most one changing request. Insert alone may repeat
//     its request with a larger body, and only after the BMC refused the smaller
//     one with an error that names what is missing.
//   - Only idempotent reads are retried. A changing request is never repeated
//     after a transport error, because it may have taken effect.
//   - No request leaves for a host other than the BMC's, whatever links or
//     redirects the BMC answers with, and no answer costs more memory than the
//     body cap.
//   - A login that was refused is not tried again until the Target changes: BMCs
//     lock accounts out.
//   - Errors carry a [Kind], are short, say what a person should check, and never
//     hold a body, a password or a token.
//   - All calls end when their context ends.
//
// What it does not do: it does not read back what it changed (a success code is
// advisory; the caller reads State or Slots and decides), it does not wait for
// effects, it does not serialise operations (bmcqueue does), and it knows nothing
// of Kubernetes.
//
// Vendor behaviour is data: the table in vendors.go. A row picks from closed sets
// of forms; a new form is code, a new vendor is a row.
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
// and forms. No lock is held across I/O: a login runs under a one-slot semaphore
// that a caller can leave when its context ends, so that concurrent callers share
// one login.
package redfish
