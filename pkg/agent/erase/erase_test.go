package erase_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/beskar7/beskar7/pkg/agent/block"
	"github.com/beskar7/beskar7/pkg/agent/erase"
	"github.com/beskar7/beskar7/pkg/agent/filedisk"
	"github.com/beskar7/beskar7/pkg/agent/imagetest"
	"github.com/beskar7/beskar7/pkg/agent/protocol"
	"github.com/beskar7/beskar7/pkg/agent/selection"
)

const mib = 1 << 20

// tenant is what a tenant left, at places that are not looked at by chance.
var tenant = []byte("the tenant's secret")

// used is a disk with a system and a tenant's data on it.
func used(t *testing.T, blockSize int) *filedisk.Disk {
	t.Helper()
	d, err := filedisk.Create(t.TempDir(), "disk", 96*mib, blockSize)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	write(t, d, imagetest.Typical(16*mib, blockSize).Bytes(), 0)
	for off := int64(20 * mib); off < d.Size(); off += 7*mib + 4096 {
		write(t, d, tenant, off)
	}
	return d
}

func write(t *testing.T, d block.Device, p []byte, off int64) {
	t.Helper()
	if _, err := d.WriteAt(p, off); err != nil {
		t.Fatal(err)
	}
}

func contents(t *testing.T, d block.Device) []byte {
	t.Helper()
	p := make([]byte, d.Size())
	if _, err := d.ReadAt(p, 0); err != nil {
		t.Fatal(err)
	}
	return p
}

func target(neighbours ...string) selection.Target {
	return selection.Target{Disk: protocol.Disk{Name: "nvme0n1", Serial: "S1", Size: 96 * mib, BlockSize: 512}, Neighbours: neighbours}
}

func options(m protocol.Method) erase.Options {
	return erase.Options{Method: m, Poll: time.Millisecond}
}

func TestDiscard(t *testing.T) {
	for kind, how := range map[filedisk.Discards]string{
		filedisk.DiscardZeroes: "discard", filedisk.DiscardKeeps: "overwritten", filedisk.DiscardUnsupported: "overwritten",
	} {
		for _, blockSize := range []int{512, 4096} {
			d := used(t, blockSize)
			d.Discards = kind
			evidence, err := erase.Erase(t.Context(), d, target(), options(protocol.MethodDiscard))
			if err != nil {
				t.Fatalf("%v: %v", kind, err)
			}
			if !block.Zeroes(contents(t, d)) {
				t.Errorf("%v: not all reads as zero", kind)
			}
			if !strings.HasPrefix(evidence.How, how) || evidence.Bytes != d.Size() || evidence.Samples < 100 ||
				evidence.Disk.Serial != "S1" ||
				evidence.Method != protocol.MethodDiscard {
				t.Errorf("%v: the evidence is %+v", kind, evidence)
			}
		}
	}
}

func TestDisksThatAreNotErasedAreAFailure(t *testing.T) {
	stuck := [2]int64{0, 96 * mib}
	for name, c := range map[string]struct {
		method protocol.Method
		change func(*filedisk.Disk)
		others []string
		says   string
	}{
		"discard fails": {protocol.MethodDiscard, func(d *filedisk.Disk) { d.Discards = filedisk.DiscardFails }, nil,
			"discard fails"},
		"nothing is overwritten": {protocol.MethodDiscard, func(d *filedisk.Disk) { d.Stuck = stuck }, nil, "replace it"},
		"a part is not overwritten": {protocol.MethodDiscard, func(d *filedisk.Disk) { d.Stuck = [2]int64{40 * mib, 44 * mib} }, nil,
			"read as something else"},
		"labels stay": {protocol.MethodMetadata, func(d *filedisk.Disk) { d.Stuck = [2]int64{0, 4096} }, nil,
			"does not stay"},
		"secure, and no NVMe":    {protocol.MethodSecure, func(*filedisk.Disk) {}, nil, "no command for a secure erasure"},
		"secure, and no command": {protocol.MethodSecure, nvme(erase.Abilities{}), nil, "neither Sanitize nor Format"},
		"sanitize is refused":    {protocol.MethodSecure, refuses(nvme(erase.Abilities{BlockErase: true})), nil, "was refused"},
		"format is refused":      {protocol.MethodSecure, refuses(nvme(erase.Abilities{Format: true})), nil, "failed"},
		"sanitize fails": {protocol.MethodSecure, fails(nvme(erase.Abilities{BlockErase: true})), nil,
			"failed (SSTAT 0x0003)"},
		"sanitize does nothing": {protocol.MethodSecure, lies(nvme(erase.Abilities{CryptoErase: true})), nil,
			"gives back what was written"},
		"format does nothing": {protocol.MethodSecure, lies(nvme(erase.Abilities{Format: true})), nil,
			"gives back what was written"},
		"sanitize would take another": {protocol.MethodSecure, nvme(erase.Abilities{BlockErase: true}), []string{"nvme0n2"},
			"together with nvme0n2"},
		"format would take another": {protocol.MethodSecure, nvme(erase.Abilities{Format: true, FormatsAll: true}), []string{"nvme0n2"},
			"erase nvme0n2 too"},
		"a method that nobody knows": {"Shred", func(*filedisk.Disk) {}, nil, "is not known"},
	} {
		d := used(t, 512)
		c.change(d)
		evidence, err := erase.Erase(t.Context(), d, target(c.others...), options(c.method))
		failed, ok := errors.AsType[*protocol.Failure](err)
		if !ok || evidence != nil || failed.Reason != protocol.ReasonErase || !strings.Contains(failed.Message, c.says) ||
			!strings.Contains(failed.Message, "serial S1") {
			t.Errorf("%s: %+v, %v", name, evidence, err)
		}
		if c.method == protocol.MethodSecure && d.Controller == nil && !bytes.Contains(contents(t, d), tenant) {
			t.Errorf("%s: something weaker was done in its place", name)
		}
	}
}

