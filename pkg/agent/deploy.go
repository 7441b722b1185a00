package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/beskar7/beskar7/pkg/agent/block"
	"github.com/beskar7/beskar7/pkg/agent/configdrive"
	"github.com/beskar7/beskar7/pkg/agent/erase"
	"github.com/beskar7/beskar7/pkg/agent/fetch"
	"github.com/beskar7/beskar7/pkg/agent/gpt"
	"github.com/beskar7/beskar7/pkg/agent/image"
	"github.com/beskar7/beskar7/pkg/agent/protocol"
	"github.com/beskar7/beskar7/pkg/agent/selection"
)

// carryOut carries out a plan, and tells how it ended.
func (r *run) carryOut(ctx context.Context, plan *protocol.Plan, report *protocol.Report) error {
	working, abort := context.WithCancelCause(ctx)
	defer abort(nil)
	tell := newTelling(r, plan, abort)
	talking, quiet := context.WithCancel(ctx)
	told := make(chan struct{})
	go func() { defer close(told); tell.loop(talking) }()
	w := &work{run: r, ctx: working, plan: plan, report: report, tell: tell}
	err := w.all()
	quiet()
	<-told
	if ctx.Err() != nil {
		return context.Cause(ctx) // the program is ended, not the plan
	}
	if err == nil {
		tell.step(protocol.StepDone, "", "done")
	} else {
		failed := failure(err)
		r.say("%s: %s", failed.Reason, failed.Message)
		tell.change(func(p *protocol.Progress) { p.Error = failed })
	}
	return errors.Join(err, tell.lastWord(ctx))
}

// failure is why a plan was not carried out.
func failure(err error) *protocol.Failure {
	if failed, ok := errors.AsType[*protocol.Failure](err); ok {
		return failed
	}
	reason := protocol.ReasonDisk
	if errors.Is(err, errAborted) {
		reason = protocol.ReasonAborted
	}
	return &protocol.Failure{Reason: reason, Message: protocol.CleanMessage(err.Error())}
}

// work is a plan that is carried out.
type work struct {
	run    *run
	ctx    context.Context
	plan   *protocol.Plan
	report *protocol.Report
	tell   *telling
	client *http.Client // of the servers of the image
	// table is how the image's partitions are to be fitted to the disk.
	table gpt.Options
	note  string
}

func (w *work) all() error {
	w.tell.step(protocol.StepPlan, "", "choose disks")
	choice, err := w.choose()
	if err != nil {
		return err
	}
	for _, left := range choice.Left {
		w.run.say("%s is left alone: %s", selection.Describe(left.Disk), left.Why)
	}
	if err := w.strangers(choice.Left); err != nil {
		return err
	}
	if choice.Root != nil {
		if err := w.look(choice.Root); err != nil { // before anything is erased for an image that cannot be written
			return err
		}
	}
	for i := range choice.Erase {
		if err := w.erase(choice.Erase[i]); err != nil {
			return err
		}
	}
	if choice.Root != nil {
		if err := w.deploy(choice.Root); err != nil {
			return err
		}
	}
	return nil
}

// choose waits for a disk that is not there yet.
func (w *work) choose() (*selection.Choice, error) {
	for until := time.Now().Add(w.run.o.DiskWait); ; {
		choice, failed := selection.Choose(w.plan, w.report)
		if failed == nil {
			return choice, nil
		}
		if failed.Reason != protocol.ReasonNoDisk || time.Now().After(until) {
			return nil, failed
		}
		w.tell.change(func(p *protocol.Progress) { p.Message = protocol.CleanMessage("wait for disks: " + failed.Message) })
		if err := pause(w.ctx, w.run.o.Retry); err != nil {
			return nil, err
		}
		report, err := w.run.o.Hands.Report(w.ctx)
		if err != nil {
			return nil, err
		}
		w.report = report
	}
}

