package redfish

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/beskar7/beskar7/pkg/endpoint"
)

// Options configure a Pool. Zero fields take the defaults named here.
type Options struct {
	// Timeouts fill the zero fields of a Target's: 10 s to connect, 30 s for a
	// request, 2 repeats of a read, 1 s apart.
	Timeouts Timeouts
	// Log gets debug lines about sessions; nil discards them.
	Log *slog.Logger
	// MaxBodyBytes caps an answer: 4 MiB.
	MaxBodyBytes int64
	// IdleTimeout closes unused connections: 75 s, longer than any cooldown or
	// settle time between two operations on one BMC, shorter than the pause between
	// two polls of a BMC that rests. A BMC that closes them sooner costs a new one
	// and nothing else: operations read before they change something.
	IdleTimeout time.Duration
	// MinTLSVersion is a crypto/tls version: TLS 1.2.
	MinTLSVersion uint16
	// Installation names this installation among others that may use the same
	// BMCs, the same in every process of it: such as a UID of its namespace. It
	// marks sessions, so that those of a killed process are found and ended.
	Installation string
	// LogoutTimeout bounds a log-out in the background: 10 s.
	LogoutTimeout time.Duration
	// MaxLogouts is how many of these run at a time, at most one to a BMC: 10.
	MaxLogouts int
	// Reach judges each address before a connection is made to it; nil judges none.
	Reach *endpoint.Policy

	// process tells our sessions from those of earlier processes.
	process string
}

func (o Options) withDefaults() Options {
	o.Timeouts = o.Timeouts.or(Timeouts{Connection: 10 * time.Second, Request: 30 * time.Second, MaxRetries: 2, RetryDelay: time.Second})
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.MaxBodyBytes <= 0 {
		o.MaxBodyBytes = 4 << 20
	}
	if o.IdleTimeout <= 0 {
		o.IdleTimeout = 75 * time.Second
	}
	if o.MinTLSVersion == 0 {
		o.MinTLSVersion = tls.VersionTLS12
	}
	if o.LogoutTimeout <= 0 {
		o.LogoutTimeout = 10 * time.Second
	}
	if o.MaxLogouts <= 0 {
		o.MaxLogouts = 10
	}
	return o
}

// or fills zero fields. A negative MaxRetries means none and stays.
func (t Timeouts) or(d Timeouts) Timeouts {
	if t.Connection <= 0 {
		t.Connection = d.Connection
	}
	if t.Request <= 0 {
		t.Request = d.Request
	}
	if t.MaxRetries == 0 {
		t.MaxRetries = d.MaxRetries
	}
	if t.RetryDelay <= 0 {
		t.RetryDelay = d.RetryDelay
	}
	return t
}

// Pool keeps one client per BMC endpoint and system, and one connection with
// one session per endpoint and credentials.
type Pool struct {
	opts Options
	// key makes fingerprints of targets that say nothing about the password.
	key []byte
	// logouts counts connections being retired in the background, logoutSlots bounds them.
	logouts     sync.WaitGroup
	logoutSlots chan struct{}

	mu      sync.Mutex
	closed  bool
	clients map[clientKey]*client
	conns   map[connKey]*conn
}

type clientKey struct{ endpoint, system string }

type connKey struct {
	endpoint string
	settings [sha256.Size]byte
}

// NewPool makes an empty pool.
func NewPool(opts Options) *Pool {
	key := make([]byte, sha256.Size)
	_, _ = rand.Read(key) // never fails, by its contract
	opts.process = rand.Text()
	opts = opts.withDefaults()
	return &Pool{
		opts: opts, key: key, logoutSlots: make(chan struct{}, opts.MaxLogouts),
		clients: map[clientKey]*client{}, conns: map[connKey]*conn{},
	}
}

