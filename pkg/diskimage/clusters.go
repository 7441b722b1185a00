package diskimage

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zstd"
)

// copier gives the clusters of a qcow2 image to a sink. Clusters that lie one behind the other in the file are read together.
type copier struct {
	q    *Qcow2
	sink Sink
	left int64 // of the disk

	l2      []byte
	l2At    uint64
	buffer  []byte
	from    int64 // what is to be read next, and how much
	pending int64

	packed   []byte
	unpacked []byte
	inflate  io.ReadCloser
	unzstd   *zstd.Decoder
}

func newCopier(q *Qcow2, sink Sink) *copier {
	return &copier{q: q, sink: sink, left: q.size, l2: make([]byte, q.cluster()), buffer: make([]byte, piece)}
}

func (c *copier) close() {
	if c.unzstd != nil {
		c.unzstd.Close()
	}
}

// table gives all clusters of the L2 table at a place; 0 is none.
func (c *copier) table(at uint64) error {
	if at == 0 {
		return c.zeroes(c.q.perTable() << c.q.bits)
	}
	if at != c.l2At {
		if at&(c.q.cluster()-1) != 0 {
			return damaged("a table is not at the beginning of a cluster")
		}
		if err := c.q.readAt(c.l2, int64(at)); err != nil {
			return err
		}
		c.l2At = at
	}
	for e := c.l2; len(e) > 0 && c.left > 0; e = e[c.q.entryBytes():] {
		if err := c.entry(e); err != nil {
			return err
		}
	}
	return nil
}

// entry gives the cluster of an entry of an L2 table.
func (c *copier) entry(e []byte) error {
	word := binary.BigEndian.Uint64(e)
	host, length := word&offsetMask, int64(c.q.cluster())
	switch {
	case word&compressed != 0:
		return c.unpack(word)
	case c.q.extended:
		return c.parts(host, binary.BigEndian.Uint64(e[8:]))
	case word&reads0 != 0 && c.q.version < 3:
		return damaged("a cluster has a mark that its version has not")
	case word&reads0 != 0 || host == 0:
		return c.zeroes(length)
	}
	return c.data(host, length)
}

// parts gives a cluster whose 32 parts are there, zero or missing each for itself.
func (c *copier) parts(host, bitmap uint64) error {
	length := int64(c.q.cluster()) / subs
	if host&(c.q.cluster()-1) != 0 {
		return damaged("a cluster lies across others")
	}
	for i := range subs {
		there, zero := bitmap>>i&1 != 0, bitmap>>(i+subs)&1 != 0
		var err error
		switch {
		case there && (zero || host == 0):
			return damaged("a part of a cluster is said to be there and is not")
		case there:
			err = c.data(host+uint64(int64(i)*length), length)
		default:
			err = c.zeroes(length)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// data gives bytes of the file.
func (c *copier) data(host uint64, length int64) error {
	if (host&(c.q.cluster()-1))%uint64(length) != 0 || host >= uint64(c.q.fileSize) {
		return damaged("a cluster lies outside of it: it is cut short")
	}
	length = min(length, c.left)
	c.left -= length
	if c.pending > 0 && c.from+c.pending == int64(host) && c.pending+length <= piece {
		c.pending += length
		return nil
	}
	if err := c.flush(); err != nil {
		return err
	}
	c.from, c.pending = int64(host), length
	return nil
}

// flush gives what was put together by data.
func (c *copier) flush() error {
	for c.pending > 0 {
		p := c.buffer[:min(c.pending, piece)]
		n, err := c.q.r.ReadAt(p, c.from)
		if n < len(p) && !errors.Is(err, io.EOF) {
			return fmt.Errorf("read image: %w", err)
		}
		clear(p[n:]) // QEMU does not fill the last cluster of a file
		c.from += int64(len(p))
		c.pending -= int64(len(p))
		if err := c.write(p); err != nil {
			return err
		}
	}
	return nil
}

func (c *copier) write(p []byte) error {
	_, err := c.sink.Write(p)
	return err
}

func (c *copier) zeroes(length int64) error {
	length = min(length, c.left)
	c.left -= length
	if err := c.flush(); err != nil || length == 0 {
		return err
	}
	return c.sink.Zeroes(length)
}

// unpack gives a compressed cluster.
func (c *copier) unpack(word uint64) error {
	if err := c.flush(); err != nil {
		return err
	}
	shift := 62 - (c.q.bits - 8)
	at := int64(word & (1<<shift - 1))
	sectors := int64(word &^ compressed &^ (1 << 63) >> shift)
	length := (sectors+1)*512 - at&511
	if at >= c.q.fileSize {
		return damaged("a cluster lies outside of it: it is cut short")
	}
	if c.packed == nil {
		// The widest a count of sectors can be: two clusters and some.
		c.packed, c.unpacked = make([]byte, 2*c.q.cluster()+512), make([]byte, c.q.cluster())
	}
	p := c.packed[:min(length, c.q.fileSize-at, int64(len(c.packed)))]
	if err := c.q.readAt(p, at); err != nil {
		return err
	}
	out := c.unpacked[:min(int64(c.q.cluster()), c.left)]
	c.left -= int64(len(out))
	if err := c.inflateTo(out, p); err != nil {
		return damaged("a cluster cannot be unpacked")
	}
	return c.write(out)
}

// inflateTo unpacks the beginning of p; behind it is what fills its last sector.
func (c *copier) inflateTo(out, p []byte) error {
	var err error
	r := bytes.NewReader(p)
	if !c.q.zstd {
		if c.inflate == nil {
			c.inflate = flate.NewReader(r)
		} else if err := c.inflate.(flate.Resetter).Reset(r, nil); err != nil {
			return err
		}
		_, err = io.ReadFull(c.inflate, out)
		return err
	}
	if c.unzstd == nil {
		c.unzstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(8<<20))
		if err != nil {
			return err
		}
	}
	if err := c.unzstd.Reset(bufio.NewReader(r)); err != nil {
		return err
	}
	_, err = io.ReadFull(c.unzstd, out)
	return err
}
