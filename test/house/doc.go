// Package house states the rules of the house and checks the repository against them: how long a function and a file may
// be, what a package may be called, which way imports point, and which calls are not made where.
//
// Check is a pure function of the files it is given, so that every rule is shown to fail on a planted violation.
//
// Guarantees: rules are in tables, each with its reason, and a violation prints it. There is one list of exceptions, which only
// shrinks: files that were too long or too wide when the limit came (testdata; "go test ./house -write" writes it anew).
//
// Not done here: types are not resolved, only syntax is read; golangci-lint does the rest. Generated files are exempt from
// the rules on size.
//
// Run with -count=1: the files read here lie outside this module, so the test cache does not see them change.
package house
