// Package lease holds the two Leases of Beskar7: that of the driver, the one process that talks to BMCs, and that of the arbiter,
// the one process that claims hosts in claim-leader mode (D5, D6).
//
// Guarantees: a Lock says that it is ours only for a time that ends before the Lease does for others, counted from before the
// request that renewed it. It is let go only when nothing of this process can be on its way any more, so whoever takes a Lease that
// was let go may begin at once; any other end is found by its expiry.
package lease
