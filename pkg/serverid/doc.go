// Package serverid says what identifies a server, and whether two descriptions are of one: by system UUID in either order of
// bytes, else by serial number. It holds the one list of the place holders that boards ship with, which identify nothing.
//
// It is pure: no client, no clock, no logger.
package serverid
