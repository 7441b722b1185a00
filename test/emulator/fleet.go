package emulator

import (
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Timings are how long the hardware takes. A zero field means its default, a
// negative one means no time at all.
type Timings struct {
	// PowerOn is spent in PoweringOn (default 300 ms), PowerOff in PoweringOff
	// (300 ms), POST between power On and the boot (500 ms).
	PowerOn, PowerOff, POST time.Duration
	// Request is added to every answer (2 ms).
	Request time.Duration
	// MediaTimeout bounds each HTTP request of a BMC for an image (10 s).
	MediaTimeout time.Duration
	// SessionTimeout is the idle time after which a session ends (30 min),
	// rounded up to seconds where Redfish shows it.
	SessionTimeout time.Duration
	// Lockout is how long an account stays locked (60 s).
	Lockout time.Duration
	// Reboot is how long a restart of the BMC itself takes (500 ms).
	Reboot time.Duration
	// Scale multiplies the times that are facts of a persona, such as the
	// minute in which an iDRAC 10 refuses On (0.01).
	Scale float64
}

func (t Timings) withDefaults() Timings {
	set := func(d *time.Duration, def time.Duration) {
		if *d == 0 {
			*d = def
		}
		*d = max(*d, 0)
	}
	set(&t.PowerOn, 300*time.Millisecond)
	set(&t.PowerOff, 300*time.Millisecond)
	set(&t.POST, 500*time.Millisecond)
	set(&t.Request, 2*time.Millisecond)
	set(&t.MediaTimeout, 10*time.Second)
	set(&t.SessionTimeout, 30*time.Minute)
	set(&t.Lockout, 60*time.Second)
	set(&t.Reboot, 500*time.Millisecond)
	if t.Scale == 0 {
		t.Scale = 0.01
	}
	t.Scale = max(t.Scale, 0)
	return t
}

// Options of a Fleet. The zero value works.
type Options struct {
	// Log gets every event at debug level; nil is silent. Its handler must not
	// call methods of a BMC.
	Log     *slog.Logger
	Timings Timings
	// Guest makes the software of a server when it is added; nil, or a nil
	// Guest, is a server whose system never comes up.
	Guest func(Identity) Guest
	// MediaTrust are the CAs the BMCs trust for https media; nil trusts none.
	MediaTrust *x509.CertPool
	// KeepRequests keeps every request for BMC.RequestLog and Judge, not only
	// the changing ones.
	KeepRequests bool
}

// Fleet is a set of emulated servers in this process. All methods are safe for
// concurrent use.
type Fleet struct {
	log        *slog.Logger
	timings    Timings
	guest      func(Identity) Guest
	trust      atomic.Pointer[x509.CertPool]
	authority  *authority
	started    time.Time
	eventSeq   atomic.Uint64
	requestSeq atomic.Uint64
	inFlight   meter
	// sessionTimeout is what the options say, 0 for each persona's own.
	sessionTimeout time.Duration
	keepRequests   bool
	// running counts power cycles, whose goroutines may be inside a Guest.
	running sync.WaitGroup

	mu     sync.Mutex
	closed bool
	bmcs   []*BMC
	byName map[string]*BMC
	nextIP netip.Addr
	usedIP map[string]bool
}

// closeGrace is how long Close waits for guests to notice that they lost power.
const closeGrace = 10 * time.Second

// New makes an empty fleet with a CA of its own.
func New(o Options) (*Fleet, error) {
	a, err := newAuthority()
	if err != nil {
		return nil, fmt.Errorf("make fleet CA: %w", err)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	f := &Fleet{
		log: o.Log, timings: o.Timings.withDefaults(), guest: o.Guest, authority: a, started: time.Now(),
		sessionTimeout: max(o.Timings.SessionTimeout, 0), keepRequests: o.KeepRequests,
		byName: map[string]*BMC{}, usedIP: map[string]bool{}, nextIP: netip.MustParseAddr("127.77.0.1"),
	}
	f.SetMediaTrust(o.MediaTrust)
	return f, nil
}

// SetMediaTrust replaces the CAs the BMCs trust for https media; nil trusts
// none. The pool must not be changed afterwards.
func (f *Fleet) SetMediaTrust(pool *x509.CertPool) {
	if pool == nil {
		pool = x509.NewCertPool()
	}
	f.trust.Store(pool)
}

// CAPEM returns the certificate that signed every BMC's serving certificate.
func (f *Fleet) CAPEM() []byte { return append([]byte(nil), f.authority.pem...) }

// Add makes a server and plugs in its BMC, which then answers at BMC.URL. The
// name must be new, the address free, the persona known.
func (f *Fleet) Add(spec Spec) (*BMC, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, errors.New("fleet is closed")
	}
	if spec.Name == "" || f.byName[spec.Name] != nil {
		return nil, fmt.Errorf("server name %q is empty or taken", spec.Name)
	}
	var front *BMC
	if spec.Behind != "" {
		if front = f.byName[spec.Behind]; front == nil {
			return nil, fmt.Errorf("server %s: there is no server %q to be behind", spec.Name, spec.Behind)
		}
		front, spec.IP = front.front, front.spec.IP
	}
	ip, err := f.addressLocked(spec.IP)
	if err != nil {
		return nil, fmt.Errorf("server %s: %w", spec.Name, err)
	}
	spec.IP = ip
	b, err := newBMC(f, spec, front)
	if err != nil {
		return nil, fmt.Errorf("server %s: %w", spec.Name, err)
	}
	f.usedIP[ip] = true
	f.byName[spec.Name] = b
	f.bmcs = append(f.bmcs, b)
	return b, nil
}

// addressLocked checks the wanted address, or finds the next one that no BMC
// of this fleet was given. Addresses may be shared with other processes: ports
// tell them apart.
func (f *Fleet) addressLocked(want string) (string, error) {
	if want != "" {
		ip, err := netip.ParseAddr(want)
		if err != nil || !ip.IsLoopback() {
			return "", fmt.Errorf("address %q is no loopback address", want)
		}
		return ip.String(), nil
	}
	for {
		ip := f.nextIP
		f.nextIP = ip.Next()
		if !ip.IsLoopback() {
			return "", errors.New("no loopback address left")
		}
		last := ip.As4()[3]
		if last != 0 && last != 255 && !f.usedIP[ip.String()] {
			return ip.String(), nil
		}
	}
}

// BMCs returns all BMCs in the order they were added.
func (f *Fleet) BMCs() []*BMC {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]*BMC(nil), f.bmcs...)
}

