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
	// MaxLogouts is how many BMCs Close asks at a time, asked when it begins: 10, and one at least.
	MaxLogouts func() int
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
	if o.MaxLogouts == nil {
		o.MaxLogouts = func() int { return 10 }
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

	mu      sync.Mutex
	closed  bool
	clients map[clientKey]*client
	conns   map[connKey]*conn
	// former are the connections that nobody uses any more, by endpoint, shut and in the order in which that was found. The next
	// call to the BMC, LogOut or Close ends their sessions: nothing is asked of a BMC beside its caller's turn.
	former map[string][]*conn
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
		opts: opts, key: key,
		clients: map[clientKey]*client{}, conns: map[connKey]*conn{}, former: map[string][]*conn{},
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
		have.conn.follow(p.takeFormer(endpoint)...)
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
	p.shutUnused()
	shared.follow(p.takeFormer(endpoint)...)
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

// Forget has the next BMC call for the target start anew, for every system there that logs in as it does: also the way to try a
// refused log-in again. What others use at the address stays.
func (p *Pool) Forget(t Target) {
	p.retire(t, func(_ clientKey, same bool) bool { return same })
}

// Release retires the client of a target that is not needed any more, and reports whether its connection leaves a session to be
// ended: with the next call to the BMC, or with LogOut if there is none.
func (p *Pool) Release(t Target) (left bool) {
	return p.retire(t, func(key clientKey, same bool) bool { return same && key.system == t.SystemID })
}

// retire takes out clients at the target's endpoint; same tells which of them log in as it does.
func (p *Pool) retire(t Target, is func(key clientKey, same bool) bool) (left bool) {
	endpoint, err := EndpointKey(t.Address)
	if err != nil {
		return false // never pooled
	}
	t.Timeouts = t.Timeouts.or(p.opts.Timeouts)
	settings := connKey{endpoint, p.settings(t)}
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, c := range p.clients {
		if key.endpoint == endpoint && is(key, c.settings == settings) {
			delete(p.clients, key)
		}
	}
	p.shutUnused()
	return len(p.former[endpoint]) > 0
}

// shutUnused takes out and shuts the connections that no client uses any more. Needs p.mu.
func (p *Pool) shutUnused() {
	used := map[connKey]bool{}
	for _, c := range p.clients {
		used[c.settings] = true
	}
	for key, c := range p.conns {
		if !used[key] {
			delete(p.conns, key)
			c.shut()
			p.former[c.endpoint] = append(p.former[c.endpoint], c)
		}
	}
}

// takeFormer gives what was left at the endpoint to whoever ends it. Needs p.mu.
func (p *Pool) takeFormer(endpoint string) []*conn {
	taken := p.former[endpoint]
	delete(p.former, endpoint)
	return taken
}

// LogOut ends the sessions that nobody uses any more at the address, one request after the other. After an error, which says that
// the BMC cannot be asked now, it may be called again.
func (p *Pool) LogOut(ctx context.Context, address string) error {
	endpoint, err := EndpointKey(address)
	if err != nil {
		return nil //nolint:nilerr // never pooled
	}
	p.mu.Lock()
	taken := p.takeFormer(endpoint)
	p.mu.Unlock()
	for i, c := range taken {
		if err := c.retire(ctx); err != nil {
			p.mu.Lock()
			p.former[endpoint] = append(p.former[endpoint], taken[i:]...)
			p.mu.Unlock()
			return c.fail("log out", err)
		}
	}
	return nil
}

// Close logs out everywhere, MaxLogouts at a time and one request to a BMC, and returns when that is done or
// ctx ends; then with its error, because sessions may be left. No other call may be under way.
func (p *Pool) Close(ctx context.Context) error {
	p.mu.Lock()
	p.closed = true
	clear(p.clients)
	p.shutUnused()
	todo := p.former
	p.former = map[string][]*conn{}
	p.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		slots := make(chan struct{}, max(p.opts.MaxLogouts(), 1))
		var all sync.WaitGroup
		for _, conns := range todo {
			slots <- struct{}{}
			all.Go(func() {
				defer func() { <-slots }()
				for _, c := range conns {
					_ = c.retire(ctx)
				}
			})
		}
		all.Wait()
	}()
	select {
	case <-done:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}
