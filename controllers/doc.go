// Package controllers holds the reconcilers: thin, one group of files for each kind. Each fetches, gathers facts, lets a pure
// package decide, acts on the decision, and writes one status. None waits for hardware.
//
// One machine's way: beskar7machine_controller.go claims a host through pkg/coordinator; physicalhost_controller.go gathers
// facts, asks pkg/provision, and hands hardware actions to pkg/actuator, which wakes it when something has changed; the
// machine controller sees the host's conditions and reports provisioned. Deletion is the mirror image.
//
// Spec flows down and status flows up. Controllers never message each other through annotations.
package controllers
