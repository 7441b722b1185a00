package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"golang.org/x/term"

	"github.com/beskar7/beskar7/api/v1beta1"
)

// screen shows a live table on a terminal, and plain lines elsewhere.
type screen struct {
	file  *os.File
	live  bool
	began time.Time

	mu     sync.Mutex
	drawn  int // lines of the table on the screen
	table  string
	states map[string]string
}

func newScreen(file *os.File, plain bool) *screen {
	return &screen{file: file, live: !plain && term.IsTerminal(int(file.Fd())), began: time.Now(), states: map[string]string{}}
}

// Write takes progress lines of others.
func (s *screen) Write(p []byte) (int, error) {
	for _, l := range strings.Split(strings.TrimRight(string(p), "\n"), "\n") {
		s.line("  %s", l)
	}
	return len(p), nil
}

func (s *screen) step(format string, args ...any) {
	s.line("%4ds ▶ %s", int(time.Since(s.began).Seconds()), fmt.Sprintf(format, args...))
}

// line prints above the table.
func (s *screen) line(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.erase()
	fmt.Fprintf(s.file, format+"\n", args...)
	s.draw()
}

func (s *screen) erase() {
	if s.live && s.drawn > 0 {
		fmt.Fprintf(s.file, "\033[%dA\033[J", s.drawn)
		s.drawn = 0
	}
}

func (s *screen) draw() {
	if s.live && s.table != "" {
		fmt.Fprint(s.file, s.table)
		s.drawn = strings.Count(s.table, "\n")
	}
}

// show replaces the table; without a terminal it prints a line for each host and machine that changed.
func (s *screen) show(hosts []v1beta1.PhysicalHost, machines []clusterv1.Machine) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.live {
		s.changes(hosts, machines)
		return
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\n\033[1m%-10s %-15s %-12s %-28s %s\033[0m\n", "HOST", "STATE", "POWER", "MACHINE", "OPERATION")
	for i := range hosts {
		h := &hosts[i]
		fmt.Fprintf(&b, "%-10s %s%-15s\033[0m %-12s %-28s %s\n", h.Name, color(h.Status.State), h.Status.State, h.Status.Power, machineOf(h), operationOf(h))
	}
	fmt.Fprintf(&b, "\033[1m%-40s %-14s %s\033[0m\n", "MACHINE", "PHASE", "NODE")
	for i := range machines {
		m := &machines[i]
		fmt.Fprintf(&b, "%-40s %-14s %s\n", m.Name, m.Status.Phase, m.Status.NodeRef.Name)
	}
	s.erase()
	s.table = b.String()
	s.draw()
}

func (s *screen) changes(hosts []v1beta1.PhysicalHost, machines []clusterv1.Machine) {
	seen := map[string]string{}
	for i := range hosts {
		h := &hosts[i]
		seen["host    "+h.Name] = strings.TrimSpace(fmt.Sprintf("%-15s power=%-11s %s", h.Status.State, h.Status.Power, machineOf(h)))
	}
	for i := range machines {
		seen["machine "+machines[i].Name] = machines[i].Status.Phase
	}
	for name, state := range seen {
		if s.states[name] != state {
			fmt.Fprintf(s.file, "%4ds   %s: %s\n", int(time.Since(s.began).Seconds()), name, state)
		}
	}
	for name := range s.states {
		if _, there := seen[name]; !there {
			fmt.Fprintf(s.file, "%4ds   %s: gone\n", int(time.Since(s.began).Seconds()), name)
		}
	}
	s.states = seen
}

func color(state v1beta1.HostState) string {
	switch state {
	case v1beta1.StateAvailable:
		return "\033[32m"
	case v1beta1.StateProvisioned:
		return "\033[36m"
	case v1beta1.StateQuarantined, v1beta1.StateReleaseBlocked, v1beta1.StateOrphaned, v1beta1.StateDuplicate, v1beta1.StateOtherServer,
		v1beta1.StateLost, v1beta1.StateBootFailed:
		return "\033[31m"
	case v1beta1.StateEnrolling, v1beta1.StateInspecting, v1beta1.StatePoweredOn, v1beta1.StateNotEmpty, v1beta1.StateCleaning, v1beta1.StateMaintenance,
		v1beta1.StateClaimed, v1beta1.StateProvisioning, v1beta1.StateBooting, v1beta1.StateReleasing, v1beta1.StateDeleting, v1beta1.StatePaused:
	}
	return "\033[33m"
}

func machineOf(h *v1beta1.PhysicalHost) string {
	if h.Spec.Claim == nil {
		return "-"
	}
	return h.Spec.Claim.Machine
}

func operationOf(h *v1beta1.PhysicalHost) string {
	if h.Status.Operation == nil {
		return "-"
	}
	return h.Status.Operation.Kind
}

// watch keeps the table up to date until the context ends.
func (d *demo) watch(ctx context.Context) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(500 * time.Millisecond)
		defer tick.Stop()
		for {
			hosts, machines := &v1beta1.PhysicalHostList{}, &clusterv1.MachineList{}
			if d.lab.Client.List(ctx, hosts, client.InNamespace(namespace)) == nil && d.lab.Client.List(ctx, machines, client.InNamespace(namespace)) == nil {
				d.out.show(hosts.Items, machines.Items)
			}
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}()
	return done
}
