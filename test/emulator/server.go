package emulator

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Limits of the HTTP side.
const (
	maxBody       = 1 << 20
	headerTimeout = 30 * time.Second
	// keepAlive is short, so that thousands of idle BMCs hold no connections.
	keepAlive = 15 * time.Second
)

// listenLocked plugs the BMC in at host:port; port 0 takes a free one.
func (b *BMC) listenLocked(addr string) error {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("listen for BMC: %w", err)
	}
	b.addr = ln.Addr().String()
	b.server = &http.Server{
		Handler: http.HandlerFunc(b.serve), ReadHeaderTimeout: headerTimeout, IdleTimeout: keepAlive,
		MaxHeaderBytes: 16 << 10,
		// Failed handshakes are the client's business.
		ErrorLog: log.New(io.Discard, "", 0),
		ConnState: func(c net.Conn, s http.ConnState) {
			switch s {
			case http.StateNew:
				b.mu.Lock()
				b.count.Connections++
				b.mu.Unlock()
			case http.StateIdle:
				if b.door.dropsIdle.Load() {
					_ = c.Close()
				}
			case http.StateActive, http.StateHijacked, http.StateClosed:
			}
		},
	}
	srv := b.server
	b.listener = ln
	b.door.open(b.fleet.authority.tls)
	go func() { _ = srv.Serve(&entrance{Listener: ln, door: &b.door}) }()
	return nil
}

func (b *BMC) unlistenLocked() {
	if b.server != nil {
		// The listener first and by ourselves: the server may not know it yet.
		_ = b.listener.Close()
		_ = b.server.Close()
		b.door.drop()
		b.server = nil
	}
}

// doc is a JSON object. Its keys are marshalled in order, so that equal
// resources have equal ETags.
type doc map[string]any

// call is one request being answered.
type call struct {
	// b is the server it is about, front the BMC that answers.
	b, front *BMC
	user     string
	w        http.ResponseWriter
	r        *http.Request
	by       cause
	body     map[string]json.RawMessage
	// bare: there was no body at all.
	bare bool
}

// recorder remembers the status (0 while nothing was written) and lets a fault
// hook hijack.
type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(code int) { r.status = code; r.ResponseWriter.WriteHeader(code) }

func (r *recorder) Write(p []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(p)
}

func (r *recorder) Unwrap() http.ResponseWriter {
	return r.ResponseWriter
}

// Hijack implements http.Hijacker.
func (r *recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return http.NewResponseController(r.ResponseWriter).Hijack()
}

type requestKey struct{}

// serve counts, delays and answers a request.
func (b *BMC) serve(w http.ResponseWriter, r *http.Request) {
	rec := &recorder{ResponseWriter: w}
	id, intercept := b.arrived(r)
	defer func() { b.left(id, rec.status) }()
	t := time.NewTimer(b.fleet.timings.Request)
	select {
	case <-t.C:
	case <-r.Context().Done():
		t.Stop()
		return
	}
	r = r.WithContext(context.WithValue(r.Context(), requestKey{}, id))
	if intercept != nil && intercept(rec, r) {
		return
	}
	b.answerFaulty(rec, r)
}

// Answer lets the BMC act on a request and writes its answer to w: what happens
// to every request that no fault hook took. For use by fault hooks.
func (b *BMC) Answer(w http.ResponseWriter, r *http.Request) {
	b = b.front
	id, _ := r.Context().Value(requestKey{}).(uint64)
	rec := &recorder{ResponseWriter: w}
	defer func() { b.answered(id, rec.status) }()
	path := cleanPath(r.URL.Path)
	owner, n := b.lookup(path)
	c := &call{b: owner, front: b, w: rec, r: r, by: cause{who: ByRedfish, req: id}}
	if n != nil && c.slashed() || n == nil && c.named(path) {
		return
	}
	isLogin := path == b.sessionsPath() && r.Method == http.MethodPost && n != nil
	public := n != nil && n.public && (r.Method == http.MethodGet || r.Method == http.MethodHead)
	if !isLogin && !public && !c.authenticate() {
		return
	}
	if n == nil || b.missing(path) {
		c.fail(http.StatusNotFound, msgNotFound(path))
		return
	}
	for q := range r.URL.Query() {
		if strings.HasPrefix(q, "$") {
			c.fail(http.StatusNotImplemented, msgQuery(q))
			return
		}
	}
	c.dispatch(path, n)
}

func cleanPath(p string) string {
	if len(p) > 1 {
		p = strings.TrimSuffix(p, "/")
	}
	return p
}

// dispatch calls the node's handler of the method.
func (c *call) dispatch(path string, n *node) {
	handlers := map[string]func(*call){http.MethodPatch: n.patch, http.MethodPost: n.post, http.MethodDelete: n.delete}
	if n.view != nil {
		get := func(c *call) { c.get(path, n) }
		handlers[http.MethodGet], handlers[http.MethodHead] = get, get
	}
	h := handlers[c.r.Method]
	if h == nil {
		var allow []string
		for m, f := range handlers {
			if f != nil {
				allow = append(allow, m)
			}
		}
		slices.Sort(allow)
		c.w.Header().Set("Allow", strings.Join(allow, ", "))
		c.fail(http.StatusMethodNotAllowed, msgMethod(c.r.Method))
		return
	}
	changing := c.r.Method != http.MethodGet && c.r.Method != http.MethodHead
	if changing && (!c.precondition(path, n) || !c.readBody()) {
		return
	}
	h(c)
}

