// Package controlplane runs a whole Cluster API management cluster on one machine, without
// containers: etcd, kube-apiserver, kube-controller-manager, the unmodified Cluster API managers and
// clusterctl, all built from their Go modules, plus the provider under test.
//
// Guarantees. What clusterctl installs is the YAML as shipped: nothing is edited before it reaches the
// API server. Every manager runs with the rights of its own ServiceAccount and with the arguments and
// environment of its own Deployment, so that a missing RBAC rule, a wrong flag or an unresolved
// variable fails here as it would in a real cluster. Everything listens on, and talks to, loopback
// (Cluster API's webhook servers have no flag for a host and listen on every interface); ports are
// free ones, claimed across processes. Several control planes may live in one process. Stop ends every
// process by its id; unless Options.Detach is set, the children also die with their parent.
//
// Stand-ins. What a cluster has and this one lacks is played by small loops of this package, each with
// its own comment: the part of cert-manager that Cluster API needs and the Service routing of webhooks
// (router), what a Service does (Balance), and a kubelet that runs a Pod's container as a process
// (Provider) and serves its port-forward and logs (kubelet).
//
// Non-goals: scheduling, containers, pod networks, Services that nobody asked Balance for, image pulls,
// volumes, leader election of the Cluster API managers (they look for a file that only exists inside
// a pod), and any durability beyond the life of the folder.
//
// Locking. A ControlPlane and a Provider each have one mutex that guards their fields; neither calls
// out of the package while it is held, but for starting or ending a process. A ControlPlane's lock is
// never taken while a Provider's is held. Where Pods run has a lock of its own, placeMu, under which no other is taken.
package controlplane
