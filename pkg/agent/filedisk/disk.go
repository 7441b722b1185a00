package filedisk

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/beskar7/beskar7/pkg/agent/block"
	"github.com/beskar7/beskar7/pkg/agent/erase"
)

// Discards is what a disk does with a discard.
type Discards int

// The kinds of disks.
const (
	// DiscardZeroes: what is discarded reads as zero, as on most.
	DiscardZeroes Discards = iota
	// DiscardKeeps: it takes the command, and reads as before.
	DiscardKeeps
	// DiscardUnsupported: it has no such command, as spinning disks.
	DiscardUnsupported
	// DiscardFails: it has, and answers with an error.
	DiscardFails
)

// Disk is a disk in a file.
type Disk struct {
	*block.File
	Discards Discards
	// Controller is that of an NVMe namespace; nil for another disk.
	Controller *Controller
	// Stuck is a range that keeps its contents whatever erases the disk; an empty one is none.
	Stuck [2]int64
	// Power is how many changes are left until the power fails, after which nothing is changed any more; nil never fails.
	Power *atomic.Int64
}

// ErrPower is what every change ends with once the power has failed.
var ErrPower = errors.New("the power has failed")

func (d *Disk) powered() error {
	if d.Power != nil && d.Power.Add(-1) < 0 {
		return ErrPower
	}
	return nil
}

// WriteAt implements block.Device.
func (d *Disk) WriteAt(p []byte, off int64) (int, error) {
	if err := d.powered(); err != nil {
		return 0, err
	}
	return d.File.WriteAt(p, off)
}

// Sync implements block.Device.
func (d *Disk) Sync() error {
	if err := d.powered(); err != nil {
		return err
	}
	return d.File.Sync()
}

// Create makes an empty disk in a folder.
func Create(folder, name string, size int64, blockSize int) (*Disk, error) {
	path := filepath.Join(folder, name)
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		return nil, err
	}
	if err := os.Truncate(path, size); err != nil {
		return nil, err
	}
	return Open(path, blockSize)
}

// Open opens one.
func Open(path string, blockSize int) (*Disk, error) {
	f, err := block.OpenFile(path, blockSize)
	if err != nil {
		return nil, err
	}
	return &Disk{File: f}, nil
}

// Zero implements block.Device.
func (d *Disk) Zero(off, length int64) error {
	if err := d.powered(); err != nil {
		return err
	}
	return d.around(off, length, d.File.Zero)
}

// around leaves out what is stuck.
func (d *Disk) around(off, length int64, do func(off, length int64) error) error {
	from, to := max(off, d.Stuck[0]), min(off+length, d.Stuck[1])
	if from >= to {
		return do(off, length)
	}
	if err := do(off, from-off); err != nil {
		return err
	}
	return do(to, off+length-to)
}

var errDevice = errors.New("input/output error")

// Discard implements erase.Disk.
func (d *Disk) Discard(off, length int64) error {
	switch d.Discards {
	case DiscardKeeps:
		return nil
	case DiscardUnsupported:
		return errors.ErrUnsupported
	case DiscardFails:
		return errDevice
	case DiscardZeroes:
	}
	return d.Zero(off, length)
}

// NVMe implements erase.Disk.
func (d *Disk) NVMe() erase.NVMe {
	if d.Controller == nil {
		return nil
	}
	return &namespace{d}
}

// Controller is an NVMe controller with its namespaces.
type Controller struct {
	Can        erase.Abilities
	Namespaces []*Disk
	// Polls is how often the log says that a sanitize operation runs. Fails has it end in a failure, Refuses has commands refused.
	Polls          int
	Fails, Refuses bool

	mu  sync.Mutex
	log erase.SanitizeLog
	// Commands are those that were carried out, by their names.
	commands []string
}

// Commands are the commands that were carried out, in words.
func (c *Controller) Commands() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.commands...)
}

// Begin has a sanitize operation run, as one that was begun before the power failed.
func (c *Controller) Begin() { c.log = erase.SanitizeLog{State: erase.SanitizeRuns, Raw: 2} }

type namespace struct{ disk *Disk }

func (n *namespace) Abilities() (erase.Abilities, error) { return n.disk.Controller.Can, nil }

// Format implements erase.NVMe. Without the ability a controller may do it nevertheless; this one refuses, as the standard has it.
func (n *namespace) Format(ctx context.Context, s erase.Setting) error {
	c := n.disk.Controller
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.Refuses || !c.Can.Format || s == erase.SettingCrypto && !c.Can.FormatCrypto || c.log.State == erase.SanitizeRuns {
		return errDevice
	}
	c.commands = append(c.commands, map[erase.Setting]string{erase.SettingUserData: "format 1", erase.SettingCrypto: "format 2"}[s])
	all := []*Disk{n.disk}
	if c.Can.FormatsAll {
		all = c.Namespaces
	}
	for _, d := range all {
		if err := d.wipe(s == erase.SettingCrypto); err != nil {
			return err
		}
	}
	return nil
}

// Sanitize implements erase.NVMe.
func (n *namespace) Sanitize(a erase.Action) error {
	c := n.disk.Controller
	c.mu.Lock()
	defer c.mu.Unlock()
	able := map[erase.Action]bool{erase.ActionBlockErase: c.Can.BlockErase, erase.ActionCryptoErase: c.Can.CryptoErase,
		erase.ActionOverwrite: c.Can.Overwrite}
	if c.Refuses || !able[a] || c.log.State == erase.SanitizeRuns {
		return errDevice
	}
	name := map[erase.Action]string{erase.ActionBlockErase: "block erase", erase.ActionCryptoErase: "crypto erase",
		erase.ActionOverwrite: "overwrite"}[a]
	c.commands = append(c.commands, name)
	c.log = erase.SanitizeLog{State: erase.SanitizeRuns, Raw: 2}
	for _, d := range c.Namespaces {
		if err := d.wipe(a == erase.ActionCryptoErase); err != nil {
			return err
		}
	}
	return nil
}

// SanitizeLog implements erase.NVMe.
func (n *namespace) SanitizeLog() (erase.SanitizeLog, error) {
	c := n.disk.Controller
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.log.State != erase.SanitizeRuns {
		return c.log, nil
	}
	if c.Polls--; c.Polls >= 0 {
		c.log.Progress += 1000
		return c.log, nil
	}
	c.log = erase.SanitizeLog{State: erase.SanitizeDone, Raw: 0x101}
	if c.Fails {
		c.log = erase.SanitizeLog{State: erase.SanitizeFailed, Raw: 3}
	}
	return c.log, nil
}

// wipe destroys the contents: a lost key leaves noise where there was something.
func (d *Disk) wipe(noise bool) error {
	if !noise {
		return d.Zero(0, d.Size())
	}
	buffer := make([]byte, 1<<16)
	for off := int64(0); off < d.Size(); off += int64(len(buffer)) {
		n := min(int64(len(buffer)), d.Size()-off)
		if _, err := d.ReadAt(buffer[:n], off); err != nil {
			return err
		}
		if block.Zeroes(buffer[:n]) {
			continue
		}
		if _, err := rand.Read(buffer[:n]); err != nil {
			return err
		}
		write := func(at, length int64) error {
			_, err := d.WriteAt(buffer[at-off:at-off+length], at)
			return err
		}
		if err := d.around(off, n, write); err != nil {
			return err
		}
	}
	return nil
}
