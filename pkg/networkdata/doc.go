// Package networkdata writes the network data of a host (spec.networkData) in the format that each family of operating systems
// reads: netplan, keyfiles of NetworkManager, files of systemd-networkd, OpenStack's network_data.json.
//
// Guarantees: it is pure, so the same host and family give the same bytes on every replica. What no system would come up with is
// refused in words before a server is touched, and so is a family that reads no network data from our media.
package networkdata