// strangers refuses to write a system that would find somebody else's configuration beside its own: it takes the one or the other, and
// the last tenant would be its master.
func (w *work) strangers(left []selection.Left) error {
	if w.plan.Deploy == nil || w.plan.Deploy.Data == nil {
		return nil
	}
	label := w.plan.Deploy.Data.Label
	for _, l := range left {
		if l.Disk.VirtualMedia || l.Disk.Size == 0 {
			continue
		}
		d, err := w.run.o.Hands.Open(l.Disk)
		if err != nil {
			w.run.say("%s is not looked at: %v", selection.Describe(l.Disk), err)
			continue
		}
		labelled := erase.Labelled(d, label)
		if err := d.Close(); err != nil {
			return err
		}
		if labelled {
			return &protocol.Failure{Reason: protocol.ReasonPlan,
				Message: protocol.CleanMessage(fmt.Sprintf("%s has a file system with the label %s, "+
					"and the system would read its configuration from there: nothing was changed. Erase that disk, or change the label",
					selection.Describe(l.Disk), label))}
		}
	}
	return nil
}

// open begins to download the image.
func (w *work) open(ctx context.Context) io.ReadCloser {
	img, o := &w.plan.Deploy.Image, w.run.o.Fetch
	o.Client, o.URLs, o.Size = w.client, img.URLs, img.Size
	o.Broken = func(err error) { w.run.say("the download goes on after: %v", err) }
	return fetch.Open(ctx, o)
}

// look reads the beginning of the image, and says whether it can be written to the disk.
func (w *work) look(root *protocol.Disk) error {
	if data := w.plan.Deploy.Data; data != nil {
		kind := data.Type
		if kind == "" {
			kind = gpt.TypeLinux
		}
		id := uuid.NewSHA1(uuid.NameSpaceOID, fmt.Appendf(nil, "beskar7 data of %s, %d", w.plan.ID, w.plan.Generation))
		w.table.Data = &gpt.Data{Size: configdrive.Size(root.BlockSize), Type: kind, GUID: id.String(), Name: data.Label}
	}
	w.table.Grow = w.plan.Deploy.GrowLast
	var err error
	if w.client, err = w.run.imageClient(&w.plan.Deploy.Image); err != nil {
		return &protocol.Failure{Reason: protocol.ReasonPlan, Message: protocol.CleanMessage(err.Error())}
	}
	r := w.open(w.ctx)
	defer r.Close()
	kept := &remembering{Reader: r}
	head, err := image.ReadHead(w.plan.Deploy.Image.Format, kept)
	if cause := context.Cause(w.ctx); cause != nil {
		return cause
	}
	if kept.err != nil {
		return &protocol.Failure{Reason: protocol.ReasonDownload,
			Message: protocol.CleanMessage("the image could not be downloaded: " + kept.err.Error())}
	}
	if err != nil {
		return err
	}
	w.note, err = image.Look(head, image.Target{Size: root.Size, BlockSize: root.BlockSize,
		UEFI: w.report.Firmware.BootMode == protocol.BootUEFI, Table: w.table})
	return err
}

// remembering remembers why a reader ended, which a decoder on top of it may not say.
type remembering struct {
	io.Reader
	err error
}

func (r *remembering) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		r.err = err
	}
	return n, err
}

func (w *work) erase(t selection.Target) error {
	w.tell.step(protocol.StepErase, t.Disk.Name, "erase %s by %s", selection.Describe(t.Disk), w.plan.Erase.Method)
	d, err := w.run.o.Hands.Open(t.Disk)
	if err != nil {
		return &protocol.Failure{Reason: protocol.ReasonErase, Message: protocol.CleanMessage(fmt.Sprintf("open %s: %v",
			selection.Describe(t.Disk), err))}
	}
	defer d.Close()
	evidence, err := erase.Erase(w.ctx, d, t, erase.Options{Method: w.plan.Erase.Method, Progress: w.tell.bytes, Poll: w.run.o.Poll})
	if err != nil {
		return err
	}
	w.run.say("erased %s: %s", selection.Describe(t.Disk), evidence.How)
	w.tell.change(func(p *protocol.Progress) { p.Erased = append(p.Erased, *evidence) })
	return nil
}