// view is the current representation of a node and its ETag.
func (c *call) view(path string, n *node) ([]byte, string) {
	c.b.mu.Lock()
	raw, err := c.b.slashedDoc(n.view())
	c.b.mu.Unlock()
	if err != nil {
		panic(fmt.Sprintf("emulator: resource %s: %v", path, err))
	}
	sum := sha256.Sum256(raw)
	tag := `"` + hex.EncodeToString(sum[:8]) + `"`
	if c.b.kind().http.etag == etagWeak {
		tag = "W/" + tag
	}
	return raw, tag
}

// slashed sends the client of a persona whose URIs end in a slash there.
func (c *call) slashed() bool {
	p := c.r.URL.Path
	if !c.front.kind().http.slash || strings.HasSuffix(p, "/") || !strings.HasPrefix(p, root) {
		return false
	}
	c.w.Header().Set("Location", p+"/")
	c.answer(http.StatusPermanentRedirect, nil)
	return true
}

// named sends the client of a persona whose systems are known by name to the system's own path.
func (c *call) named(p string) bool {
	if !c.front.kind().byName {
		return false
	}
	c.front.mu.Lock()
	servers := c.front.serversLocked()
	c.front.mu.Unlock()
	for _, b := range servers {
		if rest, ok := strings.CutPrefix(p, root+"/Systems/"+b.spec.Name); ok && (rest == "" || rest[0] == '/') {
			c.w.Header().Set("Location", b.systemPath()+rest)
			c.answer(http.StatusTemporaryRedirect, nil)
			return true
		}
	}
	return false
}

func (c *call) get(path string, n *node) {
	raw, tag := c.view(path, n)
	raw = c.b.shape(c.r, path, raw)
	if n.patch != nil {
		c.w.Header().Set("Allow", "GET, HEAD, PATCH")
	}
	switch c.b.kind().http.etag {
	case etagNone:
	case etagEmpty:
		c.w.Header().Set("ETag", "")
	default:
		c.w.Header().Set("ETag", tag)
	}
	if n.status != 0 {
		c.write(n.status, raw)
		return
	}
	if c.r.Header.Get("If-None-Match") == tag {
		c.w.WriteHeader(http.StatusNotModified)
		return
	}
	c.write(http.StatusOK, raw)
}

// precondition checks If-Match when it was sent; an action's tag is that of
// the resource it belongs to.
func (c *call) precondition(path string, n *node) bool {
	want, form := c.r.Header.Get("If-Match"), c.b.kind().http
	if want == "" && form.needTag && c.r.Method == http.MethodPatch {
		c.fail(http.StatusPreconditionRequired, msgTagNeeded())
		return false
	}
	if want != "" && (form.refuseTag && n.owner != "" || c.front.use("etag-mismatch", c.r)) {
		c.fail(http.StatusPreconditionFailed, msgPrecondition())
		return false
	}
	if want == "" || want == "*" {
		return true
	}
	if n.owner != "" {
		path, n = n.owner, c.b.nodes()[n.owner]
	}
	if n.view == nil {
		return true
	}
	_, tag := c.view(path, n)
	for t := range strings.SplitSeq(want, ",") {
		if strings.TrimSpace(t) == tag {
			return true
		}
	}
	c.fail(http.StatusPreconditionFailed, msgPrecondition())
	return false
}

// readBody reads the JSON object of a changing request. No body is an empty object.
func (c *call) readBody() bool {
	raw, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, maxBody))
	if err != nil {
		c.fail(http.StatusRequestEntityTooLarge, msgMalformed())
		return false
	}
	if len(strings.TrimSpace(string(raw))) == 0 {
		c.body, c.bare = map[string]json.RawMessage{}, true
		return true
	}
	if err := json.Unmarshal(raw, &c.body); err != nil || c.body == nil {
		c.fail(http.StatusBadRequest, msgMalformed())
		return false
	}
	return true
}

// text is a string member of the body.
func (c *call) text(name string) (string, bool) {
	var s *string
	if json.Unmarshal(c.body[name], &s) != nil || s == nil {
		return "", false
	}
	return *s, true
}

// number is an integer member of the body.
func (c *call) number(name string) (int, bool) {
	var n *int
	if json.Unmarshal(c.body[name], &n) != nil || n == nil {
		return 0, false
	}
	return *n, true
}

// only answers 400 unless all members of the body are among those named.
func (c *call) only(names ...string) bool {
	var ms []message
	for name := range c.body {
		if !slices.Contains(names, name) {
			ms = append(ms, msgUnknownProperty(name))
		}
	}
	if len(ms) > 0 {
		c.fail(http.StatusBadRequest, ms...)
	}
	return len(ms) == 0
}

func (c *call) fail(status int, ms ...message) { c.answer(status, c.b.kind().errors.body(ms...)) }

// answer writes a JSON body, or none.
func (c *call) answer(status int, d doc) {
	if d == nil {
		c.headers()
		c.w.WriteHeader(status)
		return
	}
	raw, err := json.Marshal(d)
	if err != nil {
		panic(fmt.Sprintf("emulator: answer %d: %v", status, err))
	}
	c.write(status, raw)
}

func (c *call) headers() {
	h := c.w.Header()
	h.Set("OData-Version", "4.0")
	h.Set("Date", c.front.clock().UTC().Format(http.TimeFormat))
	h.Set("Cache-Control", "no-cache")
}

func (c *call) write(status int, raw []byte) {
	c.headers()
	c.w.Header().Set("Content-Type", "application/json; charset=utf-8")
	c.w.Header().Set("Content-Length", strconv.Itoa(len(raw)))
	c.w.WriteHeader(status)
	if c.r.Method != http.MethodHead {
		_, _ = c.w.Write(raw) // a client that went away is not our failure
	}
}
