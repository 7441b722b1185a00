// Package authority is a small certificate authority. All replicas share its key pair; each makes a serving certificate of its
// own from it, for all names that are needed now, and makes it anew before it ends. Clients trust the authority, so that a serving
// certificate that changed is nothing to them.
//
// Keys are RSA, because older BMC firmware offers no elliptic curve suites.
package authority
