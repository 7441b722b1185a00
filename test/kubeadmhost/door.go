package kubeadmhost

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// door is a TLS socket that serves HTTP for one or several control planes. Every
// connection belongs to one of them and dies with it.
type door struct {
	listener net.Listener
	server   *http.Server
	// pick names the control plane for a new connection; nil refuses it. It must
	// not take cluster.mu: a door is closed while that is held.
	pick func() *member

	mu     sync.Mutex
	closed bool
	conns  map[*doorConn]struct{}
}

// doorConn is a connection that a control plane serves.
type doorConn struct {
	net.Conn
	door *door
	to   *member
}

func (c *doorConn) Close() error {
	c.door.mu.Lock()
	delete(c.door.conns, c)
	c.door.mu.Unlock()
	return c.Conn.Close()
}

// openDoor listens on address and serves until close. configFor gives the TLS
// settings of the control plane that a connection belongs to.
func openDoor(ctx context.Context, address string, handler http.Handler, pick func() *member, configFor func(*member) *tls.Config, log *slog.Logger, wg *sync.WaitGroup) (*door, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("open control plane socket: %w", err)
	}
	d := &door{listener: listener, pick: pick, conns: map[*doorConn]struct{}{}}
	d.server = &http.Server{
		Handler:           handler,
		ConnContext:       withMember,
		ReadHeaderTimeout: 30 * time.Second,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		TLSConfig: &tls.Config{
			MinVersion: tls.VersionTLS12,
			GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
				conn, ok := hello.Conn.(*doorConn)
				if !ok {
					return nil, fmt.Errorf("connection of an unknown kind %T", hello.Conn)
				}
				return configFor(conn.to), nil
			},
		},
	}
	wg.Go(func() {
		// It ends when close closes the listener; that is its only way to end.
		err := d.server.ServeTLS(acceptor{d}, "", "")
		log.Debug("control plane socket closed", "address", listener.Addr().String(), "reason", err)
	})
	return d, nil
}

// acceptor assigns accepted connections to control planes.
type acceptor struct{ door *door }

func (a acceptor) Close() error   { return a.door.listener.Close() }
func (a acceptor) Addr() net.Addr { return a.door.listener.Addr() }

func (a acceptor) Accept() (net.Conn, error) {
	for {
		raw, err := a.door.listener.Accept()
		if err != nil {
			return nil, err
		}
		if conn := a.door.admit(raw); conn != nil {
			return conn, nil
		}
		_ = raw.Close()
	}
}

func (d *door) admit(raw net.Conn) *doorConn {
	d.mu.Lock()
	defer d.mu.Unlock()
	to := d.pick()
	if d.closed || to == nil {
		return nil
	}
	conn := &doorConn{Conn: raw, door: d, to: to}
	d.conns[conn] = struct{}{}
	return conn
}

// drop closes the connections of one control plane.
func (d *door) drop(to *member) { d.closeConns(func(c *doorConn) bool { return c.to == to }) }

// close frees the port and closes every connection, upgraded ones included.
func (d *door) close() {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	_ = d.listener.Close()
	_ = d.server.Close()
	d.closeConns(func(*doorConn) bool { return true })
}

func (d *door) closeConns(matches func(*doorConn) bool) {
	d.mu.Lock()
	var doomed []net.Conn
	for conn := range d.conns {
		if matches(conn) {
			doomed = append(doomed, conn.Conn)
			delete(d.conns, conn)
		}
	}
	d.mu.Unlock()
	for _, conn := range doomed {
		_ = conn.Close()
	}
}

func (d *door) address() string { return d.listener.Addr().String() }
