// Package media is the media service: the door where BMCs read images and booted systems report, and what stands behind it on
// every replica. A Source says what a token stands for, Peers are the other replicas, Warmth keeps the images in use, a
// Certificate is what the door shows, a Record is what a medium was made of when it was granted.
//
// Guarantees: bootstrap data are served only for a claim that host and machine confirm, to a server that is not bound (I12); what
// a medium was made of is recorded, so every replica serves the same bytes. Nothing here changes what a host is to be: who brings
// hosts from what they are to what spec says is in package controllers, and so is who grants and ends media.
package media
