package daemon

import (
	"strings"

	"github.com/go-logr/logr"
)

// DumpOnSignal writes what the BMC gate holds to the log whenever the process gets SIGUSR2, on every replica: only the one that
// drives holds something.
type DumpOnSignal struct {
	// Dump returns lines of text without secrets.
	Dump func() string
	Log  logr.Logger
}

// write makes a log entry of each line.
func (d DumpOnSignal) write() {
	for line := range strings.Lines(d.Dump()) {
		d.Log.Info("Dump", "line", strings.TrimSpace(line))
	}
}
