package bootmedia

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
)

// resumeNote is kept beside a partial download.
type resumeNote struct {
	URL  string `json:"url"`
	ETag string `json:"etag"`
	// Whole: nothing is missing, and the checksum was right.
	Whole bool `json:"whole,omitempty"`
}

// note is what was noted of the part that is there, and its size.
func (d *download) note() (note resumeNote, size int64) {
	raw, err := os.ReadFile(d.cache.path(d.entry.sum, metaSuffix))
	if err != nil {
		return resumeNote{}, 0
	}
	info, err := d.part.Stat()
	if err != nil || info.Size() == 0 || json.Unmarshal(raw, &note) != nil {
		return resumeNote{}, 0
	}
	return note, info.Size()
}

// whole tells whether an earlier attempt has all of the file already, and ended in what is made of it.
func (d *download) whole() (bool, error) {
	note, size := d.note()
	if !note.Whole {
		return false, nil
	}
	if err := d.cache.reserve(d.entry, size); err != nil {
		return false, err
	}
	if err := d.rehash(size); err != nil {
		return false, err
	}
	if d.right() {
		d.tag = note.ETag
		return true, nil
	}
	d.have, d.hash = 0, d.sum.hash() // it was not all on disk when the power went, say
	return false, os.Remove(d.cache.path(d.entry.sum, metaSuffix))
}

func (d *download) right() bool { return hex.EncodeToString(d.hash.Sum(nil)) == d.sum.digest }

func (d *download) resumable() (etag string, size int64) {
	note, size := d.note()
	if note.URL != d.url || !strong(note.ETag) {
		return "", 0
	}
	return note.ETag, size
}

func (d *download) writeNote(whole bool) error {
	note, err := json.Marshal(resumeNote{URL: d.url, ETag: d.tag, Whole: whole})
	if err == nil {
		err = os.WriteFile(d.cache.path(d.entry.sum, metaSuffix), note, 0o600)
	}
	if err != nil {
		return fmt.Errorf("write image cache: %w", err)
	}
	return nil
}

func (d *download) rehash(size int64) error {
	if _, err := d.part.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("read image cache: %w", err)
	}
	n, err := io.CopyBuffer(struct{ io.Writer }{d.hash}, io.LimitReader(d.part, size), make([]byte, chunk))
	if err != nil {
		return fmt.Errorf("read image cache: %w", err)
	}
	d.have = n
	return nil
}
