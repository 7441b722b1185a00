package controlplane

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// stateFile lists the processes of a control plane, so that another process can end them.
const stateFile = "state.json"

// processState identifies a process for ever: an id is reused, an id with its start time is not.
type processState struct {
	Name    string `json:"name"`
	PID     int    `json:"pid"`
	Started string `json:"started"` // clock ticks since boot, field 22 of /proc/<pid>/stat
}

func writeState(dir string, processes []*Process) error {
	var list []processState
	for _, p := range processes {
		pid := p.PID()
		if pid == 0 {
			continue
		}
		if started, err := startTime(pid); err == nil {
			list = append(list, processState{p.Name(), pid, started})
		}
	}
	data, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		return fmt.Errorf("writing the process list: %w", err)
	}
	tmp := filepath.Join(dir, stateFile+".part")
	if err := os.WriteFile(tmp, data, 0o600); err != nil {
		return fmt.Errorf("writing the process list: %w", err)
	}
	return os.Rename(tmp, filepath.Join(dir, stateFile))
}

func removeState(dir string) error {
	if err := os.Remove(filepath.Join(dir, stateFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing the process list: %w", err)
	}
	return nil
}

// Stop ends the processes of a detached control plane, the latest started first, by the list in its
// folder. It is no error when there is no list or a process is gone. A process that has the id of one
// in the list but started at another time is left alone.
func Stop(dir string) error {
	data, err := os.ReadFile(filepath.Join(dir, stateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the process list: %w", err)
	}
	var list []processState
	if err := json.Unmarshal(data, &list); err != nil {
		return fmt.Errorf("reading the process list: %w", err)
	}
	for i := len(list) - 1; i >= 0; i-- {
		if err := list[i].stop(); err != nil {
			return err
		}
	}
	return removeState(dir)
}

func (s processState) alive() bool {
	started, err := startTime(s.PID)
	return err == nil && started == s.Started
}

func (s processState) stop() error {
	for _, step := range []struct {
		signal syscall.Signal
		wait   time.Duration
	}{{syscall.SIGTERM, stopGrace}, {syscall.SIGKILL, stopGrace}} {
		if !s.alive() {
			return nil
		}
		if err := syscall.Kill(s.PID, step.signal); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("ending %s (%d): %w", s.Name, s.PID, err)
		}
		deadline, tick := time.After(step.wait), time.NewTicker(50*time.Millisecond)
		for waiting := true; waiting && s.alive(); {
			select {
			case <-deadline:
				waiting = false
			case <-tick.C:
			}
		}
		tick.Stop()
	}
	if s.alive() {
		return fmt.Errorf("ending %s (%d): it survived SIGKILL", s.Name, s.PID)
	}
	return nil
}

// startTime fails for a process that does not exist or is a zombie.
func startTime(pid int) (string, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", err
	}
	// The second field is the program's name in parentheses and may itself hold anything.
	_, rest, _ := strings.Cut(string(data[strings.LastIndexByte(string(data), ')')+1:]), " ")
	fields := strings.Fields(rest)
	if len(fields) < 20 {
		return "", fmt.Errorf("reading the state of process %d: %d fields", pid, len(fields))
	}
	if fields[0] == "Z" {
		return "", fmt.Errorf("reading the state of process %d: it has ended", pid)
	}
	return fields[19], nil
}
