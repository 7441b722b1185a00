// Package v1beta1 holds the kinds of API group infrastructure.cluster.x-k8s.io, version v1beta1: Beskar7Cluster,
// Beskar7Machine, their templates, and PhysicalHost. It serves Cluster API's v1beta2 provider contract.
//
// Spec flows down and status flows up: every field names its one writer. What must survive `clusterctl move`, which drops
// status, lives in spec; everything in status can be derived again from spec, the BMC and the cluster. Rules that must hold
// for any client are CEL rules in the schema. The package has no behaviour beyond getters and imports nothing of ours.
//
// +kubebuilder:object:generate=true
// +groupName=infrastructure.cluster.x-k8s.io
package v1beta1
