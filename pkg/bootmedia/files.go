package bootmedia

import (
	"io"
	"strings"
)

// find is the entry of a name in the root directory, in the view that a Linux
// system reads: Rock Ridge, else Joliet, else the plain one. Letters match in
// either case where the view keeps none.
func (v *volume) find(name string) (dirRecord, bool) {
	h, fold := &v.primary, !v.rock
	if !v.rock && v.joliet != nil {
		h = v.joliet
	}
	return findEntry(h.root, name, fold)
}

func findEntry(dir []dirRecord, name string, fold bool) (dirRecord, bool) {
	for _, e := range dir {
		if e.name == name || fold && strings.EqualFold(e.name, name) {
			return e, true
		}
	}
	return dirRecord{}, false
}

// lookUp is the entry of a file by its path; found is false as well where the way
// there is damaged. The error is one of reading.
func (v *volume) lookUp(r io.ReaderAt, path string) (e dirRecord, found bool, err error) {
	names := strings.Split(path, "/")
	e, found = v.find(names[0])
	for _, name := range names[1:] {
		if !found {
			return dirRecord{}, false, nil
		}
		dir, err := v.list(r, e)
		if err != nil {
			return dirRecord{}, false, err
		}
		e, found = findEntry(dir, name, true)
	}
	return e, found, nil
}

// list are the entries of a directory, its own and its parent's first; none where
// it is no directory or is damaged. The error is one of reading.
func (v *volume) list(r io.ReaderAt, e dirRecord) ([]dirRecord, error) {
	if !e.dir || e.size > maxDirectoryBytes {
		return nil, nil
	}
	data, err := readFull(r, v.size, int64(e.lba)*sector, int64(e.size))
	if err != nil {
		return nil, onlyReadError(err)
	}
	dir, err := parseDirectory(data, v, !v.rock && v.joliet != nil)
	if err != nil {
		return nil, nil //nolint:nilerr // damaged: nothing to be had
	}
	return dir, nil
}

// readFile is the beginning of a file of the image, most bytes of it; found is
// false where there is none that can be made out. The error is one of reading.
func (v *volume) readFile(r io.ReaderAt, path string, most int64) (text string, found bool, err error) {
	e, found, err := v.lookUp(r, path)
	if err != nil || !found || e.dir {
		return "", false, err
	}
	return v.readEntry(r, e, most)
}

func (v *volume) readEntry(r io.ReaderAt, e dirRecord, most int64) (text string, found bool, err error) {
	data, err := readFull(r, v.size, int64(e.lba)*sector, min(int64(e.size), most))
	if err != nil {
		return "", false, onlyReadError(err)
	}
	return string(data), true, nil
}

// readText is the text of a file that people write; empty where there is none.
func (v *volume) readText(r io.ReaderAt, path string) (string, error) {
	text, _, err := v.readFile(r, path, maxBootConfig)
	return text, err
}
