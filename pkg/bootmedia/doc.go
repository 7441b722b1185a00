// Package bootmedia brings an image and its bootstrap data to one server,
// through URLs that only the BMC of that server was given.
//
// It serves two media per claim over HTTP: boot.iso, the user's image byte for
// byte, and config.iso, a small drive with the bootstrap data in the form the
// image's operating system looks for. It also takes the report a machine sends
// when its bootstrap has ended.
//
// Guarantees:
//   - A medium is a pure function of its Content: any replica serves the same
//     bytes, so a BMC may read a medium through several of them.
//   - User data reaches the machine byte-identical to what was given. Where the
//     network of a host has to go the same way, it goes around, before or behind
//     the user's bytes and does not change what they say.
//   - An image with a checksum is verified before a byte of it is served; one
//     without is served only as long as it is the one that was pinned.
//   - A token is stored nowhere, is in no log line, error or metric; whoever
//     knows the recorded hash, or the phone-home URL, cannot derive the URL of
//     the media from it.
//   - A replica that lacks an image with a checksum has another one answer that
//     has it, or lets the BMC wait; it never serves what it did not verify.
//   - A token that is unknown, revoked or expired gets 404, and such misses are
//     rate limited. A few of the unknown wait a moment for a replica that is
//     behind. A stream that is open when its token ends is cut within a second
//     of reading.
//   - Memory is bounded per stream; disk is bounded by Options.CacheBytes.
//
// Not done here: deciding when a medium is inserted or a token revoked, TLS and
// listeners, and storing anything in Kubernetes. The package knows no
// Kubernetes; controllers implement Source and Recorder.
//
// Between replicas: Options.Peers names the others. A request is passed on at
// most once, and with it the token, so PeerClient must know whom it talks to.
//
// Locking: a stream has a mutex of its own, held while it reads upstream and
// shared with nothing; the image cache has one mutex for its index, never held
// during I/O on the network; every download runs in one goroutine that
// Server.Close ends, under a file lock that keeps other processes with the same
// folder off. The functions that build media hold no state.
package bootmedia