// deploy writes the disk. It boots once its beginning is written, which is when all else is there and was read back.
func (w *work) deploy(root *protocol.Disk) error {
	d, err := w.run.o.Hands.Open(*root)
	if err != nil {
		return fmt.Errorf("open %s: %w", selection.Describe(*root), err)
	}
	defer d.Close()
	img := &w.plan.Deploy.Image
	w.tell.step(protocol.StepWrite, root.Name, "write the image to %s", selection.Describe(*root))
	written, err := image.Write(w.ctx, d, image.Source{Open: w.open, Format: img.Format, Digest: img.Digest,
		UnpackedSize: img.UnpackedSize},
		func(n int64) { w.tell.bytes(n, img.UnpackedSize) })
	if err != nil {
		return err
	}
	w.tell.step(protocol.StepVerify, root.Name, "read the image back from %s", selection.Describe(*root))
	staged := block.Stage(d, written.Head)
	if err := image.Verify(w.ctx, staged, written, func(n int64) { w.tell.bytes(n, written.Bytes) }); err != nil {
		return err
	}
	w.tell.step(protocol.StepPartition, root.Name, "fit partitions and write the configuration")
	table, err := w.partition(staged)
	if err != nil {
		return err
	}
	if cause := context.Cause(w.ctx); cause != nil { // the last moment: what follows makes a disk that boots
		return cause
	}
	w.tell.step(protocol.StepCommit, root.Name, "write the beginning of the disk")
	if err := staged.Commit(); err != nil {
		return errors.Join(fmt.Errorf("%s: %w", selection.Describe(*root), err), block.Blank(d))
	}
	done := &protocol.Deployed{Disk: *root, Digest: img.Digest, Bytes: written.Bytes, Contents: written.Contents, Note: w.note}
	w.bootEntry(done, table)
	w.tell.change(func(p *protocol.Progress) { p.Deployed = done })
	return nil
}

// partition fits the table, and writes the configuration to its own partition. It returns no table for an image that has an old one.
func (w *work) partition(staged *block.Staged) (*gpt.Table, error) {
	if _, err := gpt.Read(staged.Head()); errors.Is(err, gpt.ErrNone) {
		return nil, nil
	}
	table, own, err := gpt.Fit(staged, w.table)
	if err != nil {
		return nil, err
	}
	if own != nil {
		if err := configdrive.Write(staged, own.Start, own.Size, w.plan.Deploy.Data); err != nil {
			return nil, fmt.Errorf("write the configuration: %w", err)
		}
	}
	return table, nil
}

// bootEntry tells the firmware. It never fails a deployment: the disk has the path that firmware looks for by itself, and the BMC
// can be told to boot from disks.
func (w *work) bootEntry(done *protocol.Deployed, table *gpt.Table) {
	label := w.plan.Deploy.BootEntry
	if label == "" || w.report.Firmware.BootMode != protocol.BootUEFI || table == nil {
		return
	}
	esp, ok := table.Find(gpt.TypeESP)
	if !ok {
		return
	}
	w.tell.step(protocol.StepBootEntry, done.Disk.Name, "make the boot entry %s", label)
	name, err := w.run.o.Hands.Boot(Entry{Label: label, Partition: esp, BlockSize: table.BlockSize})
	if err != nil {
		w.run.say("no boot entry: %v", err)
		done.Note = protocol.CleanMessage(joinNotes(done.Note, fmt.Sprintf("the firmware took no boot entry: %v", err)))
		return
	}
	done.BootEntry = name
}

func joinNotes(a, b string) string {
	if a == "" {
		return b
	}
	return a + "; " + b
}
