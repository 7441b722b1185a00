// Package replay serves what real BMCs answered, and holds what the driver makes of it against what a person reads there.
//
// A capture is a JSON object of paths and documents. testdata holds ten of real BMCs and one of sushy-tools, reduced by
// replay/reduce to the paths and properties that a driver of power, boot, media and inventory can use. The tables in
// expected*.go were written by reading the whole documents, never by running the driver: where the two disagree, one is
// wrong and somebody finds out which.
//
// With BESKAR7_CAPTURES=DIR the whole captures in that directory are used where it has one of that name, and what else is
// in there, such as the file of `manager hosts capture`, is served and must be understood without an error.
//
// A capture shows a BMC at rest: that an action works cannot be told from it. What is sent is refused and reported, so that
// its form and its place can be judged.
package replay
