package bootmedia

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/time/rate"
)

const (
	// missRate and missBurst bound what misses cost in log lines and open
	// connections. A valid token is never held up by them.
	missRate, missBurst = 5, 50
	// defaultStreams: one stream holds one 128 KiB buffer and two connections.
	defaultStreams = 128
	// streamWait is how long a BMC waits for a free stream before it is told
	// to come back: shorter than the patience of the BMCs we know of (15 s).
	streamWait = 10 * time.Second
	// lateWait is how long a replica may be behind the one that gave a token out,
	// and lateMost how many requests wait for that at one time.
	lateWait, lateMost = 2 * time.Second, 16
	lateAgain          = 50 * time.Millisecond
)

// Server serves media and takes phone-homes. It is safe for concurrent use.
type Server struct {
	source   Source
	recorder Recorder
	client   *http.Client
	log      logr.Logger
	now      func() time.Time
	failed   func(host, imageURL string, err error)

	waits      waits
	misses     *rate.Limiter
	suppressed atomic.Int64 // misses not logged since the last one that was
	streams    *streams
	late       chan struct{}

	peers      func(context.Context) []string
	peerClient *http.Client
	warm       atomic.Pointer[string] // the peer that had an image last

	cache    *Cache
	probes   *probes
	overlays *overlays

	notify atomic.Pointer[func(imageURL string)]
	*background
}

// waits are time limits that tests shorten.
type waits struct{ resume, reader, report, cold, again, late time.Duration }

// New makes a server. It starts nothing; Prepare and requests start downloads.
func New(o Options) *Server {
	if o.Client == nil {
		o.Client = NewClient(ClientOptions{})
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.CacheBytes <= 0 {
		o.CacheBytes = 20 << 30
	}
	if o.MaxStreams <= 0 {
		o.MaxStreams = defaultStreams
	}
	if o.HostStreams <= 0 {
		o.HostStreams = min(defaultHostStreams, max(1, o.MaxStreams/4))
	}
	if o.Log.IsZero() {
		o.Log = logr.Discard()
	}
	if o.StreamFailed == nil {
		o.StreamFailed = func(string, string, error) {}
	}
	if o.Peers == nil {
		o.Peers = func(context.Context) []string { return nil }
	}
	if o.PeerClient == nil {
		o.PeerClient = http.DefaultClient
	}
	s := &Server{
		source: o.Source, recorder: o.Recorder, client: imageClient(o.Client), log: o.Log, now: o.Now, failed: o.StreamFailed,
		peers: o.Peers, peerClient: imageClient(o.PeerClient),
		misses: rate.NewLimiter(missRate, missBurst), streams: newStreams(o.MaxStreams, o.HostStreams),
		waits: waits{resume: resumePause, reader: readerStall, report: reportWait, cold: coldWait, again: coldAgain, late: lateWait}, late: make(chan struct{}, lateMost),
	}
	s.background = newBackground()
	s.cache = NewCache(CacheOptions{Dir: o.CacheDir, Bytes: o.CacheBytes, Client: o.Client, Log: o.Log, Now: o.Now,
		Kind: isoKind, Tell: s.tell})
	s.probes = newProbes(o.Now)
	s.overlays = newOverlays(maxOverlayBytes)
	return s
}

// Close ends background work and waits for it. Partial downloads stay on disk
// and are resumed by the next process. Prepare fails after it.
func (s *Server) Close() {
	s.cache.Close()
	s.background.Close()
}

// Notify sets who is called, with the image's URL, when background work on an
// image has ended, well or not. The callback must not block.
func (s *Server) Notify(f func(imageURL string)) { s.notify.Store(&f) }

func (s *Server) tell(imageURL string) {
	if f := s.notify.Load(); f != nil && *f != nil {
		(*f)(imageURL)
	}
}

// Handler serves <prefix>/m/<token>/{boot,config,composed}.iso to GET and HEAD, and
// <prefix>/p/<capability> to POST and PUT, under any prefix a proxy in front of
// it leaves in the path. Everything else is 404.
func (s *Server) Handler() http.Handler { return http.HandlerFunc(s.serve) }

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	// The token is in the path: nothing on the way may keep the page or pass
	// its address on.
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Referrer-Policy", "no-referrer")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if token, file, ok := parseMediumPath(r.URL.Path); ok {
		s.serveMedium(w, r, token, file)
		return
	}
	if key, ok := parsePhonePath(r.URL.Path); ok {
		s.servePhoneHome(w, r, key)
		return
	}
	s.miss(w, "")
}

// miss answers 404, the same for what never was, is over or was revoked. Beyond
// the rate it also closes the connection and is counted instead of logged.
func (s *Server) miss(w http.ResponseWriter, file string) {
	if s.misses.AllowN(s.now(), 1) {
		s.log.Info("no such medium", "file", file, "status", http.StatusNotFound, "notLogged", s.suppressed.Swap(0))
	} else {
		s.suppressed.Add(1)
		w.Header().Set("Connection", "close")
	}
	http.Error(w, "not found", http.StatusNotFound)
}

