//go:build unix

package daemon

import (
	"context"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
)

func TestSIGUSR2Dumps(t *testing.T) {
	mine := make(chan os.Signal, 1)
	signal.Notify(mine, syscall.SIGUSR2) // or one that comes too early would end this process
	defer signal.Stop(mine)
	lines := make(chan string, 100)
	d := DumpOnSignal{Dump: func() string { return "first\nsecond\n" }, Log: funcr.New(func(_, args string) {
		select {
		case lines <- args:
		default:
		}
	}, funcr.Options{})}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- d.Run(ctx) }()
	for line := ""; line == ""; {
		if err := syscall.Kill(os.Getpid(), syscall.SIGUSR2); err != nil {
			t.Fatal(err)
		}
		select {
		case line = <-lines:
		case <-time.After(10 * time.Millisecond): // it does not listen yet
			continue
		}
		if next := <-lines; !strings.Contains(line, `"line"="first"`) || !strings.Contains(next, `"line"="second"`) {
			t.Errorf("the dump is %q, %q", line, next)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
