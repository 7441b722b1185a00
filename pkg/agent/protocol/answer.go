package protocol

import (
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// Verdict is what the agent does next.
type Verdict string

// The verdicts.
const (
	// VerdictWait: there is no plan yet; report again.
	VerdictWait Verdict = "Wait"
	// VerdictContinue: go on, with the plan of this answer if it carries one.
	VerdictContinue Verdict = "Continue"
	// VerdictAbort: stop as soon as nothing breaks by it, change no more, and power off.
	VerdictAbort Verdict = "Abort"
	// VerdictDone: the last word was heard; power off.
	VerdictDone Verdict = "Done"
)

// Answer is what the manager answers.
type Answer struct {
	Verdict Verdict `json:"verdict"`
	// Time is the manager's, from which the agent sets a clock that is wrong.
	Time time.Time `json:"time"`
	// NextSeconds is when the next call is wanted, 1 to 300.
	NextSeconds int `json:"nextSeconds"`
	// Message is for whoever watches the server's console.
	Message string `json:"message,omitempty"`
	// Plan answers a report.
	Plan *Plan `json:"plan,omitempty"`
}

// Plan is the work for one claim on one server.
type Plan struct {
	// ID names the claim. Generation counts the plans of a claim from 1: one with another generation is another plan.
	ID         string `json:"id"`
	Generation int64  `json:"generation"`
	// Server is the SMBIOS UUID of the server, in either order of bytes, and Serial its serial number, which counts only where
	// one side has no UUID but what boards ship with. An agent on another server, or one that cannot tell, refuses.
	Server string `json:"server,omitempty"`
	Serial string `json:"serial,omitempty"`
	// Keep selects disks that are neither erased nor written, whatever else the plan says. A disk is kept if one selector fits.
	Keep []Selector `json:"keep,omitempty"`
	// Erase comes first; nil erases nothing.
	Erase *Erase `json:"erase,omitempty"`
	// Deploy writes a disk; nil writes none, as when a host is only erased.
	Deploy *Deploy `json:"deploy,omitempty"`
}

// Method is how a disk is erased.
type Method string

// The methods. Each one holds what the ones before it hold.
const (
	// MethodMetadata: file systems, arrays, volumes and partition tables can no longer be found. The data can.
	MethodMetadata Method = "Metadata"
	// MethodDiscard: every block reads as zero. A laboratory might find data in cells that the device keeps back.
	MethodDiscard Method = "Discard"
	// MethodSecure: the device destroys all data by a command of its own that is made for it. A device that has none fails.
	MethodSecure Method = "Secure"
)

// Erase is what is erased.
type Erase struct {
	Method Method `json:"method"`
	// RootOnly leaves all disks but the one that is written.
	RootOnly bool `json:"rootOnly,omitempty"`
}

// IfSeveral is what to do if the selector fits several disks.
type IfSeveral string

// The choices.
const (
	// IfSeveralRefuse names them and does nothing. It is the default.
	IfSeveralRefuse IfSeveral = "Refuse"
	// IfSeveralSmallest takes the smallest one, and of disks of one size the one with the first serial number.
	IfSeveralSmallest IfSeveral = "Smallest"
)

// Selector fits a disk of which all fields hold that are set. A selector without fields fits every disk.
type Selector struct {
	// Type SSD also fits NVMe disks, which are no other thing behind another plug.
	Type DiskType `json:"type,omitempty"`
	// Serial, WWN, EUI and PCIPath are compared without case; Model holds if it is contained in the disk's vendor and model.
	Serial  string `json:"serial,omitempty"`
	WWN     string `json:"wwn,omitempty"`
	EUI     string `json:"eui,omitempty"`
	PCIPath string `json:"pciPath,omitempty"`
	Model   string `json:"model,omitempty"`
	// MinSize and MaxSize are in bytes, both included; 0 is no bound.
	MinSize int64 `json:"minSize,omitempty"`
	MaxSize int64 `json:"maxSize,omitempty"`
}

// Format is how the image is packed.
type Format string

// The formats.
const (
	FormatRaw     Format = "raw"
	FormatRawZstd Format = "raw.zst"
	FormatRawGzip Format = "raw.gz"
	FormatRawXZ   Format = "raw.xz"
)

// Image is what is written to the disk.
type Image struct {
	// URLs are tried in their order; all serve the same bytes.
	URLs []string `json:"urls"`
	// Digest of the bytes that are downloaded: "sha256:" and 64 hex digits.
	Digest string `json:"digest"`
	Format Format `json:"format"`
	// Size of what is downloaded and UnpackedSize of what is written, in bytes; 0 where they are not known. A known one is held to.
	Size         int64 `json:"size,omitempty"`
	UnpackedSize int64 `json:"unpackedSize,omitempty"`
	// CA are PEM certificates that servers of https URLs are checked against; "" is the authority of the manager itself.
	CA string `json:"ca,omitempty"`
}

// Deploy is a disk to write.
type Deploy struct {
	Root      Selector  `json:"root,omitzero"`
	IfSeveral IfSeveral `json:"ifSeveral,omitempty"`
	Image     Image     `json:"image"`
	// GrowLast has the last partition of the image take the free space of the disk but for that of Data. Most images grow
	// their own file system at the first boot, and need nothing of it.
	GrowLast bool `json:"growLast,omitempty"`
	// Data is a partition at the end of the disk; nil is none.
	Data *Data `json:"data,omitempty"`
	// BootEntry is the name of an entry in the firmware for the disk; "" makes none. Others of that name are removed.
	BootEntry string `json:"bootEntry,omitempty"`
}

// Data is a partition with a FAT file system, in which systems look for their configuration.
type Data struct {
	// Label of the file system, of the case that its reader looks for: cidata, config-2. It also names the partition.
	Label string `json:"label"`
	// Type is the GUID of the partition's type; "" is that of Linux data.
	Type  string `json:"type,omitempty"`
	Files []File `json:"files"`
}

// File of a file system. Path has forward slashes and begins with none.
type File struct {
	Path    string `json:"path"`
	Content []byte `json:"content"`
}

const (
	maxURLs     = 8
	maxURL      = 2048
	maxKeep     = 64
	maxFiles    = 64
	maxFileSize = 4 << 20
	maxNext     = 300
	maxPEM      = 64 << 10
)

func (a *Answer) validate() error {
	v := &checker{}
	v.one("verdict", string(a.Verdict), words([]Verdict{VerdictWait, VerdictContinue, VerdictAbort, VerdictDone}))
	v.between("nextSeconds", int64(a.NextSeconds), 1, maxNext)
	v.text("message", a.Message)
	if a.Time.IsZero() {
		v.add("time", "is missing")
	}
	if a.Plan != nil && a.Verdict != VerdictContinue {
		v.add("plan", "comes only with the verdict "+string(VerdictContinue))
	}
	if a.Plan != nil {
		a.Plan.check(v.under("plan"))
	}
	return v.err()
}

func (p *Plan) check(v *checker) {
	v.word("id", p.ID, true)
	v.positive("generation", p.Generation)
	v.words(map[string]string{"server": p.Server, "serial": p.Serial})
	if p.Server == "" && p.Serial == "" {
		v.add("server", "is missing")
	}
	v.atMost("keep", len(p.Keep), maxKeep)
	for i, s := range p.Keep {
		under := v.under(fmt.Sprintf("keep[%d]", i))
		s.check(under)
		if s == (Selector{}) {
			under.add("", "selects every disk")
		}
	}
	if p.Erase != nil {
		v.one("erase.method", string(p.Erase.Method), words([]Method{MethodMetadata, MethodDiscard, MethodSecure}))
		if p.Erase.RootOnly && p.Deploy == nil {
			v.add("erase.rootOnly", "needs a disk that is deployed")
		}
	}
	if p.Deploy != nil {
		p.Deploy.check(v.under("deploy"))
	}
}

func (s *Selector) check(v *checker) {
	v.optional("type", string(s.Type), words([]DiskType{DiskHDD, DiskSSD, DiskNVMe}))
	v.words(map[string]string{"serial": s.Serial, "wwn": s.WWN, "eui": s.EUI, "pciPath": s.PCIPath, "model": s.Model})
	v.count("minSize", s.MinSize)
	v.count("maxSize", s.MaxSize)
	if s.MaxSize > 0 && s.MinSize > s.MaxSize {
		v.add("minSize", "is more than maxSize")
	}
}

func (d *Deploy) check(v *checker) {
	d.Root.check(v.under("root"))
	v.optional("ifSeveral", string(d.IfSeveral), words([]IfSeveral{IfSeveralRefuse, IfSeveralSmallest}))
	d.Image.check(v.under("image"))
	v.word("bootEntry", d.BootEntry, false)
	if d.Data != nil {
		d.Data.check(v.under("data"))
	}
}

func (i *Image) check(v *checker) {
	v.between("urls", int64(len(i.URLs)), 1, maxURLs)
	for _, text := range i.URLs {
		u, err := url.Parse(text)
		if err != nil || len(text) > maxURL || u.Host == "" || u.User != nil || u.Scheme != "http" && u.Scheme != "https" {
			v.add("urls", "must be http or https, without a password")
		}
	}
	v.digest("digest", i.Digest, true)
	v.one("format", string(i.Format), words([]Format{FormatRaw, FormatRawZstd, FormatRawGzip, FormatRawXZ}))
	v.count("size", i.Size)
	v.count("unpackedSize", i.UnpackedSize)
	v.pem("ca", i.CA)
}

func (d *Data) check(v *checker) {
	if !labelForm.MatchString(d.Label) {
		v.add("label", "must be 1 to 11 characters that a FAT file system can have in its label")
	}
	v.guid("type", d.Type)
	v.between("files", int64(len(d.Files)), 1, maxFiles)
	paths := map[string]bool{}
	for i, f := range d.Files {
		under := v.under(fmt.Sprintf("files[%d]", i))
		f.check(under)
		if key := strings.ToLower(f.Path); paths[key] {
			under.add("path", "is there twice")
		} else {
			paths[key] = true
		}
	}
}

func (f *File) check(v *checker) {
	if !pathForm.MatchString(f.Path) || len(f.Path) > maxWord {
		v.add("path", "must be a relative path of letters, digits, '.', '_' and '-'")
	}
	for _, part := range strings.Split(f.Path, "/") {
		if strings.Trim(part, ".") == "" {
			v.add("path", "must not lead out of its folder")
		}
	}
	v.between("content", int64(len(f.Content)), 0, maxFileSize)
}

var (
	labelForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,11}$`)
	pathForm  = regexp.MustCompile(`^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$`)
)

// certificates says what is wrong with a bundle of PEM.
func certificates(text string) error {
	if len(text) > maxPEM {
		return errors.New("is too long")
	}
	rest, n := []byte(text), 0
	for {
		block, more := pem.Decode(rest)
		if block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return errors.New("holds something else than certificates")
		}
		rest, n = more, n+1
	}
	if n == 0 || strings.TrimSpace(string(rest)) != "" {
		return errors.New("must be certificates in PEM")
	}
	return nil
}
