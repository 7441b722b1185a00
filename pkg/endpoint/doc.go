// Package endpoint reads the URLs that people write, in one way for the whole product, and says which addresses may be dialled
// for them.
//
// A PhysicalHost and a Beskar7Machine name addresses that this process then connects to. Whoever may write them may not be
// allowed to reach everything that this process reaches: the metadata service of its cloud, what listens on its own loopback,
// the API server. A Policy refuses those, at the moment of dialling and by the address that a name led to: redirects and names
// whose address changes between two look-ups come past it too.
package endpoint
