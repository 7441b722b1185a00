package hostselection

// FNV-1a, 64 bits: its constants are part of the order, so it is spelled out instead of taken from a library that may change.
const (
	hashOffset = 14695981039346656037
	hashPrime  = 1099511628211
)

// identity hashes namespace and machine.
func identity(namespace, machine string) uint64 {
	return mix(hash(hash(hashOffset, namespace), machine))
}

// rendezvous is the weight of a host, by the hash of its name, for an identity: the host with the highest weight is preferred.
// Each weight depends on that one host only, so adding or removing another changes no pair's order.
func rendezvous(seed, host uint64) uint64 { return mix(seed ^ host*hashPrime) }

// hash is FNV-1a; a NUL at the end, which no name may hold, keeps the parts of an identity apart.
func hash(sum uint64, s string) uint64 {
	for i := range len(s) {
		sum = (sum ^ uint64(s[i])) * hashPrime
	}
	return sum * hashPrime
}

// mix spreads the bits (the finalizer of splitmix64): names that differ in their last digit, like worker-1 and worker-2, must
// not lie close together in the high bits, or one host would be first for all of them.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
