// Package block is a disk as the agent works on it, whatever is behind it: a device of Linux, or a file that plays one.
package block