func nvme(can erase.Abilities) func(*filedisk.Disk) {
	return func(d *filedisk.Disk) {
		d.Controller = &filedisk.Controller{Can: can, Namespaces: []*filedisk.Disk{d}, Polls: 3}
	}
}

func refuses(first func(*filedisk.Disk)) func(*filedisk.Disk) {
	return func(d *filedisk.Disk) { first(d); d.Controller.Refuses = true }
}

func fails(first func(*filedisk.Disk)) func(*filedisk.Disk) {
	return func(d *filedisk.Disk) { first(d); d.Controller.Fails = true }
}

func lies(first func(*filedisk.Disk)) func(*filedisk.Disk) {
	return func(d *filedisk.Disk) { first(d); d.Stuck = [2]int64{0, d.Size()} }
}

func TestSecure(t *testing.T) {
	for name, c := range map[string]struct {
		can     erase.Abilities
		others  []string
		command string
		how     string
	}{
		"crypto erase goes first": {erase.Abilities{CryptoErase: true, BlockErase: true, Overwrite: true, Format: true}, nil,
			"crypto erase", "Sanitize, crypto"},
		"block erase": {erase.Abilities{BlockErase: true, Overwrite: true, Format: true}, nil, "block erase",
			"Sanitize, block"},
		"overwrite":                      {erase.Abilities{Overwrite: true}, nil, "overwrite", "Sanitize, overwrite"},
		"format with keys":               {erase.Abilities{Format: true, FormatCrypto: true}, nil, "format 2", "Format NVM, cryptographic"},
		"format":                         {erase.Abilities{Format: true}, nil, "format 1", "Format NVM, user data"},
		"a neighbour stays: only format": {erase.Abilities{CryptoErase: true, Format: true}, []string{"nvme0n2"}, "format 1", "Format NVM"},
	} {
		d, neighbour := used(t, 4096), used(t, 4096)
		before := contents(t, neighbour)
		d.Controller = &filedisk.Controller{Can: c.can, Namespaces: []*filedisk.Disk{d}, Polls: 3}
		if c.others != nil {
			d.Controller.Namespaces = append(d.Controller.Namespaces, neighbour)
		}
		evidence, err := erase.Erase(t.Context(), d, target(c.others...), options(protocol.MethodSecure))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := strings.Join(d.Controller.Commands(), ", "); got != c.command || !strings.Contains(evidence.How, c.how) ||
			evidence.Samples == 0 {
			t.Errorf("%s: %s; the evidence is %+v", name, got, evidence)
		}
		if sanitized := strings.Contains(c.how, "Sanitize"); sanitized != strings.Contains(evidence.Log, "0x0101") {
			t.Errorf("%s: the log is %q", name, evidence.Log)
		}
		if bytes.Contains(contents(t, d), tenant) {
			t.Errorf("%s: the tenant's data are there", name)
		}
		if !bytes.Equal(contents(t, neighbour), before) {
			t.Errorf("%s: the neighbour's data are gone", name)
		}
	}
}

