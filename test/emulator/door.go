package emulator

import (
	"crypto/tls"
	"net"
	"sync"
	"sync/atomic"
)

// door is where connections come in: faults of TCP and TLS stand here.
type door struct {
	tls atomic.Pointer[tls.Config]
	// dropsIdle closes a connection when its answer is out, without saying so.
	dropsIdle atomic.Bool

	mu sync.Mutex
	// parks: connections are accepted and left alone.
	parks  bool
	parked []net.Conn
}

// open sets the certificate unless a fault set another one.
func (d *door) open(c *tls.Config) { d.tls.CompareAndSwap(nil, c) }

// park begins or ends leaving connections alone; at the end those that were are
// closed.
func (d *door) park(on bool) {
	d.mu.Lock()
	d.parks = on
	d.mu.Unlock()
	if !on {
		d.drop()
	}
}

// drop closes the connections that were left alone.
func (d *door) drop() {
	d.mu.Lock()
	parked := d.parked
	d.parked = nil
	d.mu.Unlock()
	for _, c := range parked {
		_ = c.Close()
	}
}

func (d *door) take(c net.Conn) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.parks {
		d.parked = append(d.parked, c)
	}
	return d.parks
}

// entrance is the listener behind the door.
type entrance struct {
	net.Listener
	door *door
}

// Accept implements net.Listener.
func (e *entrance) Accept() (net.Conn, error) {
	for {
		c, err := e.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if !e.door.take(c) {
			return tls.Server(c, e.door.tls.Load()), nil
		}
	}
}
