package redfish

import (
	"context"
	"net/http"
	"strings"
	"time"
)

const (
	rootPath     = "/redfish/v1/"
	sessionsPath = "/redfish/v1/SessionService/Sessions"
	// basicFor is how long we stay with basic auth after the BMC had no session
	// left or did not honour one it had just given.
	basicFor = 5 * time.Minute
)

// authState is what a conn knows about logging in. Guarded by conn.mu.
type authState struct {
	token, session string // session is the path to delete
	// dropped is the session whose token was refused after it had worked: ended, as a rule, or one that the BMC does
	// not honour any more and still counts.
	dropped string
	// fresh: no request has succeeded, nor failed, with the token yet.
	fresh bool
	// basicUntil: use basic auth until then; basicAlways: no session service.
	basicUntil  time.Time
	basicAlways bool
	// basicFinal: nothing but a wrong password explains a refusal of basic auth. basicOff:
	// it was refused although the password may be right, so it is not tried again.
	basicFinal, basicOff bool
	// refused is the failed login. It is final for this conn: only another
	// Target, or Forget, makes another one.
	refused *Error
	retired bool

	// unmarked: the BMC gives no Context back, or refuses one. record names the
	// session in hand then. See session.go.
	unmarked bool
	record   string
	// stale are recorded sessions to be ended. listing: the marked ones are to be
	// looked for; listed: they were. lost: a log-in was sent whose answer never came,
	// so that a session of this very process may stand there unused.
	stale           []recorded
	listing, listed bool
	lost            bool
}

// credential is what one request authenticates with. Exactly one of token and
// basic is set; the zero value is anonymous.
type credential struct {
	token string
	basic func() (string, string)
}

func (cr credential) apply(r *http.Request) {
	switch {
	case cr.token != "":
		r.Header.Set("X-Auth-Token", cr.token)
	case cr.basic != nil:
		r.SetBasicAuth(cr.basic())
	}
}

// known is the credential in hand, ok false where a login is needed.
func (c *conn) known() (cred credential, ok bool, err *Error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.auth.retired:
		return cred, false, &Error{Kind: KindCanceled, Message: "the connection settings changed meanwhile"}
	case c.auth.refused != nil:
		again := *c.auth.refused
		return cred, false, &again
	case c.auth.token != "":
		return credential{token: c.auth.token}, true, nil
	case c.auth.basicAlways || time.Now().Before(c.auth.basicUntil):
		return credential{basic: c.login}, true, nil
	}
	return cred, false, nil
}

// credential gives what to authenticate with, logging in where needed. Callers
// at the same time share one login.
func (c *conn) credential(ctx context.Context) (credential, *Error) {
	if cred, ok, err := c.known(); err != nil || ok && !c.sweepDue() {
		return cred, err
	}
	select {
	case c.loginSlot <- struct{}{}:
		defer func() { <-c.loginSlot }()
	case <-ctx.Done():
		return credential{}, &Error{Kind: KindCanceled, Message: "given up by the caller", Err: ctx.Err()}
	}
	cred, ok, err := c.known()
	if err != nil {
		return cred, err
	}
	if !ok {
		if err := c.startSession(ctx); err != nil {
			return credential{}, err
		}
		if cred, ok, err = c.known(); err != nil {
			return cred, err
		}
		if !ok { // never go on without a credential: its refusal would look like one of the account's
			return cred, &Error{Kind: KindBusy, Message: "the BMC ended the session at once"}
		}
	}
	if c.sweepDue() {
		for _, former := range c.takeFormer() {
			_ = former.retire(ctx)
		}
		c.sweep(ctx, cred)
	}
	return cred, nil
}

// startSession logs in, or settles for basic auth. Called under the login slot.
func (c *conn) startSession(ctx context.Context) *Error {
	root, err := c.serviceRoot(ctx)
	if err != nil {
		return err
	}
	uri := root.sessions()
	if uri == "" {
		c.useBasic(true)
		return nil
	}
	resp, err := c.postSession(ctx, uri)
	if err != nil {
		c.mu.Lock()
		c.auth.lost = c.auth.lost || err.Status == 0
		c.mu.Unlock()
		return c.loginFailed(err)
	}
	return c.keepSession(ctx, resp)
}

