// Package cli holds the subcommands of the one binary: config validate, show, report and migrate; hosts import and explain.
//
// It guarantees: output never holds passwords, tokens or bootstrap data; a command that fails says everything that is wrong at
// once and ends with 1; nothing is written with --dry-run; writes to objects that others write too are patches of the keys in
// question, made on the version that was read.
//
// Non-goals: it drives no hardware, claims nothing, and shares no memory with a running manager: what it knows of one comes
// from the API server and from metrics.
//
// Locking: none; a command is one goroutine.
package cli
