package machine

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
)

// monitor is a connection to QEMU's machine protocol (QMP).
type monitor struct {
	conn net.Conn
	out  *json.Encoder
	// over is closed when the connection ended; after that ending may be read.
	over chan struct{}

	mu      sync.Mutex
	next    int
	pending map[int]chan error
	ending  string
}

// message is what QEMU sends: a greeting, an answer, or an event.
type message struct {
	ID     *int            `json:"id"`
	Return json.RawMessage `json:"return"`
	Error  *struct {
		Desc string `json:"desc"`
	} `json:"error"`
	Event string `json:"event"`
	Data  struct {
		Reason string `json:"reason"`
	} `json:"data"`
}

var errMonitorOver = errors.New("the machine is off")

// newMonitor speaks QMP over a connection, and leaves the negotiation behind it.
func newMonitor(conn net.Conn) (*monitor, error) {
	m := &monitor{conn: conn, out: json.NewEncoder(conn), over: make(chan struct{}), pending: map[int]chan error{}}
	go m.listen()
	if err := m.execute("qmp_capabilities"); err != nil {
		_ = conn.Close()
		<-m.over
		return nil, fmt.Errorf("negotiate with the monitor: %w", err)
	}
	return m, nil
}

// listen reads until the connection ends.
func (m *monitor) listen() {
	defer close(m.over)
	defer m.abandon()
	in := json.NewDecoder(m.conn)
	for {
		var got message
		if err := in.Decode(&got); err != nil {
			return
		}
		switch {
		case got.Event == "SHUTDOWN":
			m.mu.Lock()
			if m.ending == "" {
				m.ending = got.Data.Reason
			}
			m.mu.Unlock()
		case got.ID != nil:
			var err error
			if got.Error != nil {
				err = errors.New(got.Error.Desc)
			}
			m.settle(*got.ID, err)
		}
	}
}

func (m *monitor) settle(id int, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c := m.pending[id]; c != nil {
		delete(m.pending, id)
		c <- err
	}
}

// abandon answers every command that QEMU no longer will.
func (m *monitor) abandon() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.pending {
		c <- errMonitorOver
	}
	m.pending = nil
}

// execute runs a command without arguments and waits for its answer.
func (m *monitor) execute(command string) error {
	answer := make(chan error, 1)
	m.mu.Lock()
	if m.pending == nil {
		m.mu.Unlock()
		return errMonitorOver
	}
	m.next++
	id := m.next
	m.pending[id] = answer
	err := m.out.Encode(map[string]any{"execute": command, "id": id})
	m.mu.Unlock()
	if err != nil {
		m.settle(id, err)
	}
	return <-answer
}

// reason is why QEMU said that the machine went off ("guest-reset", "guest-shutdown", …); empty when it did not say. To be asked
// after over was closed.
func (m *monitor) reason() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ending
}