// postSession logs in with our mark, and again without it where the BMC refuses
// the request as wrong: it made no session then.
func (c *conn) postSession(ctx context.Context, uri string) (*response, *Error) {
	user, password := c.login()
	body := map[string]string{"UserName": user, "Password": password}
	c.mu.Lock()
	unmarked := c.auth.unmarked
	c.mu.Unlock()
	if !unmarked {
		body["Context"] = c.mark()
	}
	req := request{op: "log in", method: http.MethodPost, link: uri, body: body}
	resp, err := c.send(ctx, req, credential{})
	if err == nil || unmarked || err.Status != http.StatusBadRequest || sessionsFull(err) || loginRefused(err) {
		return resp, err
	}
	c.mu.Lock()
	c.auth.unmarked = true
	c.mu.Unlock()
	delete(body, "Context")
	return c.send(ctx, req, credential{})
}

func sessionsFull(e *Error) bool {
	return e.refusal.has("rac0218", "sessionlimitexceeded", "createlimitreachedforresource")
}

func loginRefused(e *Error) bool {
	return e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden ||
		e.refusal.has("unauthorizedloginattempt", "resourceaturiunauthorized", "accessdenied", "accountlocked", "usernotauthorized")
}

// loginFailed decides what a refused login means: wrong credentials are final,
// a missing or full session service means basic auth.
func (c *conn) loginFailed(e *Error) *Error {
	switch {
	case loginRefused(e):
		return c.refuse(e)
	case sessionsFull(e), e.Status == http.StatusInternalServerError:
		return c.settleForBasic(e)
	case e.Status == http.StatusNotFound, e.Status == http.StatusMethodNotAllowed, e.Status == http.StatusNotImplemented:
		c.useBasic(true)
		return nil
	case e.Status == http.StatusBadRequest:
		// What some older BMCs answer when their session table is full, and others to a wrong password.
		c.mu.Lock()
		c.auth.basicFinal = true
		c.mu.Unlock()
		c.useBasic(false)
		return nil
	}
	return e
}

// settleForBasic goes on with basic auth where no session is to be had for now, unless the BMC is known to refuse that.
func (c *conn) settleForBasic(e *Error) *Error {
	c.mu.Lock()
	off := c.auth.basicOff
	c.auth.basicFinal = false
	c.mu.Unlock()
	if off {
		return c.noWayIn(e)
	}
	c.useBasic(false)
	return nil
}

// basicRefused is what a refusal of basic auth means. Where no session was to be had,
// or the BMC had just given one, it says nothing of the password: iDRAC, iLO and bmcweb
// can have basic auth switched off.
func (c *conn) basicRefused(e *Error) *Error {
	c.mu.Lock()
	final := c.auth.basicAlways || c.auth.basicFinal
	if !final {
		c.auth.basicOff, c.auth.basicUntil = true, time.Time{}
	}
	c.mu.Unlock()
	if final {
		return c.refuse(e)
	}
	return c.noWayIn(e)
}

// noWayIn: the BMC has no session for us and takes no basic auth. It is asked seldom, in
// case it counts what it refuses.
func (c *conn) noWayIn(e *Error) *Error {
	return &Error{Kind: KindBusy, Status: e.Status, refusal: e.refusal, After: basicFor,
		Message: "the BMC has no session left and takes no basic auth: end sessions at the BMC, or allow basic auth; it is asked again in a few minutes"}
}

