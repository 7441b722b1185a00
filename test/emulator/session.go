package emulator

import (
	"crypto/rand"
	"encoding/hex"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// access is who may talk to a BMC now. Guarded by BMC.mu.
type access struct {
	sessions map[string]*session // by token
	made     int
	// timeout is the idle time after which a session ends.
	timeout     time.Duration
	wrong       int // wrong passwords in a row
	lockedUntil time.Time
}

// session is one login. Its id is public, its token is not.
type session struct {
	id      string
	made    time.Time
	used    time.Time
	address string
}

func newAccess(timeout time.Duration) access {
	return access{sessions: map[string]*session{}, timeout: timeout}
}

const sessionsPath = "/redfish/v1/SessionService/Sessions"

// expireSessionsLocked ends sessions that were idle for too long. It is called
// before every look at the sessions: an idle BMC needs no timer.
func (b *BMC) expireSessionsLocked() {
	for token, s := range b.access.sessions {
		if time.Since(s.used) > b.access.timeout {
			delete(b.access.sessions, token)
			b.record(cause{who: ByFirmware}, Event{Kind: EventSessionEnded, From: s.id, Detail: "idle too long"})
		}
	}
}

func (b *BMC) endSessionsLocked(by cause, why string) {
	for token, s := range b.access.sessions {
		delete(b.access.sessions, token)
		b.record(by, Event{Kind: EventSessionEnded, From: s.id, Detail: why})
	}
}

// EndSessions ends all sessions as a restart of the BMC does: their tokens are
// answered with 401 from now on.
func (b *BMC) EndSessions() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.endSessionsLocked(cause{who: ByOutside}, "ended at the BMC")
}

// passwordLocked checks credentials and keeps the lock-out: while the account
// is locked even the right password is refused, and tries do not count.
func (b *BMC) passwordLocked(user, password string, by cause) bool {
	now := time.Now()
	locked := now.Before(b.access.lockedUntil)
	if user == b.spec.Username && password == b.spec.Password && !locked {
		b.access.wrong = 0
		return true
	}
	why := "wrong password"
	switch {
	case locked:
		why = "account is locked"
	case user != b.spec.Username:
		why = "unknown user"
	}
	b.record(by, Event{Kind: EventLoginFailed, Detail: why})
	if locked || user != b.spec.Username {
		return false
	}
	b.access.wrong++
	if n := b.persona.lockoutAfter; n > 0 && b.access.wrong >= n {
		b.access.wrong = 0
		b.access.lockedUntil = now.Add(b.fleet.timings.Lockout)
		b.record(cause{who: ByFirmware}, Event{Kind: EventLockout, Detail: strconv.Itoa(n) + " wrong passwords"})
	}
	return false
}

// authenticate answers 401 and returns false unless the request may go on.
func (c *call) authenticate() bool {
	b := c.b
	b.mu.Lock()
	b.expireSessionsLocked()
	ok, msg := false, msgUnauthorized()
	if token := c.r.Header.Get("X-Auth-Token"); token != "" {
		if s := b.access.sessions[token]; s != nil {
			s.used, ok = time.Now(), true
		}
	} else if user, password, basic := c.r.BasicAuth(); basic {
		ok, msg = b.passwordLocked(user, password, c.by), msgBadLogin()
	}
	b.mu.Unlock()
	if !ok {
		c.w.Header().Set("WWW-Authenticate", `Basic realm="BMC"`)
		c.fail(http.StatusUnauthorized, msg)
	}
	return ok
}

// login is the POST to the Sessions collection; it needs no authentication.
func (c *call) login() {
	user, ok1 := c.text("UserName")
	password, ok2 := c.text("Password")
	if !ok1 || !ok2 {
		c.fail(http.StatusBadRequest, msgPropertyMissing("UserName"), msgPropertyMissing("Password"))
		return
	}
	b := c.b
	b.mu.Lock()
	b.expireSessionsLocked()
	if !b.passwordLocked(user, password, c.by) {
		b.mu.Unlock()
		c.fail(http.StatusUnauthorized, msgBadLogin())
		return
	}
	if len(b.access.sessions) >= b.persona.sessionLimit {
		b.mu.Unlock()
		c.fail(http.StatusServiceUnavailable, msgSessionLimit())
		return
	}
	b.access.made++
	now := time.Now()
	s := &session{id: strconv.Itoa(b.access.made), made: now, used: now, address: c.r.RemoteAddr}
	raw := make([]byte, 16)
	rand.Read(raw) // never fails
	token := hex.EncodeToString(raw)
	b.access.sessions[token] = s
	b.record(c.by, Event{Kind: EventLogin, To: s.id})
	d := s.doc(b)
	b.mu.Unlock()
	c.w.Header().Set("X-Auth-Token", token)
	c.w.Header().Set("Location", sessionsPath+"/"+s.id)
	c.answer(http.StatusCreated, d)
}

func (s *session) doc(b *BMC) doc {
	host, _, _ := strings.Cut(s.address, ":")
	return doc{
		"@odata.id": sessionsPath + "/" + s.id, "@odata.type": "#Session.v1_7_1.Session",
		"Id": s.id, "Name": "User Session", "UserName": b.spec.Username, "SessionType": "Redfish",
		"CreatedTime": s.made.UTC().Format(time.RFC3339), "ClientOriginIPAddress": host,
	}
}

func (b *BMC) sessionIDsLocked() []string {
	ids := make([]string, 0, len(b.access.sessions))
	for _, s := range b.access.sessions {
		ids = append(ids, s.id)
	}
	slices.SortFunc(ids, func(x, y string) int { // as numbers
		if len(x) != len(y) {
			return len(x) - len(y)
		}
		return strings.Compare(x, y)
	})
	return ids
}

// sessionNode is the resource of one session, or nil.
func (b *BMC) sessionNode(id string) *node {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.expireSessionsLocked()
	for token, s := range maps.All(b.access.sessions) {
		if s.id != id {
			continue
		}
		return &node{
			view: func() doc { return s.doc(b) },
			delete: func(c *call) {
				b.mu.Lock()
				if _, ok := b.access.sessions[token]; ok {
					delete(b.access.sessions, token)
					b.record(c.by, Event{Kind: EventLogout, From: id})
				}
				b.mu.Unlock()
				c.answer(http.StatusNoContent, nil)
			},
		}
	}
	return nil
}

// patchSessionService sets the idle timeout, 30 s to a day.
func (c *call) patchSessionService() {
	if !c.only("SessionTimeout", "ServiceEnabled") {
		return
	}
	n, ok := c.number("SessionTimeout")
	if !ok || n < 30 || n > 86400 {
		c.fail(http.StatusBadRequest, msgNotInList("SessionTimeout", "?"))
		return
	}
	c.b.mu.Lock()
	c.b.access.timeout = time.Duration(n) * time.Second
	c.b.record(c.by, Event{Kind: EventSettings, To: "SessionTimeout"})
	c.b.mu.Unlock()
	c.answer(http.StatusNoContent, nil)
}
