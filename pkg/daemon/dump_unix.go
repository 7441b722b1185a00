//go:build unix

package daemon

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// Run dumps at every signal until the context ends.
func (d DumpOnSignal) Run(ctx context.Context) error {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR2)
	defer signal.Stop(signals)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-signals:
			d.write()
		}
	}
}
