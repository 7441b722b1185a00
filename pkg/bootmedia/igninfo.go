package bootmedia

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Where a live image of CoreOS keeps the room for an Ignition config: in a file of
// its own, which coreos/igninfo.json names, or in another one at an offset (s390x).
// Images of 2021 and before have neither and name the place in the system area
// (coreos-installer, src/live/embed.rs; osbuild, org.osbuild.coreos.live-artifacts).
const (
	ignInfoPath     = "coreos/igninfo.json"
	ignDefaultPath  = "images/ignition.img"
	maxIgnInfoBytes = 4 << 10
)

// ignInfo is coreos/igninfo.json. Offset and length are of a part of the file;
// without them it is all of it.
type ignInfo struct {
	File   string `json:"file"`
	Offset int64  `json:"offset"`
	Length *int64 `json:"length"`
}

// findEmbedArea sets the embed area of an image whose file system names one; what
// was read of the old header stays where it does not. The error is for a person,
// or one of reading.
func (v *volume) findEmbedArea(r io.ReaderAt) error {
	if _, coreOS := v.find("coreos"); !coreOS {
		if _, images := v.find("images"); !images {
			return nil // most images; nothing has to be read
		}
	}
	text, named, err := v.readFile(r, ignInfoPath, maxIgnInfoBytes)
	if err != nil {
		return err
	}
	info := ignInfo{File: ignDefaultPath}
	if named {
		if info, err = parseIgnInfo([]byte(text)); err != nil {
			return err
		}
	} else if v.embed.length > 0 {
		return nil
	}
	e, found, err := v.lookUp(r, info.File)
	switch {
	case err != nil:
		return err
	case !found && !named:
		return nil
	case !found || e.dir || e.multi:
		return fmt.Errorf("the image is damaged: its %s names no file that is there", ignInfoPath)
	}
	area := extent{int64(e.lba)*sector + info.Offset, int64(e.size) - info.Offset}
	if info.Length != nil {
		area.length = *info.Length
	}
	if area.length <= 0 || info.Offset > int64(e.size) || area.length > int64(e.size)-info.Offset || area.off > v.size ||
		area.length > v.size-area.off {
		return errors.New("the image is damaged: its embed area lies outside of the file that has it")
	}
	v.embed = area
	return nil
}

func parseIgnInfo(text []byte) (ignInfo, error) {
	var info ignInfo
	if err := json.Unmarshal(text, &info); err != nil || info.File == "" || info.Offset < 0 || info.Length != nil && *info.Length <= 0 {
		return ignInfo{}, fmt.Errorf("the image is damaged: its %s cannot be read", ignInfoPath)
	}
	info.File = strings.TrimPrefix(info.File, "/")
	return info, nil
}
