// Package fetch downloads one file from servers that may die meanwhile: a download that breaks goes on where it was, at the same
// server or at another one, until nothing came for too long. It checks lengths; whether the bytes are the right ones is up to the
// reader, who knows their digest.
package fetch
