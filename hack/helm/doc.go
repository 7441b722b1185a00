// Command helm writes the Helm chart in config/helm from what kustomize builds of config/default, config/overlays and
// config/profiles. Nothing in the chart is written by hand, so there is one source of what an installation consists of.
//
// It guarantees: with its default values the chart renders what config/default builds, with values-<environment>.yaml what
// config/overlays/<environment> builds, and with a name in .Values.profiles also what config/profiles/<name> builds. The
// tests compare object by object; what a chart cannot say is in their list of exceptions, with the reason.
//
// It does not install, package or publish anything, and it does not judge the manifests. It has no goroutines and no locks.
package main
