package bootmedia

import (
	"context"
	"errors"
	"os"
)

// make has the kind make of a verified download what is kept; the caller gives that its name.
func (d *download) make(ctx context.Context) (keep *os.File, err error) {
	// What takes long and ends early is not to cost another download.
	if err := d.writeNote(true); err != nil {
		return nil, err
	}
	v := &Verified{File: d.part, Size: d.have, Checksum: d.sum.String(), Path: d.cache.path(d.entry.sum, d.cache.kind.Suffix), d: d}
	d.known, err = d.cache.kind.Finish(ctx, v)
	keep = d.part
	if v.made != nil {
		keep = v.made
	}
	info, statErr := keep.Stat()
	if err = errors.Join(err, statErr); err == nil {
		d.have = info.Size()
		return keep, nil
	}
	if v.made != nil {
		_ = v.made.Close()
		_ = os.Remove(v.made.Name())
	}
	if _, refused := errors.AsType[*RefusedError](err); refused {
		d.final = true
		return nil, d.refuse(err)
	}
	return nil, err
}
