package hostselection

// FNV-1a, 64 bits: its constants are part of the order, so it is spelled out instead of taken from a library that may change.
const (
	fnvOffset = 14695981039346656037
	fnvPrime  = 1099511628211
)

// identity hashes namespace and machine; a NUL, which no name may hold, keeps the parts apart.
func identity(namespace, machine string) uint64 {
	return fnv(fnv(fnvOffset, namespace), machine)
}

// rendezvous is the weight of a host for an identity: the host with the highest weight is preferred. Each weight depends on
// that one host only, so adding or removing another changes no pair's order.
func rendezvous(seed uint64, host string) uint64 { return mix(fnv(seed, host)) }

func fnv(hash uint64, s string) uint64 {
	for i := range len(s) {
		hash = (hash ^ uint64(s[i])) * fnvPrime
	}
	return hash * fnvPrime // the NUL
}

// mix spreads the bits (the finalizer of splitmix64): FNV leaves names that differ in their last digit, like worker-1 and
// worker-2, close together in the high bits, and then one host would be first for all of them.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
