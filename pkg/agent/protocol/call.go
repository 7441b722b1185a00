package protocol

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
)

// Prefix is the path of the exchange without the capability.
const Prefix = "/agent/v1/"

// Path is where the agent that holds a capability posts its calls.
func Path(capability string) string { return Prefix + url.PathEscape(capability) }

// Call is what the agent posts.
type Call struct {
	// Run is random and the same for all calls of one start of the agent: a second run under one capability is a server that came
	// back from its reset, or another server.
	Run string `json:"run"`
	// Report is in the first call of a run, and in each one until a plan was received.
	Report *Report `json:"report,omitempty"`
	// Progress is in all calls after that.
	Progress *Progress `json:"progress,omitempty"`
}

// Step is a part of the work, in the order of their constants.
type Step string

// The steps of a plan.
const (
	// StepPlan: the disks are chosen; nothing was changed.
	StepPlan Step = "Plan"
	// StepErase: disks are erased.
	StepErase Step = "Erase"
	// StepWrite: the image is downloaded, and written but for its beginning.
	StepWrite Step = "Write"
	// StepVerify: what is on the disk is read back.
	StepVerify Step = "Verify"
	// StepPartition: the partition table is fitted to the disk, and the data are written.
	StepPartition Step = "Partition"
	// StepCommit: the beginning of the disk is written. From here on it boots.
	StepCommit Step = "Commit"
	// StepBootEntry: the firmware is told to boot the disk.
	StepBootEntry Step = "BootEntry"
	// StepDone: all of it is done and on the disk; the agent powers off.
	StepDone Step = "Done"
)

// Steps are all of them in their order.
func Steps() []Step {
	return []Step{StepPlan, StepErase, StepWrite, StepVerify, StepPartition, StepCommit, StepBootEntry, StepDone}
}

// Progress is how far a plan is.
type Progress struct {
	// Plan and Generation are those of the plan.
	Plan       string `json:"plan"`
	Generation int64  `json:"generation"`
	Step       Step   `json:"step"`
	// Disk is the name of the disk that is worked on, as in the report; "" where there is none.
	Disk string `json:"disk,omitempty"`
	// Bytes of Total are done; Total is 0 where it is not known. Rate is in bytes for each second.
	Bytes int64 `json:"bytes,omitempty"`
	Total int64 `json:"total,omitempty"`
	Rate  int64 `json:"rate,omitempty"`
	// Message is for people.
	Message string `json:"message,omitempty"`
	// Error ends the run: the step failed and the agent goes no further. It says what to do.
	Error *Failure `json:"error,omitempty"`
	// Erased is the evidence of every disk that was erased in this run, Deployed that of the disk that was written.
	Erased   []Evidence `json:"erased,omitempty"`
	Deployed *Deployed  `json:"deployed,omitempty"`
}

// Reason is why a step failed, for machines.
type Reason string

// The reasons of failures.
const (
	// ReasonWrongServer: the plan is for another server. Nothing was changed.
	ReasonWrongServer Reason = "WrongServer"
	// ReasonNoDisk, ReasonSeveralDisks: not exactly one disk is the one to write. Nothing was changed.
	ReasonNoDisk       Reason = "NoDisk"
	ReasonSeveralDisks Reason = "SeveralDisks"
	// ReasonPlan: the plan contradicts itself or this server. Nothing was changed.
	ReasonPlan Reason = "PlanRefused"
	// ReasonErase: a disk could not be erased as it was asked for.
	ReasonErase Reason = "EraseFailed"
	// ReasonImage: the image is not what the plan says, or does not fit the disk. The disk does not boot.
	ReasonImage Reason = "ImageRefused"
	// ReasonDownload: the image could not be had. The disk does not boot.
	ReasonDownload Reason = "DownloadFailed"
	// ReasonDisk: the disk fails. It does not boot, unless the message says otherwise.
	ReasonDisk Reason = "DiskFailed"
	// ReasonAborted: the answer said to stop.
	ReasonAborted Reason = "Aborted"
)

