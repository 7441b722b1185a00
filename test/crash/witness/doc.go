// Package witness judges what happened to servers and to what the API server stored, and shares no code with the product: it knows
// the stored objects as JSON, the changing requests that reached a BMC, and what was said aloud. Nothing that the product decided,
// only what it did.
//
// Histories are written in the order of Seq, across BMCs and API servers. A request is right if it was allowed by what was stored
// at any moment of its instant (of a clock that stands still while anybody works, as in testing/synctest): nobody can read and act
// at once, and nobody may act on what was read at another time.
package witness
