// Package scope says which objects are those of this manager. Reconcilers, the media service and the claims ask the same question
// here.
//
// Guarantees: it is pure.
package scope
