package redfish

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

const (
	userAgent = "beskar7"
	// maxAuthTries: an old token, a new one, basic auth, and one spare for a
	// token that a concurrent call replaced.
	maxAuthTries = 4
)

// conn is one authenticated way to one BMC: an HTTP client of its own, a
// session, the service root. Several systems behind one BMC share it.
type conn struct {
	endpoint  string
	base      url.URL
	client    *http.Client
	transport *http.Transport
	times     Timeouts
	maxBody   int64
	log       *slog.Logger
	// login gives user name and password. A function, because fmt prints the
	// unexported fields of a struct whatever their methods say.
	login func() (string, string)

	// installation begins the mark of our sessions, process ends it.
	installation, process string

	// loginSlot holds one token: its owner may log in.
	loginSlot chan struct{}

	mu   sync.Mutex
	auth authState
	root *rootDoc
	// former are the connections that this one took the place of. Their sessions are
	// ended once this one is logged in, one request after the other.
	former []*conn
}

// request is one Redfish request. Changing ones are sent once, unless again.
type request struct {
	op     string
	method string
	link   string
	body   any
	header map[string]string
	// again: made twice it is as good as made once, so it is repeated as a read is.
	again bool
}

type response struct {
	status int
	header http.Header
	body   []byte
}

func newConn(t Target, endpoint string, times Timeouts, opts Options) (*conn, error) {
	base, err := url.Parse(endpoint)
	if err != nil {
		return nil, err
	}
	transport, err := newTransport(t, times, opts)
	if err != nil {
		return nil, err
	}
	user, password := t.Username, string(t.Password)
	return &conn{
		endpoint: endpoint, base: *base, times: times, maxBody: opts.MaxBodyBytes, log: opts.Log,
		transport: transport, client: newHTTPClient(endpoint, transport),
		login:        func() (string, string) { return user, password },
		loginSlot:    make(chan struct{}, 1),
		installation: "beskar7/" + opts.Installation + "/", process: opts.process,
	}, nil
}

// get reads one resource into a document.
func (c *conn) get(ctx context.Context, op, link string, into any) (*response, error) {
	resp, err := c.do(ctx, request{op: op, method: http.MethodGet, link: link})
	if err != nil {
		return nil, err
	}
	if err := decode(resp.body, into); err != nil {
		return nil, c.fail(op, &Error{Kind: KindProtocol, Message: err.Error()})
	}
	return resp, nil
}

// do sends the request with credentials. A refused token is dropped and a new
// session made once; if that is refused too, basic auth gets one try.
func (c *conn) do(ctx context.Context, req request) (*response, error) {
	var last *Error
	for range maxAuthTries {
		cred, err := c.credential(ctx)
		if err != nil {
			return nil, c.fail(req.op, err)
		}
		resp, sendErr := c.send(ctx, req, cred)
		if sendErr == nil {
			c.worked(cred)
			return resp, nil
		}
		if !staleSession(sendErr) {
			if sendErr.Status != 0 {
				c.worked(cred)
			}
			return nil, c.fail(req.op, sendErr)
		}
		if cred.token == "" {
			return nil, c.fail(req.op, c.basicRefused(sendErr))
		}
		c.drop(ctx, cred)
		last = sendErr
	}
	return nil, c.fail(req.op, last)
}

// staleSession: the credential, not the account's rights, was refused.
func staleSession(e *Error) bool {
	return e.Status == http.StatusUnauthorized ||
		e.Status == http.StatusForbidden && e.refusal.has("novalidsession")
}

// send makes the request, a GET or a log-out again after failures of the transport or of the
// BMC's inside (MaxRetries times).
func (c *conn) send(ctx context.Context, req request, cred credential) (*response, *Error) {
	for try := 0; ; try++ {
		resp, err := c.once(ctx, req, cred)
		if err == nil || req.method != http.MethodGet && !req.again || try >= c.times.MaxRetries || !repeatable(err) {
			return resp, err
		}
		select {
		case <-ctx.Done():
			return nil, transportError(ctx, ctx.Err(), c.times.Request)
		case <-time.After(c.times.RetryDelay):
		}
	}
}

