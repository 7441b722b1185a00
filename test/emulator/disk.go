package emulator

import (
	"maps"
	"slices"
	"sync"
)

// Disk is the persistent storage of one server: named blobs that survive power
// cycles. The zero value is an empty disk. Safe for concurrent use; values are
// copied in and out.
type Disk struct {
	mu    sync.Mutex
	blobs map[string][]byte
}

// Get returns a copy of the blob and whether there is one.
func (d *Disk) Get(key string) ([]byte, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	v, ok := d.blobs[key]
	return slices.Clone(v), ok
}

// Put stores a copy of value under key.
func (d *Disk) Put(key string, value []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.blobs == nil {
		d.blobs = map[string][]byte{}
	}
	d.blobs[key] = slices.Clone(value)
}

// Delete removes the blob if there is one.
func (d *Disk) Delete(key string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.blobs, key)
}

// Keys returns the names of all blobs, sorted.
func (d *Disk) Keys() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Sorted(maps.Keys(d.blobs))
}

// Wipe removes every blob, as a disk replaced by an empty one.
func (d *Disk) Wipe() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.blobs = nil
}
