// Package image writes a disk image that comes as a stream: unpacked, checked against its digest, and read back. The beginning of
// the disk is held back until all of it is right, so that whatever goes wrong, at whatever moment, leaves a disk that does not boot.
package image
