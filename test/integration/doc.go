// Package integration holds tests that join rooms of the product with the
// emulator or a real API server: what no room can show alone.
package integration
