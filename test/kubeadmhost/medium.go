package kubeadmhost

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/kdomanski/iso9660"

	"github.com/beskar7/beskar7/test/emulator"
)

const (
	sectorSize   = 2048
	pvdOffset    = 16 * sectorSize
	maxFileBytes = 16 << 20
)

// volume is one inserted medium, opened and checked as an ISO 9660 volume.
type volume struct {
	slot  string
	label string
	root  *iso9660.File
	// rockRidge says whether names are POSIX names. Without them a system shows
	// the plain names in lower case.
	rockRidge bool
}

// openVolume fetches the structure of a medium and checks it: a primary volume
// descriptor whose two byte orders agree, and a length that the medium has.
func openVolume(ctx context.Context, medium emulator.Medium) (_ *volume, err error) {
	defer func() {
		// The reader is not written against hostile images; what makes it
		// panic is an image no server could boot.
		if r := recover(); r != nil {
			err = fmt.Errorf("image in slot %s: malformed iso 9660 structure: %v", medium.Slot, r)
		}
	}()
	reader, size, err := medium.Open(ctx)
	if err != nil {
		return nil, fmt.Errorf("fetch image in slot %s: %w", medium.Slot, err)
	}
	pvd, err := readPVD(reader, size)
	if err != nil {
		return nil, fmt.Errorf("image in slot %s: %w", medium.Slot, err)
	}
	image, err := iso9660.OpenImage(reader)
	if err != nil {
		return nil, fmt.Errorf("image in slot %s: read volume descriptors: %w", medium.Slot, err)
	}
	root, err := image.RootDir()
	if err != nil {
		return nil, fmt.Errorf("image in slot %s: read root directory: %w", medium.Slot, err)
	}
	v := &volume{slot: medium.Slot, label: strings.TrimRight(string(pvd[40:72]), " \x00"), root: root}
	if v.rockRidge, err = hasRockRidge(reader, pvd); err != nil {
		return nil, fmt.Errorf("image in slot %s: %w", medium.Slot, err)
	}
	return v, nil
}

func readPVD(reader io.ReaderAt, size int64) ([]byte, error) {
	pvd := make([]byte, sectorSize)
	if _, err := reader.ReadAt(pvd, pvdOffset); err != nil {
		return nil, fmt.Errorf("read primary volume descriptor: %w", err)
	}
	if pvd[0] != 1 || string(pvd[1:6]) != "CD001" || pvd[6] != 1 {
		return nil, errors.New("no iso 9660 primary volume descriptor")
	}
	blocks := binary.LittleEndian.Uint32(pvd[80:])
	if other := binary.BigEndian.Uint32(pvd[84:]); blocks != other {
		return nil, fmt.Errorf("volume size differs in its two byte orders: %d and %d blocks", blocks, other)
	}
	if block := binary.LittleEndian.Uint16(pvd[128:]); block != sectorSize {
		return nil, fmt.Errorf("logical block size is %d, want %d", block, sectorSize)
	}
	if want := int64(blocks) * sectorSize; size < want {
		return nil, fmt.Errorf("truncated: the volume is %d bytes, the image only %d", want, size)
	}
	last := make([]byte, 1)
	if _, err := reader.ReadAt(last, size-1); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read the last byte of the image: %w", err)
	}
	return pvd, nil
}

// hasRockRidge looks for the SUSP indicator in the first record of the root.
func hasRockRidge(reader io.ReaderAt, pvd []byte) (bool, error) {
	extent := int64(binary.LittleEndian.Uint32(pvd[156+2:])) * sectorSize
	record := make([]byte, 36)
	if _, err := reader.ReadAt(record, extent); err != nil {
		return false, fmt.Errorf("read root directory record: %w", err)
	}
	return record[0] >= 41 && string(record[34:36]) == "SP", nil
}

// file reads the file at a slash-separated path; found is false when there is
// none. Names are compared as a Linux mount of the volume would show them.
func (v *volume) file(path string) (content []byte, found bool, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("read %s in slot %s: malformed iso 9660 structure: %v", path, v.slot, r)
		}
	}()
	node := v.root
	for _, name := range strings.Split(path, "/") {
		if !node.IsDir() {
			return nil, false, nil
		}
		children, err := node.GetChildren()
		if err != nil {
			return nil, false, fmt.Errorf("read directory of slot %s on the way to %s: %w", v.slot, path, err)
		}
		if node = v.pick(children, name); node == nil {
			return nil, false, nil
		}
	}
	if node.IsDir() {
		return nil, false, fmt.Errorf("%s in slot %s is a directory", path, v.slot)
	}
	if node.Size() > maxFileBytes {
		return nil, false, fmt.Errorf("%s in slot %s has %d bytes, more than %d", path, v.slot, node.Size(), maxFileBytes)
	}
	content, err = io.ReadAll(node.Reader())
	if err != nil {
		return nil, false, fmt.Errorf("read %s in slot %s: %w", path, v.slot, err)
	}
	if int64(len(content)) != node.Size() {
		return nil, false, fmt.Errorf("read %s in slot %s: got %d of %d bytes", path, v.slot, len(content), node.Size())
	}
	return content, true, nil
}

func (v *volume) pick(children []*iso9660.File, name string) *iso9660.File {
	for _, child := range children {
		shown := child.Name()
		if !v.rockRidge {
			shown = strings.ToLower(shown)
		}
		if shown == name {
			return child
		}
	}
	return nil
}