// BMC gives the client of the target, without any I/O. The same target gives
// the same client. Where credentials, trust, timeouts or vendor differ from the
// last target of that endpoint and system, the old client is retired: its calls
// end with KindCanceled, and its session is ended with the first call of the new
// one, so that there is one request to the BMC at a time.
func (p *Pool) BMC(t Target) (BMC, error) {
	endpoint, err := EndpointKey(t.Address)
	if err != nil {
		return nil, err
	}
	t.Timeouts = t.Timeouts.or(p.opts.Timeouts)
	key, settings := clientKey{endpoint, t.SystemID}, connKey{endpoint, p.settings(t)}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, errors.New("the pool is closed")
	}
	if have := p.clients[key]; have != nil && have.settings == settings && have.vendorName == t.Vendor {
		return have, nil
	}
	// Only now: a client exists for valid targets alone, and to parse the CA bundle at every poll of every host is felt.
	if err := t.Validate(); err != nil {
		return nil, err
	}
	shared := p.conns[settings]
	if shared == nil {
		if shared, err = newConn(t, endpoint, t.Timeouts, p.opts); err != nil {
			return nil, err
		}
		p.conns[settings] = shared
	}
	if !p.inHand(endpoint, t.Learned.Session) {
		shared.addStale(t.Learned.Session)
	}
	made := newClient(shared, settings, t)
	p.clients[key] = made
	for _, former := range p.unused() {
		if former.endpoint == endpoint {
			shared.follow(former)
			continue
		}
		p.logout(former)
	}
	return made, nil
}

// inHand tells whether the session is one that this process uses. Needs p.mu.
func (p *Pool) inHand(endpoint, record string) bool {
	for key, c := range p.conns {
		if key.endpoint == endpoint && record != "" && c.sessionRecord() == record {
			return true
		}
	}
	return false
}

// settings is what makes two targets of one endpoint need two connections.
func (p *Pool) settings(t Target) [sha256.Size]byte {
	mac := hmac.New(sha256.New, p.key)
	_ = json.NewEncoder(mac).Encode([]any{
		t.Username, string(t.Password), t.CABundle, t.CertificateFingerprint, t.InsecureSkipVerify, t.AllowOldTLS, t.AllowPlain, t.Timeouts,
	}) // a hash does not fail to write
	return [sha256.Size]byte(mac.Sum(nil))
}

// Forget retires every client of the address and logs out in the background.
// The next BMC call starts anew: also the way to try a refused login again.
func (p *Pool) Forget(address string) {
	endpoint, err := EndpointKey(address)
	if err != nil {
		return // never pooled
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for key := range p.clients {
		if key.endpoint == endpoint {
			delete(p.clients, key)
		}
	}
	for _, c := range p.unused() {
		p.logout(c)
	}
}

// unused takes out and shuts the connections that no client uses any more. Needs p.mu.
func (p *Pool) unused() []*conn {
	used := map[connKey]bool{}
	for _, c := range p.clients {
		used[c.settings] = true
	}
	var out []*conn
	for key, c := range p.conns {
		if !used[key] {
			delete(p.conns, key)
			c.shut()
			out = append(out, c)
		}
	}
	return out
}

// logout ends the sessions of connections to one BMC in the background, one after the other.
func (p *Pool) logout(conns ...*conn) {
	p.logouts.Go(func() {
		p.logoutSlots <- struct{}{}
		defer func() { <-p.logoutSlots }()
		for _, c := range conns {
			ctx, cancel := context.WithTimeout(context.Background(), p.opts.LogoutTimeout)
			c.retire(ctx)
			cancel()
		}
	})
}

// Close logs out everywhere, MaxLogouts at a time, and returns when that is done or
// ctx ends; then with its error, because sessions may be left.
func (p *Pool) Close(ctx context.Context) error {
	p.mu.Lock()
	p.closed = true
	clear(p.clients)
	byBMC := map[string][]*conn{}
	for _, c := range p.unused() {
		byBMC[c.endpoint] = append(byBMC[c.endpoint], c)
	}
	for _, conns := range byBMC {
		p.logout(conns...)
	}
	p.mu.Unlock()
	done := make(chan struct{})
	go func() { p.logouts.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