func TestASanitizeThatThePowerEnded(t *testing.T) {
	d := used(t, 512)
	nvme(erase.Abilities{BlockErase: true})(d)
	d.Controller.Begin()
	evidence, err := erase.Erase(t.Context(), d, target(), options(protocol.MethodSecure))
	if err != nil || evidence.Log == "" {
		t.Errorf("%+v, %v", evidence, err)
	}
}

func TestMetadata(t *testing.T) {
	d := used(t, 512)
	label := []byte("config-2 of a former tenant")
	places := []int64{0, mib, mib + 64<<10, 2 * mib, 15*mib - 4096, 64*mib + 64<<10, 96*mib - 4096}
	for _, at := range places[1:] {
		write(t, d, label, at)
	}
	evidence, err := erase.Erase(t.Context(), d, target(), options(protocol.MethodMetadata))
	if err != nil {
		t.Fatal(err)
	}
	all := contents(t, d)
	if bytes.Contains(all, label) || !block.Zeroes(all[:mib]) || !block.Zeroes(all[95*mib:]) || !bytes.Contains(all, tenant) {
		t.Errorf("labels are left, or more than labels is gone: %+v", evidence)
	}
	if evidence.Bytes < 6*mib || evidence.Bytes > 12*mib || evidence.Samples == 0 {
		t.Errorf("the evidence is %+v", evidence)
	}
}

func TestMetadataOfOldTables(t *testing.T) {
	d := used(t, 512)
	record := func(at int64, entries ...[3]uint32) {
		p := make([]byte, 512)
		for i, e := range entries {
			p[446+16*i+4] = byte(e[0])
			binary.LittleEndian.PutUint32(p[446+16*i+8:], e[1])
			binary.LittleEndian.PutUint32(p[446+16*i+12:], e[2])
		}
		p[510], p[511] = 0x55, 0xAA
		write(t, d, p, at)
	}
	const blocks = 2 * mib / 512
	// A primary partition, and an extended one with two logical ones, the second of which leads back.
	record(0, [3]uint32{0x83, 1 * blocks, blocks}, [3]uint32{0x05, 4 * blocks, 30 * blocks})
	record(8*mib, [3]uint32{0x83, 2048, blocks}, [3]uint32{0x05, 4 * blocks, 4 * blocks})
	record(16*mib, [3]uint32{0x83, 2048, blocks}, [3]uint32{0x05, 0, blocks})
	label := []byte("a label")
	for _, at := range []int64{2 * mib, 9 * mib, 17 * mib} {
		write(t, d, label, at)
	}
	if _, err := erase.Erase(t.Context(), d, target(), options(protocol.MethodMetadata)); err != nil {
		t.Fatal(err)
	}
	if at := bytes.Index(contents(t, d), label); at >= 0 {
		t.Errorf("a label is left at %d", at)
	}
}

// cut is a disk whose power fails with an operation.
type cut struct {
	*filedisk.Disk
	left int
}

func (c *cut) Zero(off, length int64) error {
	if c.left--; c.left < 0 {
		return errors.New("power failed")
	}
	return c.Disk.Zero(off, length)
}

// After a power failure at any place, the next run finds what the first one left.
func TestMetadataAfterAPowerFailure(t *testing.T) {
	label := []byte("a label")
	for left := range 12 {
		d := used(t, 512)
		for _, at := range []int64{mib, 2 * mib, 15*mib - 4096} {
			write(t, d, label, at)
		}
		_, _ = erase.Erase(t.Context(), &cut{d, left}, target(), options(protocol.MethodMetadata))
		if _, err := erase.Erase(t.Context(), d, target(), options(protocol.MethodMetadata)); err != nil {
			t.Fatal(err)
		}
		if at := bytes.Index(contents(t, d), label); at >= 0 {
			t.Errorf("cut after %d: a label is left at %d", left, at)
		}
	}
}

func TestAnAbort(t *testing.T) {
	cause := errors.New("told to stop")
	for _, method := range []protocol.Method{protocol.MethodDiscard, protocol.MethodSecure} {
		ctx, cancel := context.WithCancelCause(t.Context())
		d := used(t, 512)
		nvme(erase.Abilities{BlockErase: true})(d)
		d.Controller.Polls = 1 << 30
		o := options(method)
		o.Progress = func(done, total int64) {
			if done > 0 || method == protocol.MethodSecure {
				cancel(cause)
			}
		}
		if evidence, err := erase.Erase(ctx, d, target(), o); !errors.Is(err, cause) || evidence != nil {
			t.Errorf("%s: %+v, %v", method, evidence, err)
		}
	}
}