func (s *Server) serveMedium(w http.ResponseWriter, r *http.Request, token Token, file string) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	grant, err := s.granted(r.Context(), token)
	if mayBeLate(err) && r.Header.Get(passedOn) == "" {
		grant, err = s.grantedSoon(r.Context(), token, err)
	}
	switch {
	case errors.Is(err, ErrUnknown):
		s.overlays.end(token.Hash())
		s.miss(w, file)
		return
	case errors.Is(err, ErrNotYet):
		s.log.V(1).Info("medium not served yet", "file", file, "reason", err.Error())
		unavailable(w, "try again")
		return
	case err != nil:
		s.log.Error(err, "look up medium", "file", file)
		unavailable(w, "try again")
		return
	}
	rec := &recorder{ResponseWriter: w, going: s.readerTakes(w)}
	rec.closed.Store(grant.Closed)
	rec.still = s.stillGranted(r.Context(), token, &rec.closed)
	err = s.warmly(rec, r, grant.Host, mediumURL("", token, file), func() error {
		switch file {
		case configFile:
			return s.serveConfig(rec, r, grant, token)
		case composedFile:
			return s.serveComposed(rec, r, grant, token)
		}
		return s.serveBoot(rec, r, grant)
	})
	err = cmp.Or(err, rec.ended)
	s.access(r, rec, grant.Host, file, err)
}

// granted is what a token stands for now; ErrUnknown when it is expired, too.
func (s *Server) granted(ctx context.Context, token Token) (Grant, error) {
	grant, err := s.source.Grant(ctx, token.Hash())
	if err == nil && !grant.Expires.IsZero() && !s.now().Before(grant.Expires) {
		err = errExpired
	}
	return grant, err
}

// mayBeLate: this replica may only be late to learn what makes the answer another.
func mayBeLate(err error) bool {
	return errors.Is(err, ErrUnknown) && !errors.Is(err, errExpired) || errors.Is(err, ErrNotYet)
}

var errExpired = fmt.Errorf("%w: expired", ErrUnknown)

// grantedSoon waits a little for a token to become known. The replica that gave
// it out may have been quicker to tell the BMC than the API server was to tell
// this one, and a BMC does not come back after a 404. Only few may wait, so that
// those who guess do not fill us with connections.
func (s *Server) grantedSoon(ctx context.Context, token Token, late error) (Grant, error) {
	select {
	case s.late <- struct{}{}:
		defer func() { <-s.late }()
	default:
		return Grant{}, late
	}
	giveUp := time.NewTimer(s.waits.late)
	defer giveUp.Stop()
	for {
		grant, err := s.granted(ctx, token)
		if !mayBeLate(err) {
			return grant, err
		}
		again := time.NewTimer(lateAgain)
		select {
		case <-again.C:
			continue
		case <-giveUp.C:
		case <-ctx.Done():
		}
		again.Stop()
		return Grant{}, err
	}
}

func (s *Server) serveConfig(w *recorder, r *http.Request, g Grant, token Token) error {
	if l := families[g.Content.Family].layout; l == layoutNone || l == layoutEmbed || g.Content.Rendered != nil && g.Content.Rendered.Drive == nil {
		http.Error(w, "not found", http.StatusNotFound)
		return nil
	}
	d, err := s.configDrive(r.Context(), contentFor(g, token))
	if cold, ok := errors.AsType[*coldError](err); ok {
		return cold
	}
	if err != nil {
		http.Error(w, "the medium cannot be built", http.StatusInternalServerError)
		return err
	}
	serveISO(w, r, d.ETag(), d.Size(), newSection(closable{d, w.closed.Load}, d.Size()))
	return nil
}

func (s *Server) configDrive(ctx context.Context, c Content) (*Drive, error) {
	if c.Rendered != nil {
		return ConfigDrive(c)
	}
	var err error
	if c.Looks, err = s.looksFor(ctx, c); err != nil {
		return nil, &coldError{err}
	}
	return ConfigDrive(c)
}

// Ended forgets what is kept for a token, given its recorded hash, that is worth
// nothing any more. Nobody needs to call it for what is served to be right.
func (s *Server) Ended(tokenHash string) { s.overlays.end(tokenHash) }

// contentFor is the content of a grant, with the phone-home of the token that was used.
func contentFor(g Grant, token Token) Content {
	c := g.Content
	if c.PhoneHomeURL == "" && g.PhoneHomeBase != "" {
		c.PhoneHomeURL = PhoneHomeURL(g.PhoneHomeBase, token)
	}
	return c
}

// looksFor looks into the image where a drive beside it depends on what is in it.
func (s *Server) looksFor(ctx context.Context, c Content) (*ImageLooksLike, error) {
	if !families[c.Family].talosKeys {
		return nil, nil
	}
	p, err := s.Prepare(ctx, c.ImageURL, c.Checksum)
	if err == nil && !p.Ready {
		err = errNotReady
	}
	return &p.Looks, err
}

// unavailable asks the BMC to come back; those that do not know Retry-After
// try again by themselves.
func unavailable(w http.ResponseWriter, text string) {
	w.Header().Set("Retry-After", "5")
	http.Error(w, text, http.StatusServiceUnavailable)
}

// access writes the access log. Small ranged reads come by the ten thousand, so
// a plain success of one is for the debug level.
func (s *Server) access(r *http.Request, rec *recorder, host, file string, err error) {
	fields := []any{"host", host, "file", file, "method", r.Method, "range", clip(r.Header.Get("Range"), 64), "bytes", rec.bytes, "status", rec.status}
	switch {
	case err != nil:
		s.log.Error(err, "medium not served", append(fields, "cause", causeOf(err))...)
	case rec.status == http.StatusPartialContent:
		s.log.V(1).Info("medium served", fields...)
	default:
		s.log.Info("medium served", fields...)
	}
}

func clip(s string, n int) string {
	if len(s) > n {
		return strings.ToValidUTF8(s[:n], "") + "…"
	}
	return s
}

// parsePhonePath reads the last two elements of a path, p/<capability>.
func parsePhonePath(path string) (string, bool) {
	rest, key, ok := cutLast(path)
	if !ok || !validSecret(key) || !strings.HasSuffix(rest, "/p") {
		return "", false
	}
	return key, true
}

// mib is a size for a person.
func mib(n int64) string { return strconv.FormatInt((n+1<<20-1)>>20, 10) }
