// Package configdrive writes a partition from which a system reads its configuration at its first boot: a FAT file system with a
// label that the system looks for, such as cidata (cloud-init's NoCloud) or config-2 (OpenStack's, which Ignition reads too).
package configdrive
