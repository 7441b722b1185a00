package agent

import (
	"context"
	"time"

	"github.com/beskar7/beskar7/pkg/agent/erase"
	"github.com/beskar7/beskar7/pkg/agent/gpt"
	"github.com/beskar7/beskar7/pkg/agent/protocol"
)

// Hands are what the agent needs of the server it runs on.
type Hands interface {
	// Report says what is there now. Agent is filled in by the caller.
	Report(ctx context.Context) (*protocol.Report, error)
	// Open opens a disk of the last report for nobody else.
	Open(d protocol.Disk) (erase.Disk, error)
	// Boot has the firmware boot a disk from now on, and returns the name of the entry it made. An error is no reason to fail:
	// there are other ways to boot a disk.
	Boot(entry Entry) (name string, err error)
	// SetClock sets the server's clock, which may have lost its battery.
	SetClock(t time.Time) error
}

// Entry is a boot entry of the firmware.
type Entry struct {
	// Label is its name. Others of that name are removed.
	Label string
	// Partition is the EFI system partition, on a disk with blocks of BlockSize bytes.
	Partition gpt.Partition
	BlockSize int
}
