package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/test/emulator"
)

// auditPatience is how long the audit log may lag behind a request.
const auditPatience = 30 * time.Second

// auditWrites reads the API server's history of hosts and machines up to a moment. The log is written after the answer: a read that
// is sent now and found there shows that what was answered before is there, too.
func (l *Lab) auditWrites(ctx context.Context, until time.Time) ([]write, error) {
	marker := fmt.Sprintf("witness-%d", time.Now().UnixNano())
	err := l.Client.Get(ctx, client.ObjectKey{Namespace: "default", Name: marker}, &v1beta1.PhysicalHost{})
	if !apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("mark the end in the audit log: %w", err)
	}
	file, err := os.Open(l.Plane.AuditLog())
	if err != nil {
		return nil, fmt.Errorf("open the audit log: %w", err)
	}
	defer func() { _ = file.Close() }()
	reader := newAuditReader(file, marker)
	if err := wait.PollUntilContextTimeout(ctx, 20*time.Millisecond, auditPatience, true, func(context.Context) (bool, error) {
		err := reader.drain()
		return reader.seen, err
	}); err != nil {
		return nil, fmt.Errorf("wait for the audit log: %w", err)
	}
	return slices.DeleteFunc(reader.writes, func(w write) bool { return w.at.from.After(until) }), nil
}

// serverLogs reads the records of all servers up to a moment.
func (l *Lab) serverLogs(until time.Time) ([]serverLog, error) {
	nodes := map[string]map[string]bool{}
	for _, n := range l.World.Nodes() {
		if n.Server != "" {
			note(nodes, n.Server, n.ProviderID)
		}
	}
	var logs []serverLog
	for _, b := range l.Fleet.BMCs() {
		if err := l.readConsole(nodes, b.Name()); err != nil {
			return nil, err
		}
		count := b.Requests()
		logs = append(logs, serverLog{name: b.Name(), address: b.URL(), maxInFlight: count.MaxInFlight, nodes: nodes[b.Name()],
			events:  slices.DeleteFunc(b.Events(), func(e emulator.Event) bool { return e.Time.After(until) }),
			changes: slices.DeleteFunc(count.Changes, func(c emulator.Change) bool { return c.Start.After(until) })})
	}
	return logs, nil
}

func note(nodes map[string]map[string]bool, server, providerID string) {
	if nodes[server] == nil {
		nodes[server] = map[string]bool{}
	}
	nodes[server][providerID] = true
}

// nodeUp is what a server says on its console once it is a node. Nodes that came and went are on record only there.
var nodeUp = regexp.MustCompile(`(?m)node \S+ of \S+ is up, provider id "([^"]+)"$`)

func (l *Lab) readConsole(nodes map[string]map[string]bool, server string) error {
	owner := l
	for owner.options.Share != nil {
		owner = owner.options.Share
	}
	name := filepath.Join(owner.options.Dir, "consoles", strings.ReplaceAll(server, "/", "_")+".console.log")
	text, err := os.ReadFile(name)
	if os.IsNotExist(err) {
		return nil // it never booted
	}
	if err != nil {
		return fmt.Errorf("read a console: %w", err)
	}
	for _, m := range nodeUp.FindAllSubmatch(text, -1) {
		note(nodes, server, string(m[1]))
	}
	return nil
}
