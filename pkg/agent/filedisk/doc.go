// Package filedisk is a working model of a disk in a file, with the commands by which disks erase themselves: for tests, and for
// emulated servers that run the real agent.
package filedisk
