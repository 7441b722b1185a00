package configdrive

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path"

	"github.com/diskfs/go-diskfs/filesystem/fat32"

	"github.com/beskar7/beskar7/pkg/agent/block"
	"github.com/beskar7/beskar7/pkg/agent/protocol"
)

// Size is how large the partition has to be: a FAT32 file system has at least 65525 clusters, and none is smaller than a block.
// It is in whole MiB, and more than a plan can carry. go-diskfs v1.9.4 makes the allocation table too short by two clusters where
// the division of blocks by clusters has no rest, as with 64 MiB; mtools then refuses to read it.
func Size(blockSize int) int64 {
	if blockSize > 512 {
		return 272 << 20
	}
	return 66 << 20
}

// Write makes the file system in a range of a disk, and reads every file back.
func Write(d block.Device, start, size int64, data *protocol.Data) error {
	if err := d.Zero(start, size); err != nil {
		return fmt.Errorf("empty the partition: %w", err)
	}
	fs, err := fat32.Create(block.Storage(d, start, size), size, 0, int64(d.BlockSize()), data.Label, false)
	if err != nil {
		return fmt.Errorf("make the file system: %w", err)
	}
	for _, f := range data.Files {
		if dir := path.Dir(f.Path); dir != "." {
			if err := fs.Mkdir(dir); err != nil {
				return fmt.Errorf("make folder %s: %w", dir, err)
			}
		}
		if err := put(fs, f); err != nil {
			return fmt.Errorf("write %s: %w", f.Path, err)
		}
	}
	if err := fs.Close(); err != nil {
		return fmt.Errorf("end the file system: %w", err)
	}
	if err := d.Sync(); err != nil {
		return err
	}
	return check(d, start, size, data)
}

func put(fs *fat32.FileSystem, f protocol.File) error {
	file, err := fs.OpenFile(f.Path, os.O_CREATE|os.O_RDWR)
	if err != nil {
		return err
	}
	if len(f.Content) > 0 {
		if _, err := file.Write(f.Content); err != nil {
			return err
		}
	}
	return file.Close()
}

// check reads the file system as somebody who did not write it.
func check(d block.Device, start, size int64, data *protocol.Data) error {
	fs, err := fat32.Read(block.Storage(d, start, size), size, 0, int64(d.BlockSize()))
	if err != nil {
		return fmt.Errorf("read the file system back: %w", err)
	}
	for _, f := range data.Files {
		file, err := fs.OpenFile(f.Path, os.O_RDONLY)
		if err != nil {
			return fmt.Errorf("read %s back: %w", f.Path, err)
		}
		got, err := io.ReadAll(file)
		if err != nil {
			return fmt.Errorf("read %s back: %w", f.Path, err)
		}
		if !bytes.Equal(got, f.Content) {
			return fmt.Errorf("%s reads otherwise than it was written", f.Path)
		}
	}
	return nil
}
