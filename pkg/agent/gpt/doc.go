// Package gpt reads the GUID partition table of an image (UEFI 2.10, 5.3) from its beginning, and fits it to the disk that the
// image is written to: the backup at the disk's end, the last partition grown if that is asked for, a partition of ours added.
//
// The table is a stranger's: all of it is checked before anything is done with it. What is changed is written by go-diskfs, but
// for the protective MBR, whose length wraps there above 2 TiB and whose boot code has to stay.
package gpt
