// Package kubeadmhost is what an emulated server does after it booted: it finds
// its configuration on the inserted media, plays the part of cloud-init and
// kubeadm, and becomes a node of an in-memory workload cluster.
//
// A World holds all workload clusters of one test. World.Guest gives the
// emulator.Guest to run on a server. The World knows nothing of a management
// cluster and nothing of the product: all it ever learns comes from the bytes of
// the media the server was given, read with an ISO 9660 reader that is not the
// product's. A cluster is identified by the control plane endpoint in the user
// data, and its certificate authorities are the ones in the user data.
//
// # Guarantees
//
//   - A boot is refused, with a reason in Failures and on the server's console,
//     when anything in what was delivered is wrong: the ISO 9660 structure, the
//     volume label, the meta-data, an unknown template variable, the YAML of the
//     user data and of kubeadm, certificates that do not pair, the bootstrap
//     token, the hash of the cluster CA. Nothing is guessed or repaired. The
//     server then stays powered on, without a node.
//   - A worker or a further control plane joins over real TLS through the endpoint
//     in its data: discovery, check of the CA hash, authentication with the
//     bootstrap token, which must be a Secret of the workload cluster.
//   - The API server of a workload cluster asks for a client certificate of the
//     cluster CA in system:masters, or a valid bootstrap token (which may read
//     what kubeadm join reads). Anonymous clients may read the health endpoints,
//     /version and the cluster-info ConfigMap.
//   - Each control plane has its own serving certificates, and its API server and
//     its etcd member have sockets of their own, the targets of a port-forward.
//     The endpoint spreads connections over the control planes that are on. It is
//     closed when none is on, and answers 503 while etcd has no quorum.
//   - A server that loses power or shuts down takes with it, at once, its sockets
//     and connections; its Node is Ready=Unknown. An installed system that starts
//     from its disk (same Node, same provider id) resumes.
//   - A live system has lost itself with its power, as all of it was in memory: its
//     etcd, its kubelet's identity, that it was a member. A cluster is gone with the
//     last control plane that could come back: kubeadm init then makes a new, empty
//     one at its endpoint. A worker joins anew, with its token; so does a control
//     plane, once its former etcd member was removed. Booting an installer again
//     loses the same.
//   - Close frees every port.
//
// # Boot media
//
// Any valid ISO 9660 image boots. An image with a file /boot-marker says more
// about the system it holds: lines of key=value, of which "mode=install" writes
// the configuration to the server's disk, so that a later start from "Hdd"
// resumes (otherwise the system is live and nothing is installed), and
// "kubernetes=v1.36.3" is the version of its kubelet. Names are read as plain ISO
// 9660 (shown in lower case, as Linux does) or Rock Ridge under its identifier
// RRIP_1991A; Joliet is not looked at.
//
// # Non-goals
//
// No shell: of runcmd only kubeadm and the redirection to CAPI's success file are
// played, other commands are noted on the console. No scheduler, no controllers,
// no server-side apply, no aggregated discovery, no etcd data. The signature of
// cluster-info with the bootstrap token is not made and not checked; the CA hash
// is. Authorization knows only the cases above. State is process memory.
//
// # Locking
//
// World.mu guards the table of clusters and the records; cluster.mu guards the
// hosts of one cluster. They are taken in this order, and neither is held during
// network traffic to a workload cluster. The objects of a cluster live in the
// in-memory API of Cluster API's test module, which has its own locks.
package kubeadmhost
