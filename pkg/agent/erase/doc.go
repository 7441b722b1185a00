// Package erase takes from a disk what is on it, by the method that its owner chose, and says how it did it and what was read
// back. It never does less than was asked for: a disk that cannot be erased that way is a failure, and stays as it is known to be.
package erase
