package emulator

import (
	"crypto/tls"
	"net"
	"net/http"
	"time"
)

func connectionFaults() []*fault {
	return []*fault{
		{Fault: Fault{Group: "connection", Name: "refused", Does: "the port is closed"},
			start: func(b *BMC, _ *active) error { return b.unplugLocked(true) },
			stop:  func(b *BMC, _ *active) { b.comeBackLocked() }},
		{Fault: Fault{Group: "connection", Name: "half-open", Does: "connections are accepted, and nothing is said, not even TLS"},
			start: func(b *BMC, _ *active) error { b.door.park(true); b.breakLocked(); return nil },
			stop:  func(b *BMC, _ *active) { b.door.park(false) }},
		{Fault: Fault{Group: "connection", Name: "idle-drop", Does: "a connection is closed after each answer without a word", Source: "sushy note on connection pooling"},
			start: func(b *BMC, _ *active) error { b.door.dropsIdle.Store(true); return nil },
			stop:  func(b *BMC, _ *active) { b.door.dropsIdle.Store(false) }},
		{Fault: Fault{Group: "connection", Name: "reset", Does: "the connection breaks before the BMC acts"},
			before: func(x *exchange, _ *active) bool { x.reset(); return true }},
		{Fault: Fault{Group: "connection", Name: "drop-reply", Does: "the BMC acts, then the connection breaks without an answer"},
			spoil: func(_ *exchange, _ *active, r *reply) { r.lost = true }},
		{Fault: Fault{Group: "connection", Name: "hang", Does: "requests are read and never answered; the BMC does not act"},
			before: func(x *exchange, a *active) bool {
				x.drain()
				select {
				case <-x.r.Context().Done():
				case <-a.done:
				}
				x.hangUp()
				return true
			}},
		{Fault: Fault{Group: "connection", Name: "slow", Does: "every request is acted on and answered later by the argument, also when the client is gone by then", Arg: "duration", Default: "2s"}, kind: argDuration,
			before: func(x *exchange, a *active) bool {
				x.drain()
				// A BMC goes on when its client hangs up: late effects are the point.
				t := time.NewTimer(a.duration)
				defer t.Stop()
				select {
				case <-t.C:
				case <-a.done:
				}
				return false
			}},
		{Fault: Fault{Group: "connection", Name: "drip", Does: "answers come byte by byte with a pause after each", Arg: "duration", Default: "100ms", Source: "field notes: slow-loris"}, kind: argDuration,
			spoil: func(_ *exchange, a *active, r *reply) { r.drip = a.duration }},
		{Fault: Fault{Group: "connection", Name: "cert-changed", Does: "another certificate, signed by nobody", Source: "field notes: TLS"},
			start: func(b *BMC, a *active) error { return b.recertify(a, time.Hour, 0) }, stop: (*BMC).uncertify},
		{Fault: Fault{Group: "connection", Name: "cert-expired", Does: "a certificate of the right CA that ended yesterday", Source: "field notes: TLS"},
			start: func(b *BMC, a *active) error { return b.recertify(a, -24*time.Hour, 0) }, stop: (*BMC).uncertify},
		{Fault: Fault{Group: "connection", Name: "tls-old", Does: "TLS 1.1 at most", Source: "field notes: TLS"},
			start: func(b *BMC, a *active) error { return b.recertify(a, 0, tls.VersionTLS11) }, stop: (*BMC).uncertify},
	}
}

// comeBackLocked plugs in again when its port is free, and stays out of the way
// of a hand at the plug.
func (b *BMC) comeBackLocked() {
	if !b.closed && b.unplugLocked(false) != nil {
		b.physics.reboots++
		turn := b.physics.reboots
		b.laterLocked(20*time.Millisecond, turn, func() { b.comeUpLocked(cause{who: ByOutside}, turn) })
	}
}

// breakLocked breaks all open connections.
func (b *BMC) breakLocked() {
	if b.server == nil {
		return
	}
	_ = b.unplugLocked(true)
	b.comeBackLocked()
}

// reset breaks the connection with a RST where it can.
func (x *exchange) reset() {
	conn, _, err := http.NewResponseController(x.w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	if t, ok := conn.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	_ = conn.Close()
}

// recertify serves another certificate: one that ends left from now and, when
// it is still valid, is signed by nobody the client knows; or, with left 0,
// the same one at a TLS version.
func (b *BMC) recertify(a *active, left time.Duration, version uint16) error {
	was := b.door.tls.Load()
	c := b.fleet.authority.tls.Clone()
	if version != 0 {
		c.MinVersion, c.MaxVersion = tls.VersionTLS10, version
	}
	if left != 0 {
		authority := b.fleet.authority
		if left > 0 {
			var err error
			if authority, err = newAuthority(); err != nil {
				return err
			}
		}
		cert, err := authority.issue(b.spec.IP, time.Now().Add(left))
		if err != nil {
			return err
		}
		c.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return cert, nil }
	}
	a.undo = was
	b.door.tls.Store(c)
	b.breakLocked()
	return nil
}

func (b *BMC) uncertify(a *active) {
	if was, ok := a.undo.(*tls.Config); ok {
		b.door.tls.Store(was)
		if !b.closed {
			b.breakLocked()
		}
	}
}
