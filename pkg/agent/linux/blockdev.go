package linux

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/beskar7/beskar7/pkg/agent/block"
	"github.com/beskar7/beskar7/pkg/agent/erase"
	"github.com/beskar7/beskar7/pkg/agent/protocol"
)

// disk is a block device.
type disk struct {
	*os.File
	size      int64
	blockSize int
	namespace bool
}

const (
	openFor   = 10 * time.Second
	openEvery = 200 * time.Millisecond
)

// openDisk opens a disk for nobody else. The kernel itself holds a disk for a moment after its partitions were read.
func openDisk(ctx context.Context, path string, d protocol.Disk) (*disk, error) {
	var file *os.File
	deadline := time.Now().Add(openFor)
	for {
		var err error
		file, err = os.OpenFile(path, os.O_RDWR|unix.O_EXCL, 0)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
			return nil, err
		}
		if err := wait(ctx, openEvery); err != nil {
			return nil, err
		}
	}
	out := &disk{File: file, namespace: d.Transport == protocol.TransportNVMe}
	var size uint64
	var blockSize int32
	if err := errors.Join(ioctl(file, unix.BLKGETSIZE64, unsafe.Pointer(&size)), ioctl(file, unix.BLKSSZGET,
		unsafe.Pointer(&blockSize))); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	out.size, out.blockSize = int64(size), int(blockSize)
	if out.size != d.Size || out.blockSize != d.BlockSize {
		return nil, errors.Join(fmt.Errorf("%s now has %d bytes in blocks of %d, and had %d in blocks of %d: "+
			"it is another disk, or was formatted",
			d.Name, out.size, out.blockSize, d.Size, d.BlockSize), file.Close())
	}
	return out, nil
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func ioctl(f *os.File, request uintptr, argument unsafe.Pointer) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var errno unix.Errno
	if err := raw.Control(func(fd uintptr) { _, _, errno = unix.Syscall(unix.SYS_IOCTL, fd, request, uintptr(argument)) }); err != nil {
		return err
	}
	if errno != 0 {
		return errno
	}
	return nil
}

// Size implements block.Device.
func (d *disk) Size() int64 { return d.size }

// BlockSize implements block.Device.
func (d *disk) BlockSize() int { return d.blockSize }

// Zero implements block.Device.
func (d *disk) Zero(off, length int64) error {
	err := d.ranged(unix.BLKZEROOUT, off, length)
	if errors.Is(err, errors.ErrUnsupported) {
		return block.WriteZeroes(d, off, length)
	}
	return err
}

// Discard implements erase.Disk.
func (d *disk) Discard(off, length int64) error { return d.ranged(unix.BLKDISCARD, off, length) }

func (d *disk) ranged(request uintptr, off, length int64) error {
	if length == 0 {
		return nil
	}
	bounds := [2]uint64{uint64(off), uint64(length)}
	err := ioctl(d.File, request, unsafe.Pointer(&bounds))
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOTTY) {
		return errors.ErrUnsupported
	}
	return err
}

// Sync implements block.Device: the kernel then forgets what it has in memory of the disk.
func (d *disk) Sync() error {
	if err := d.File.Sync(); err != nil {
		return err
	}
	return ioctl(d.File, unix.BLKFLSBUF, nil)
}

// Close implements block.Device, and has the kernel read the partition table that is there now. That is for people who look; it
// fails while the kernel still reads the last one.
func (d *disk) Close() error {
	_ = ioctl(d.File, unix.BLKRRPART, nil)
	return d.File.Close()
}

// NVMe implements erase.Disk.
func (d *disk) NVMe() erase.NVMe {
	if !d.namespace {
		return nil
	}
	return &controller{d.File}
}
