package erase

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/beskar7/beskar7/pkg/agent/protocol"
	"github.com/beskar7/beskar7/pkg/agent/selection"
)

// Options are how to erase.
type Options struct {
	Method protocol.Method
	// Progress is told how many bytes of how many are done; nil tells nobody.
	Progress func(done, total int64)
	// Poll is how often a disk that erases itself is asked; 0 is every two seconds.
	Poll time.Duration
}

const mib = 1 << 20

// Erase erases a disk. All errors are *protocol.Failure, but the cause of the context.
func Erase(ctx context.Context, d Disk, t selection.Target, o Options) (*protocol.Evidence, error) {
	if o.Progress == nil {
		o.Progress = func(int64, int64) {}
	}
	if o.Poll == 0 {
		o.Poll = 2 * time.Second
	}
	e := &eraser{ctx: ctx, disk: d, target: t, o: o, evidence: protocol.Evidence{Disk: t.Disk, Method: o.Method, Bytes: d.Size()}}
	var err error
	switch o.Method {
	case protocol.MethodMetadata:
		err = e.metadata()
	case protocol.MethodDiscard:
		err = e.discard()
	case protocol.MethodSecure:
		err = e.secure()
	default:
		err = fmt.Errorf("the method %q is not known", o.Method)
	}
	if cause := context.Cause(ctx); cause != nil {
		return nil, cause
	}
	if err != nil {
		return nil, &protocol.Failure{Reason: protocol.ReasonErase,
			Message: protocol.CleanMessage(fmt.Sprintf("%s is not erased: %v", selection.Describe(t.Disk), err))}
	}
	return &e.evidence, nil
}

type eraser struct {
	ctx      context.Context
	disk     Disk
	target   selection.Target
	o        Options
	evidence protocol.Evidence
}

// metadata makes all that a system finds a disk's contents by unreadable, and reads it back.
func (e *eraser) metadata() error {
	places := landmarks(e.disk)
	for i, p := range places {
		if err := e.disk.Zero(p.off, p.length); err != nil {
			return fmt.Errorf("it cannot be written at byte %d: %w: replace it", p.off, err)
		}
		e.o.Progress(int64(i+1), int64(len(places)))
	}
	if err := e.disk.Sync(); err != nil {
		return fmt.Errorf("it fails: %w: replace it", err)
	}
	e.evidence.How = "file systems, arrays, volumes and partition tables overwritten with zeroes"
	e.evidence.Bytes, e.evidence.Samples = 0, len(places)
	for _, p := range places {
		e.evidence.Bytes += p.length
		zero, err := readsZero(e.disk, p)
		if err != nil {
			return err
		}
		if !zero {
			return fmt.Errorf("what was written at byte %d does not stay: replace it", p.off)
		}
	}
	return nil
}

// discard makes every block read as zero: by a discard if the disk then reads so, which it need not, else by writing.
func (e *eraser) discard() error {
	if err := e.metadata(); err != nil {
		return err
	}
	samples, err := mark(e.disk)
	if err != nil {
		return err
	}
	e.evidence.Bytes, e.evidence.Samples = e.disk.Size(), len(samples)
	e.evidence.How = "discard (TRIM, UNMAP or Deallocate)"
	err = e.inPieces(e.disk.Discard)
	if err == nil {
		if err = e.disk.Sync(); err != nil {
			return fmt.Errorf("it fails: %w: replace it", err)
		}
		zero, err := allZero(e.disk, samples)
		if err != nil || zero {
			return err
		}
	} else if !errors.Is(err, errors.ErrUnsupported) {
		return fmt.Errorf("its discard fails: %w: replace it", err)
	}
	e.evidence.How = "overwritten with zeroes"
	if err := e.inPieces(e.disk.Zero); err != nil {
		return fmt.Errorf("it cannot be overwritten: %w: replace it", err)
	}
	if err := e.disk.Sync(); err != nil {
		return fmt.Errorf("it fails: %w: replace it", err)
	}
	zero, err := allZero(e.disk, samples)
	if err == nil && !zero {
		err = errors.New("blocks that were overwritten with zeroes read as something else: replace it")
	}
	return err
}

// inPieces calls a command for one part of the disk after the other, so that it can be stopped and seen to go on.
func (e *eraser) inPieces(command func(off, length int64) error) error {
	const piece = 4 << 30
	for off := int64(0); off < e.disk.Size(); off += piece {
		if cause := context.Cause(e.ctx); cause != nil {
			return cause
		}
		if err := command(off, min(piece, e.disk.Size()-off)); err != nil {
			return err
		}
		e.o.Progress(min(off+piece, e.disk.Size()), e.disk.Size())
	}
	return nil
}
