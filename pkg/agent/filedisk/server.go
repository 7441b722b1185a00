package filedisk

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/beskar7/beskar7/pkg/agent"
	"github.com/beskar7/beskar7/pkg/agent/erase"
	"github.com/beskar7/beskar7/pkg/agent/protocol"
)

// Server is a server whose disks are files in a folder, by the names in its report. It implements agent.Hands.
type Server struct {
	Folder string
	// Seen is what it reports.
	Seen protocol.Report
	// Late is how many reports come before the disks are found.
	Late int
	// Model changes a disk after it was opened; nil leaves it as it is.
	Model func(*Disk, protocol.Disk)
	// NVRAM is the error with which the firmware refuses boot entries; nil takes them.
	NVRAM error

	mu      sync.Mutex
	opened  map[string]bool
	touched map[string]bool
	entries []agent.Entry
	clock   time.Time
}

// Report implements agent.Hands.
func (s *Server) Report(context.Context) (*protocol.Report, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.Seen
	if s.Late--; s.Late >= 0 {
		out.Disks = nil
	}
	return &out, nil
}

// Open implements agent.Hands.
func (s *Server) Open(d protocol.Disk) (erase.Disk, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.opened[d.Name] {
		return nil, fmt.Errorf("%s is open already", d.Name)
	}
	disk, err := Open(filepath.Join(s.Folder, d.Name), d.BlockSize)
	if err != nil {
		return nil, err
	}
	if disk.Size() != d.Size {
		return nil, errors.Join(fmt.Errorf("%s has another size than was reported", d.Name), disk.Close())
	}
	if s.Model != nil {
		s.Model(disk, d)
	}
	if s.opened == nil {
		s.opened, s.touched = map[string]bool{}, map[string]bool{}
	}
	s.opened[d.Name], s.touched[d.Name] = true, true
	return &exclusive{disk, func() { s.close(d.Name) }}, nil
}

func (s *Server) close(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.opened, name)
}

// exclusive frees the disk when it is closed.
type exclusive struct {
	*Disk
	free func()
}

func (e *exclusive) Close() error {
	e.free()
	return e.Disk.Close()
}

// Boot implements agent.Hands.
func (s *Server) Boot(e agent.Entry) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.NVRAM != nil {
		return "", s.NVRAM
	}
	s.entries = append(s.entries, e)
	return fmt.Sprintf("Boot%04X", len(s.entries)), nil
}

// SetClock implements agent.Hands.
func (s *Server) SetClock(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clock = t
	return nil
}

// Touched says whether a disk was ever opened.
func (s *Server) Touched(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.touched[name]
}

// Entries are the boot entries that were made.
func (s *Server) Entries() []agent.Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]agent.Entry(nil), s.entries...)
}

// Clock is the time that was set; the zero time if none was.
func (s *Server) Clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clock
}
