// Package diskimage keeps disk images ready to be written to disks. An image is downloaded, checked against the checksum that its
// publisher named, looked at, converted once where a server cannot unpack it itself (qcow2 becomes a raw disk packed with zstd), and
// then served with ranges. What a file is, is told by its bytes and never by its name.
package diskimage
