// Package lab puts a whole Beskar7 site on one machine: a management cluster (test/controlplane), servers with Redfish BMCs
// (test/emulator) that boot into workload clusters (test/kubeadmhost), an image server, and our manager, run under its own
// ServiceAccount's rights from the release that a user would install. The demo and the e2e tests drive it.
package lab
