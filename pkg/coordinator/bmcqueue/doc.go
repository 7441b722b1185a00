// Package bmcqueue is the one gate to all BMCs.
package bmcqueue
