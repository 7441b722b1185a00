package bootmedia

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
)

// Rendered is what the media of one grant have beside the image, file by file. It
// is made once, when the grant is made, and can be stored: media that are made of
// it do not change with what they were rendered from, nor with a version of ours
// that renders otherwise.
type Rendered struct {
	// Drive is the config drive; nil: there is none.
	Drive *Layout `json:"drive,omitempty"`
	// Composed is what is laid over the image; nil: it cannot be, or nothing is.
	Composed *Layout `json:"composed,omitempty"`
}

// Layout is one volume, or what is added to one.
type Layout struct {
	// Label of the volume; empty on a composed medium: the image keeps its own.
	Label string `json:"label,omitempty"`
	Files []File `json:"files,omitempty"`
	// Embed goes into the embed area of the image; nil: nothing does.
	Embed *File `json:"embed,omitempty"`
}

// File is one file of a layout. Stored apart from its data it still says all that
// the structure of a medium and its entity tag depend on.
type File struct {
	Path string `json:"path,omitempty"`
	// Size in bytes, and the SHA-256 of the data in hex.
	Size int    `json:"size"`
	Sum  string `json:"sum"`
	// Data is nil where they were withheld: then the file reads as zeroes.
	Data []byte `json:"-"`
}

func fileOf(path string, data []byte) File {
	return File{Path: path, Size: len(data), Sum: digestOf(data), Data: data}
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// bytes are the data, or as many zeroes.
func (f File) bytes() []byte {
	if len(f.Data) == f.Size {
		return f.Data
	}
	return zeroes(f.Size)
}

// zeroSlab is shared by all that reads as zeroes. Nobody writes into it.
var zeroSlab = make([]byte, 1<<20)

func zeroes(n int) []byte {
	if n <= len(zeroSlab) {
		return zeroSlab[:n:n]
	}
	return make([]byte, n)
}

// Render makes the layouts of a content, whose Looks have to be set. It fails if
// no medium can be made of it.
func Render(c Content) (Rendered, error) {
	row, ok := families[c.Family]
	if !ok {
		return Rendered{}, fmt.Errorf("unknown osFamily %q: use one of %v", c.Family, Families())
	}
	if row.layout == layoutNone {
		return Rendered{}, nil
	}
	if c.Looks == nil {
		return Rendered{}, errors.New("nobody has looked into the image yet")
	}
	var out Rendered
	rc, err := recipeFor(c)
	if err == nil {
		out.Composed = layoutOf(rc.label, rc.files, rc.embed)
	}
	if row.layout != layoutEmbed {
		label, files, driveErr := layOut(c, row)
		if driveErr == nil {
			driveErr = checkContent(c, row)
		}
		if driveErr == nil {
			out.Drive = layoutOf(label, files, nil)
		}
		err = errors.Join(err, driveErr)
	}
	if out.Drive == nil && out.Composed == nil {
		return Rendered{}, err
	}
	return out, nil
}

func layoutOf(label string, files []isoFile, embed []byte) *Layout {
	l := &Layout{Label: label}
	for _, f := range files {
		l.Files = append(l.Files, fileOf(f.path, f.data))
	}
	if embed != nil {
		f := fileOf("", embed)
		l.Embed = &f
	}
	return l
}

// each calls f for every file of all layouts.
func (r *Rendered) each(f func(*File)) {
	for _, l := range []*Layout{r.Drive, r.Composed} {
		if l == nil {
			continue
		}
		for i := range l.Files {
			f(&l.Files[i])
		}
		if l.Embed != nil {
			f(l.Embed)
		}
	}
}

// Blobs are the data of all files by their sums, each once.
func (r *Rendered) Blobs() map[string][]byte {
	out := map[string][]byte{}
	r.each(func(f *File) { out[f.Sum] = f.Data })
	return out
}

// Fill puts data to the files that they belong to, by their sums, and says whether
// now all files have theirs. What does not have its sum is not taken.
func (r *Rendered) Fill(blobs map[string][]byte) bool {
	whole := true
	r.each(func(f *File) {
		if data, ok := blobs[f.Sum]; ok && len(data) == f.Size && digestOf(data) == f.Sum {
			f.Data = data
		}
		whole = whole && len(f.Data) == f.Size
	})
	return whole
}

// drive builds the volume of a layout.
func (l *Layout) drive() (*Drive, error) {
	files, sums := l.parts()
	d, err := buildVolume(l.Label, files, sums)
	if err != nil {
		return nil, fmt.Errorf("build config drive: %w", err)
	}
	return d, nil
}

// recipe is what a layout lays over an image.
func (l *Layout) recipe() recipe {
	rc := recipe{label: l.Label}
	rc.files, rc.sums = l.parts()
	if l.Embed != nil {
		rc.embed, rc.embedSum = l.Embed.bytes(), l.Embed.Sum
	}
	return rc
}

func (l *Layout) parts() (files []isoFile, sums map[string]string) {
	sums = map[string]string{}
	for _, f := range l.Files {
		files = append(files, isoFile{f.Path, f.bytes()})
		sums[f.Path] = f.Sum
	}
	return files, sums
}
