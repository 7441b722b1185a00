package machine

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"
)

// Serial is the serial console of a machine, as it was written by all its power cycles. Each begins with a line of its own.
type Serial struct{ path string }

// look is how often the console is read while somebody waits for words on it: QEMU tells nobody that it wrote.
const look = 250 * time.Millisecond

const (
	cycleMark = "=== power on, boot from "
	offMark   = "\n=== power off ===\n"
)

func newSerial(path string) *Serial { return &Serial{path: path} }

// Path is the file.
func (s *Serial) Path() string { return s.path }

// begin marks the beginning of a power cycle.
func (s *Serial) begin(device string) error { return s.write(cycleMark + device + " ===\n") }

func (s *Serial) pause() { _ = s.write(offMark) }

func (s *Serial) write(line string) error {
	f, err := os.OpenFile(s.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(line)
	if closed := f.Close(); err == nil {
		err = closed
	}
	return err
}

// Text is what was written so far, without carriage returns.
func (s *Serial) Text() string {
	b, err := os.ReadFile(s.path)
	if err != nil {
		return "" // nothing was written yet
	}
	return strings.ReplaceAll(string(b), "\r", "")
}

// Cycle is what power cycle n (from 1) wrote so far; empty when there was none.
func (s *Serial) Cycle(n int) string {
	parts := strings.Split(s.Text(), cycleMark)
	if n < 1 || n >= len(parts) {
		return ""
	}
	return parts[n]
}

// Cycles counts the power cycles so far.
func (s *Serial) Cycles() int { return strings.Count(s.Text(), cycleMark) }

// Await waits until power cycle n wrote all of the words, in any order, and no longer than the cycle lasts. The error holds the end
// of the console.
func (s *Serial) Await(ctx context.Context, n int, words ...string) error {
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		text := s.Cycle(n)
		missing := ""
		for _, w := range words {
			if !strings.Contains(text, w) {
				missing = w
				break
			}
		}
		if missing == "" {
			return nil
		}
		if strings.Contains(text, offMark) {
			return fmt.Errorf("power cycle %d ended and never wrote %q; its console ends with:\n%s", n, missing, tail(text))
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("power cycle %d never wrote %q: %w; its console ends with:\n%s", n, missing, ctx.Err(), tail(text))
		case <-tick.C:
		}
	}
}

func tail(text string) string {
	const keep = 2000
	if len(text) > keep {
		text = text[len(text)-keep:]
	}
	return text
}
