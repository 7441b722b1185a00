// Package schema shows that whatever the API server accepts as one of our objects, a typed client can read.
//
// One object that a client cannot decode fails the whole list that it is in, and with it the cache of every process that
// lists the kind: one user's typing error would stop the manager for all. So each Go type of the API must take at least what
// the schema of its CRD lets through.
//
// Kind does with an object what the API server does, without one: nulls out, unknown fields out, defaults in, schema, CEL rules.
// Gaps walks a Go type beside its schema and tries, at every field, values that decoders refuse. Fuzz makes random objects that
// a schema accepts; the tests here decode them, those in test/integration send them through a real API server first.
package schema
