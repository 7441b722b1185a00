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
// Locking: Pool and the BMCs it returns are safe for concurrent use. Pool.mu
// guards only the map of clients and is never held across I/O. A client's own
// mutex guards its session and its discovered paths; the login itself runs under
// a one-slot semaphore that can be left when the context ends, so that concurrent
// callers share one login.
package redfish
