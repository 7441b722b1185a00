// Package templates checks the shipped clusterctl templates and the ClusterClass without a cluster.
//
// Each flavour is expanded with clusterctl's own processor, with the fewest variables that a user must set and with all of
// them, decoded strictly into the Go types of its kinds, and validated against the schemas of their CRDs. The ClusterClass
// and the topology flavour go through the admission code of Cluster API.
//
// Not done here: applying the patches of the ClusterClass, and that a cluster comes out of a template. The end-to-end
// tests do that.
//
// Run with -count=1: the files read here lie outside this module, so the test cache does not see them change.
package templates
