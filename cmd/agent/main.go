package main

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"github.com/beskar7/beskar7/pkg/agent"
	"github.com/beskar7/beskar7/pkg/agent/linux"
	"github.com/beskar7/beskar7/pkg/agent/protocol"
)

// version is set by the linker.
var version = "development"

const (
	// memoryLimit has garbage collected before the agent grows: small servers have 1 GiB, and the initramfs is in it.
	memoryLimit = 48 << 20
	// linger is how long the last lines stay on the console of a server that nobody could be told of.
	linger = time.Minute
)

func main() {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "this program erases and writes the disks of the server it runs on, and runs only as the first process "+
			"of its own medium: boot that")
		os.Exit(2)
	}
	debug.SetMemoryLimit(memoryLimit)
	begun := time.Now()
	work(context.Background(), &server{}, linger, func(format string, args ...any) {
		// The console may be a serial one that somebody records: no line has a secret.
		fmt.Printf("beskar7 [%6.1f] %s\n", time.Since(begun).Seconds(), fmt.Sprintf(format, args...))
	})
	select {} // the kernel panics if its first process ends
}

// machine is the server that the program runs on.
type machine interface {
	// Start mounts file systems and loads modules.
	Start(ctx context.Context, say func(format string, args ...any)) error
	// Seed finds the way to the manager, and the hands that work here.
	Seed(ctx context.Context, say func(format string, args ...any)) (*protocol.Seed, agent.Hands, error)
	// Connect configures the network.
	Connect(ctx context.Context, wanted *protocol.Network, say func(format string, args ...any)) error
	// PowerOff ends the server.
	PowerOff() error
}

// work does all of it, and powers off.
func work(ctx context.Context, m machine, linger time.Duration, say func(format string, args ...any)) {
	say("agent %s", version)
	if err := deploy(ctx, m, say); err != nil {
		say("it did not end well: %v", err)
		timer := time.NewTimer(linger)
		<-timer.C
	}
	say("power off")
	if err := m.PowerOff(); err != nil {
		say("the server does not power off: %v", err)
	}
}

// deploy turns a panic into an error: the server is to be powered off after one, too.
func deploy(ctx context.Context, m machine, say func(format string, args ...any)) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the agent failed: %v\n%s", p, debug.Stack())
		}
	}()
	if err := m.Start(ctx, say); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	seed, hands, err := m.Seed(ctx, say)
	if err != nil {
		return fmt.Errorf("find the way to the manager: %w", err)
	}
	if err := m.Connect(ctx, seed.Network, say); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	return agent.Run(ctx, agent.Options{Seed: seed, Hands: hands, Version: version, Log: func(line string) { say("%s", line) }})
}

// server is the real one.
type server struct{ hands *linux.Hands }

func (s *server) Start(ctx context.Context, say func(format string, args ...any)) error {
	linux.Mount(say)
	if err := linux.New("/", "").LoadModules(ctx, say); err != nil {
		say("load modules: %v", err) // all that is needed may be built in
	}
	linux.MountVariables(say)
	return nil
}

// mediumFor is how long the medium may take to appear: BMCs attach it by USB, at times after the system has started.
const mediumFor = time.Minute

func (s *server) Seed(ctx context.Context, say func(format string, args ...any)) (*protocol.Seed, agent.Hands, error) {
	for until := time.Now().Add(mediumFor); ; {
		seed, medium, err := linux.FindSeed("/")
		if err == nil {
			s.hands = linux.New("/", medium)
			return seed, s.hands, nil
		}
		if time.Now().After(until) {
			return nil, nil, err
		}
		if err := linux.New("/", "").LoadModules(ctx, say); err != nil { // this takes some seconds
			return nil, nil, err
		}
	}
}

func (s *server) Connect(ctx context.Context, wanted *protocol.Network, say func(format string, args ...any)) error {
	return s.hands.Connect(ctx, wanted, say)
}

func (s *server) PowerOff() error { return linux.PowerOff() }