// Get returns the BMC of that name, or nil.
func (f *Fleet) Get(name string) *BMC {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.byName[name]
}

// MaxInFlight is the highest number of requests that were inside BMCs of this
// fleet at the same time.
func (f *Fleet) MaxInFlight() int { return f.inFlight.highest() }

// Close cuts the power of all servers, unplugs all BMCs and waits for guests to
// return, 10 s at most: the error says that some did not.
func (f *Fleet) Close() error {
	f.mu.Lock()
	f.closed = true
	bmcs := f.bmcs
	f.mu.Unlock()
	for _, b := range bmcs {
		b.close()
	}
	done := make(chan struct{})
	go func() { f.running.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-time.After(closeGrace):
		return errors.New("close fleet: a guest still runs after its power was cut")
	}
}

// meter counts what is in flight and remembers the highest count.
type meter struct{ now, high atomic.Int64 }

func (m *meter) enter() {
	n := m.now.Add(1)
	for {
		h := m.high.Load()
		if n <= h || m.high.CompareAndSwap(h, n) {
			return
		}
	}
}
func (m *meter) leave()       { m.now.Add(-1) }
func (m *meter) highest() int { return int(m.high.Load()) }

// localIP is the address a connection was accepted on.
func localIP(c net.Conn) string {
	if a, ok := c.LocalAddr().(*net.TCPAddr); ok {
		return a.IP.String()
	}
	return ""
}
