package erase

import (
	"encoding/binary"

	"github.com/beskar7/beskar7/pkg/agent/block"
	"github.com/beskar7/beskar7/pkg/agent/gpt"
)

// partitions are the ranges that a disk's tables give to partitions, as far as they can be read: what is wrong in them is passed
// over, since the tables are about to go. Partitions of the next system often begin where those of the last one did, and would show
// its file systems again.
func partitions(d block.Device) []place {
	head := make([]byte, min(block.HeadSize, d.Size()))
	if _, err := d.ReadAt(head, 0); err != nil || len(head) < 512 {
		return nil
	}
	var out []place
	if table, err := gpt.Read(head); err == nil {
		for _, p := range table.Partitions {
			out = append(out, place{p.Start, p.Size})
		}
	}
	return append(out, primaries(d, head[:512])...)
}

// maxLogical bounds a chain of logical partitions, which may lead back to itself.
const maxLogical = 64

// primaries are the partitions of a master boot record.
func primaries(d block.Device, record []byte) []place {
	var out []place
	for _, e := range entriesOf(record) {
		off, length := e.first*int64(d.BlockSize()), e.blocks*int64(d.BlockSize())
		switch e.kind {
		case 0, 0xEE:
			continue
		case 0x05, 0x0F, 0x85:
			out = append(out, logicals(d, e.first)...)
			continue
		}
		out = append(out, place{off, length})
	}
	return out
}

// logicals are the partitions within an extended one: a chain of records, each with a partition and the way to the next.
func logicals(d block.Device, extended int64) []place {
	var out []place
	size, at := int64(d.BlockSize()), extended
	for range maxLogical {
		record := make([]byte, 512)
		if _, err := d.ReadAt(record, at*size); err != nil {
			break
		}
		list := entriesOf(record)
		if len(list) == 0 || list[0].kind == 0 {
			break
		}
		out = append(out, place{(at + list[0].first) * size, list[0].blocks * size})
		if list[1].kind == 0 {
			break
		}
		at = extended + list[1].first
	}
	return out
}

type entry struct {
	kind          byte
	first, blocks int64
}

func entriesOf(record []byte) []entry {
	if record[510] != 0x55 || record[511] != 0xAA {
		return nil
	}
	var out []entry
	for at := 446; at < 510; at += 16 {
		out = append(out, entry{record[at+4], int64(binary.LittleEndian.Uint32(record[at+8:])),
			int64(binary.LittleEndian.Uint32(record[at+12:]))})
	}
	return out
}
