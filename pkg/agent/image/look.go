package image

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/beskar7/beskar7/pkg/agent/block"
	"github.com/beskar7/beskar7/pkg/agent/gpt"
	"github.com/beskar7/beskar7/pkg/agent/protocol"
)

// Target is the disk an image is to be written to, and how.
type Target struct {
	Size      int64
	BlockSize int
	// UEFI: that is what boots the disk.
	UEFI  bool
	Table gpt.Options
}

// kinds of files that people take for a raw disk image, by what they begin with.
var kinds = []struct{ begin, what, remedy string }{
	{"QFI\xfb", "a qcow2 image", "name it with a checksum, and it is converted"},
	{"KDMV", "a VMware image", "convert it to raw with qemu-img"},
	{"vhdxfile", "a Hyper-V image", "convert it to raw with qemu-img"},
	{"\x28\xb5\x2f\xfd", "packed with zstd", "say so by its name: .raw.zst"},
	{"\x1f\x8b", "packed with gzip", "say so by its name: .raw.gz"},
	{"\xfd7zXZ\x00", "packed with xz", "say so by its name: .raw.xz"},
}

// Look says from the beginning of an image, which has block.HeadSize bytes, whether it is one and fits its target. note is what
// may be wrong with it, and is not enough to refuse it.
func Look(head []byte, t Target) (note string, err error) {
	for _, k := range kinds {
		if bytes.HasPrefix(head, []byte(k.begin)) {
			return "", fail(protocol.ReasonImage, "the image is %s where a raw disk is wanted: %s", k.what, k.remedy)
		}
	}
	if len(head) < block.HeadSize {
		return "", fail(protocol.ReasonImage, "the image has %d bytes: it is cut short, or no image", len(head))
	}
	if string(head[32769:32774]) == "CD001" {
		return "", fail(protocol.ReasonImage, "the image is a CD, which boots no disk: take a disk image, or another bootMode")
	}
	table, err := gpt.Read(head)
	if errors.Is(err, gpt.ErrNone) {
		return "", lookMBR(head, t)
	}
	if err != nil {
		return "", fail(protocol.ReasonImage, "%v", err)
	}
	if err := gpt.Check(head, t.Size, t.BlockSize, t.Table); err != nil {
		return "", fail(protocol.ReasonImage, "%v", err)
	}
	if _, ok := table.Find(gpt.TypeESP); !ok && t.UEFI {
		return "the image has no EFI system partition, and this server's firmware is UEFI: it may not boot", nil
	}
	return "", nil
}

// lookMBR: an old kind of table, in which nothing says for which blocks it is made, and to which nothing is added.
func lookMBR(head []byte, t Target) error {
	partitions := !block.Zeroes(head[446:510])
	switch {
	case head[510] != 0x55 || head[511] != 0xAA || !partitions:
		return fail(protocol.ReasonImage, "the image has no partition table: it is no disk image, or damaged")
	case t.Table.Data != nil || t.Table.Grow:
		return fail(protocol.ReasonImage,
			"the image has no GUID partition table, and so none to which a partition for its configuration can be added: "+
				"take an image that has one")
	case t.BlockSize != 512:
		return fail(protocol.ReasonImage,
			"the image is made for disks with blocks of 512 bytes, and this one has %d: use an image for such disks, "+
				"or format the disk to 512", t.BlockSize)
	}
	return nil
}

// ReadHead reads the beginning of an image from its stream, which may be short.
func ReadHead(format protocol.Format, r io.Reader) ([]byte, error) {
	unpacked, err := Unpack(format, r)
	if err != nil {
		return nil, fail(protocol.ReasonImage, "the image is not packed as %s: %v", format, err)
	}
	defer unpacked.Close()
	head := make([]byte, block.HeadSize)
	n, err := io.ReadFull(unpacked, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return nil, fail(protocol.ReasonImage, "the image cannot be unpacked: %v", err)
	}
	return head[:n], nil
}

func fail(reason protocol.Reason, format string, args ...any) *protocol.Failure {
	return &protocol.Failure{Reason: reason, Message: protocol.CleanMessage(fmt.Sprintf(format, args...))}
}
