// Package crash cuts the life of a machine at every request: real reconcilers, claims, gate and actuator live against an API server
// and BMCs in memory, under a clock of their own, from a registered host to one that is back in the pool. In one life one thing
// goes wrong, at one request: it fails or its answer is lost, the process ends, another client was faster, a person deletes, pauses,
// moves or quarantines something, mains fail, another server answers for a while. Whoever knows the address of a medium reads it all the
// while, and what bootstrap data are served is noted. Every life must come to the end that such a life has, and the package witness, which
// shares no code with the product, judges everything that was stored, served, and asked of the BMCs on the way.
//
//	go test ./crash                                  a sample: the same lives every time, about three minutes of one processor
//	go test ./crash -timeout 60m -args -lives=long   every cut of the usual lives, and a larger sample ("make crash")
//	go test ./crash -timeout 9h -args -lives=all     every cut of every life
//	go test ./crash -args -seed=3 -lives=4000        another sample
//	go test ./crash -args -only='optimistic/Live/.*crash after at 57$' -v    one life again, with its history
package crash