// repeatable: not a busy BMC, which named or deserves a longer wait.
func repeatable(e *Error) bool {
	switch e.Status {
	case 0:
		return e.Kind == KindUnreachable
	case http.StatusInternalServerError, http.StatusBadGateway, http.StatusGatewayTimeout:
		return e.After == 0
	}
	return false
}

// once is one request and its whole answer within the request timeout.
func (c *conn) once(ctx context.Context, req request, cred credential) (*response, *Error) {
	within, cancel := context.WithTimeout(ctx, c.times.Request)
	defer cancel()
	httpReq, e := c.newRequest(within, req, cred)
	if e != nil {
		return nil, e
	}
	httpResp, err := c.client.Do(httpReq)
	if err != nil {
		return nil, transportError(ctx, err, c.times.Request)
	}
	defer httpResp.Body.Close()
	body, err := readCapped(httpResp.Body, httpResp.ContentLength, c.maxBody)
	resp := &response{status: httpResp.StatusCode, header: httpResp.Header, body: body}
	if resp.status < 200 || resp.status > 299 {
		// What the status says holds whether or not its body could be read.
		return nil, c.classify(resp)
	}
	if err != nil {
		return nil, transportError(ctx, err, c.times.Request)
	}
	if req.method != http.MethodGet && successWithErrors(body) {
		c.log.Debug("bmc reports success together with an error", "endpoint", c.endpoint, "op", req.op)
	}
	return resp, nil
}

// classify adds the message id to the words, unless it quotes a secret.
func (c *conn) classify(resp *response) *Error {
	e := classify(resp)
	user, password := c.login()
	c.mu.Lock()
	token := c.auth.token
	c.mu.Unlock()
	if id := e.refusal.shownID(user+":"+password, password, token); id != "" {
		e.Message += ", it says " + id
	}
	return e
}

func (c *conn) newRequest(ctx context.Context, req request, cred credential) (*http.Request, *Error) {
	u, err := c.resolve(req.link)
	if err != nil {
		return nil, err
	}
	var payload []byte
	if req.body != nil {
		var marshalErr error
		if payload, marshalErr = json.Marshal(req.body); marshalErr != nil {
			return nil, &Error{Kind: KindProtocol, Message: "the request cannot be encoded"}
		}
	}
	r, newErr := http.NewRequestWithContext(ctx, req.method, u.String(), bytes.NewReader(payload))
	if newErr != nil {
		return nil, &Error{Kind: KindProtocol, Message: "the BMC gave a link that is no path"}
	}
	r.Host = hostHeader(&c.base)
	r.Header.Set("User-Agent", userAgent)
	r.Header.Set("Accept", "application/json")
	r.Header.Set("OData-Version", "4.0")
	if req.body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	for k, v := range req.header {
		r.Header.Set(k, v)
	}
	cred.apply(r)
	return r, nil
}

// hostHeader leaves the scheme's own port out: some BMCs compare names.
func hostHeader(base *url.URL) string {
	if base.Scheme == "https" && base.Port() == "443" || base.Scheme == "http" && base.Port() == "80" {
		return strings.TrimSuffix(base.Host, ":"+base.Port())
	}
	return base.Host
}

// resolve turns a link the BMC gave into a URL on the BMC. Links are parsed,
// never concatenated: "@other:1/x" appended to a host is another host.
func (c *conn) resolve(link string) (*url.URL, *Error) {
	ref, err := url.Parse(link)
	if err != nil || link == "" || ref.Opaque != "" {
		return nil, &Error{Kind: KindProtocol, Message: "the BMC gave a link that is no path"}
	}
	if (ref.IsAbs() || ref.Host != "" || ref.User != nil) && !sameOrigin(c.endpoint, ref) {
		return nil, &Error{Kind: KindProtocol, Message: "the BMC points to another host, which is not followed", Err: errForeignHost}
	}
	if !strings.HasPrefix(ref.Path, "/redfish") {
		return nil, &Error{Kind: KindProtocol, Message: "the BMC gave a link outside /redfish"}
	}
	u := c.base
	u.Path, u.RawPath, u.RawQuery = ref.Path, ref.RawPath, ref.RawQuery
	return &u, nil
}

// fail names operation and endpoint.
func (c *conn) fail(op string, e *Error) *Error {
	e.Op, e.Endpoint = op, c.endpoint
	return e
}
