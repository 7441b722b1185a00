// Package settings follows the settings of the process while it runs: flags, environment, file and ConfigMaps go in, and the
// parts ask for what is in effect now.
//
// Guarantees: what is invalid never takes effect, and is told in an event and a metric while the last good settings stay. A change
// is taken over whole or not at all, and those who follow it are called one after another, in the order of the changes.
//
// What a setting is called, where it may stand and how far it may go is said in pkg/config, which knows no Kubernetes.
package settings