// Failure is why a run ended.
type Failure struct {
	Reason  Reason `json:"reason"`
	Message string `json:"message"`
}

// Error is the message.
func (f *Failure) Error() string { return f.Message }

// Deployed is the evidence of a disk that was written.
type Deployed struct {
	// Disk is identified as in the report.
	Disk Disk `json:"disk"`
	// Digest is what the downloaded bytes have, in the form "sha256:" and 64 hex digits.
	Digest string `json:"digest"`
	// Bytes is the length of the unpacked image. Contents is its SHA-256, which was read back from the disk.
	Bytes    int64  `json:"bytes"`
	Contents string `json:"contents"`
	// BootEntry is the name of the entry in the firmware, as Boot0003; "" if there is none, and then Note says why.
	BootEntry string `json:"bootEntry,omitempty"`
	Note      string `json:"note,omitempty"`
}

// Evidence is how a disk was erased.
type Evidence struct {
	Disk   Disk   `json:"disk"`
	Method Method `json:"method"`
	// How are the commands that did it, in words of their standards: "NVMe Sanitize, crypto erase".
	How string `json:"how"`
	// Bytes that the command covered. Samples were read back, at places spread over the whole disk, and all held zeroes, or for
	// an erasure of keys nothing of what was there before.
	Bytes   int64 `json:"bytes"`
	Samples int   `json:"samples"`
	// Log is what the device says about it, such as the status of its sanitize log; "" where there is none.
	Log string `json:"log,omitempty"`
}

// Bounds of what both sides take. MaxCall and MaxAnswer are in bytes of JSON.
const (
	MaxCall   = 1 << 20
	MaxAnswer = 24 << 20

	maxWord    = 256
	maxMessage = 4096
	maxDisks   = 2048 // four paths to each disk of some shelves
	maxPorts   = 256
)

var digestForm = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// validate checks bounds and words, and joins what it finds.
func (c *Call) validate() error {
	if (c.Report == nil) == (c.Progress == nil) {
		return errors.New("a call carries either a report or progress")
	}
	v := &checker{}
	v.word("run", c.Run, true)
	if c.Report != nil {
		c.Report.check(v)
	}
	if c.Progress != nil {
		c.Progress.check(v)
	}
	return v.err()
}

func (p *Progress) check(v *checker) {
	v.word("plan", p.Plan, true)
	v.positive("generation", p.Generation)
	v.one("step", string(p.Step), words(Steps()))
	v.word("disk", p.Disk, false)
	v.count("bytes", p.Bytes)
	v.count("total", p.Total)
	v.count("rate", p.Rate)
	v.text("message", p.Message)
	if p.Error != nil {
		v.one("error.reason", string(p.Error.Reason), words(reasons))
		v.text("error.message", p.Error.Message)
	}
	v.atMost("erased", len(p.Erased), maxDisks)
	for i := range p.Erased {
		p.Erased[i].check(v.under(fmt.Sprintf("erased[%d]", i)))
	}
	if d := p.Deployed; d != nil {
		under := v.under("deployed")
		d.Disk.check(under)
		under.digest("digest", d.Digest, true)
		under.digest("contents", d.Contents, true)
		under.count("bytes", d.Bytes)
		under.word("bootEntry", d.BootEntry, false)
		under.text("note", d.Note)
	}
}

var reasons = []Reason{ReasonWrongServer, ReasonNoDisk, ReasonSeveralDisks, ReasonPlan, ReasonErase, ReasonImage, ReasonDownload,
	ReasonDisk, ReasonAborted}

func (e *Evidence) check(v *checker) {
	e.Disk.check(v)
	v.one("method", string(e.Method), words([]Method{MethodMetadata, MethodDiscard, MethodSecure}))
	v.text("how", e.How)
	v.count("bytes", e.Bytes)
	v.count("samples", int64(e.Samples))
	v.text("log", e.Log)
}