// keepSession stores token and session. A 201 without a token would leave every
// later call anonymous, and a session that nobody can name leaks: settle for
// basic auth, and delete what can be named.
func (c *conn) keepSession(ctx context.Context, resp *response) *Error {
	token := resp.header.Get("X-Auth-Token")
	var doc sessionDoc
	_ = decode(resp.body, &doc) // many answer with nothing
	session := sessionPath(resp.header.Get("Location"), string(doc.Path))
	if token == "" {
		c.useBasic(false)
		_ = c.endSession(ctx, session, credential{basic: c.login})
		return nil
	}
	c.mu.Lock()
	retired := c.auth.retired
	if !retired {
		c.auth.token, c.auth.session, c.auth.fresh = token, session, true
	}
	c.mu.Unlock()
	if retired {
		_ = c.endSession(ctx, session, credential{token: token})
		return nil
	}
	c.identifySession(ctx, session, doc, credential{token: token})
	return nil
}

// sessionPath is where the new session is. Some BMCs give a Location without its slash, or one that begins at the service root:
// what the session says of itself goes before such a one.
func sessionPath(location, own string) string {
	switch {
	case location == "" || location[0] == '/' || isAbsolute(location):
		return orText(location, own)
	case own != "":
		return own
	case strings.HasPrefix(location, "redfish/"):
		return "/" + location
	}
	return rootPath + location
}

// useBasic settles for basic auth. Where sessions are to be had again later, ours
// of earlier processes may be what fills the table: they are looked for.
func (c *conn) useBasic(always bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if always {
		c.auth.basicAlways = true
		return
	}
	c.auth.basicUntil = time.Now().Add(basicFor)
	if !c.auth.unmarked && !c.auth.listed {
		c.auth.listing, c.auth.listed = true, true
	}
}

// refuse makes a failed login final for this conn.
func (c *conn) refuse(e *Error) *Error {
	final := *e
	final.Kind, final.LoginFailed = KindUnauthorized, true
	final.Message = statusVerdict(http.StatusUnauthorized).message
	c.mu.Lock()
	defer c.mu.Unlock()
	c.auth.refused = &final
	again := final
	return &again
}

// drop forgets a refused token. One that was refused at its first use means that
// the BMC does not honour its sessions: stay with basic auth for a while.
func (c *conn) drop(ctx context.Context, cred credential) {
	c.mu.Lock()
	if c.auth.token != cred.token {
		c.mu.Unlock()
		return // another call dropped it already
	}
	fresh, session, before := c.auth.fresh, c.auth.session, c.auth.dropped
	c.auth.token, c.auth.session, c.auth.record, c.auth.fresh, c.auth.dropped = "", "", "", false, session
	if fresh {
		c.auth.basicUntil, c.auth.dropped = time.Now().Add(basicFor), ""
	}
	c.mu.Unlock()
	if !fresh {
		return
	}
	_ = c.endSession(ctx, session, credential{basic: c.login})
	if before != "" {
		_ = c.endSession(ctx, before, credential{basic: c.login})
	}
}

// worked notes that the token was honoured.
func (c *conn) worked(cred credential) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if cred.token != "" && c.auth.token == cred.token {
		c.auth.fresh, c.auth.dropped = false, ""
	}
}

// serviceRoot reads the root once, without credentials. A BMC that hides even
// its root gets the standard paths.
func (c *conn) serviceRoot(ctx context.Context) (*rootDoc, *Error) {
	c.mu.Lock()
	root := c.root
	c.mu.Unlock()
	if root != nil {
		return root, nil
	}
	root = &rootDoc{}
	resp, err := c.send(ctx, request{op: "read service root", method: http.MethodGet, link: rootPath}, credential{})
	switch {
	case err != nil && err.Status == http.StatusUnauthorized:
		root.Links.v.Sessions = sessionsPath
	case err != nil:
		return nil, err
	default:
		if decodeErr := decode(resp.body, root); decodeErr != nil {
			return nil, &Error{Kind: KindProtocol, Message: decodeErr.Error()}
		}
	}
	c.mu.Lock()
	c.root = root
	c.mu.Unlock()
	return root, nil
}

// sessions is where to log in, "" where the BMC has no session service.
func (r *rootDoc) sessions() string {
	switch {
	case r.Links.v.Sessions != "":
		return string(r.Links.v.Sessions)
	case r.SessionService != "":
		return trimSlash(string(r.SessionService)) + "/Sessions"
	}
	return ""
}
