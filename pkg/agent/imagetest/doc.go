// Package imagetest makes small disk images for tests: with a GUID partition table that is written here byte by byte, so that
// the code under test is not judged by itself.
package imagetest
