package emulator

import (
	"cmp"
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
	timeout  time.Duration
	troubles map[string]*trouble // by user name
	peak     map[string]int      // the most sessions of a user at the same time
}

// session is one login. Its id is public, its token is not.
type session struct {
	id      string
	user    string
	made    time.Time
	used    time.Time
	address string
}

func newAccess(timeout time.Duration) access {
	return access{sessions: map[string]*session{}, timeout: timeout, troubles: map[string]*trouble{}, peak: map[string]int{}}
}

// usualSessions is where all but a few personas have their sessions.
const usualSessions = root + "/SessionService/Sessions"

func (b *BMC) sessionsPath() string { return cmp.Or(b.kind().login.path, usualSessions) }

// Sessions counts the live sessions by user.
func (b *BMC) Sessions() map[string]int {
	b = b.front
	b.mu.Lock()
	defer b.mu.Unlock()
	b.expireSessionsLocked()
	n := map[string]int{}
	for _, s := range b.access.sessions {
		n[s.user]++
	}
	return n
}

// PeakSessions is the highest number of sessions that each user had at once.
func (b *BMC) PeakSessions() map[string]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.front.access.peak)
}

// expireSessionsLocked ends sessions that were idle for too long. It is called
// before every look at the sessions: an idle BMC needs no timer.
func (b *BMC) expireSessionsLocked() {
	for token, s := range b.access.sessions {
		if b.access.timeout > 0 && time.Since(s.used) > b.access.timeout {
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
	b = b.front
	b.mu.Lock()
	defer b.mu.Unlock()
	b.endSessionsLocked(cause{who: ByOutside}, "ended at the BMC")
}

// passwordLocked checks credentials and keeps the lock-out: while the account
// is locked even the right password is refused, and tries do not count.
func (b *BMC) passwordLocked(user, password string, by cause) bool {
	now := time.Now()
	exists, right := b.rightLocked(user, password)
	t := b.access.trouble(user)
	locked := exists && (now.Before(t.lockedUntil) || b.faultLocked("locked-out") != nil)
	if right && !locked {
		t.wrong = 0
		return true
	}
	why := "wrong password"
	switch {
	case locked:
		why = "account is locked"
	case !exists:
		why = "unknown user"
		delete(b.access.troubles, user)
	}
	b.record(by, Event{Kind: EventLoginFailed, Detail: why})
	if locked || !exists {
		return false
	}
	t.wrong++
	if n := b.kind().login.lockoutAfter; n > 0 && t.wrong >= n {
		*t = trouble{lockedUntil: now.Add(b.fleet.timings.Lockout)}
		b.record(cause{who: ByFirmware}, Event{Kind: EventLockout, Detail: strconv.Itoa(n) + " wrong passwords"})
	}
	return false
}

// authenticate answers 401 and returns false unless the request may go on.
func (c *call) authenticate() bool {
	b := c.front
	b.mu.Lock()
	b.expireSessionsLocked()
	ok, msg := false, msgUnauthorized()
	if token := c.r.Header.Get("X-Auth-Token"); token != "" {
		if s := b.access.sessions[token]; s != nil && !b.useLocked("token-refused", c.r) {
			s.used, ok, c.user = time.Now(), true, s.user
		}
	} else if user, password, basic := c.r.BasicAuth(); basic {
		ok, msg, c.user = b.passwordLocked(user, password, c.by), msgBadLogin(), user
	}
	role := b.roleLocked(c.user)
	b.mu.Unlock()
	read := c.r.Method == http.MethodGet || c.r.Method == http.MethodHead || c.r.Method == http.MethodDelete
	if ok && role == readOnly && !read {
		c.fail(http.StatusForbidden, msgPrivilege())
		return false
	}
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
	b := c.front
	b.mu.Lock()
	b.expireSessionsLocked()
	if !b.passwordLocked(user, password, c.by) {
		b.mu.Unlock()
		c.fail(http.StatusUnauthorized, msgBadLogin())
		return
	}
	if len(b.access.sessions) >= b.kind().login.limit || b.useLocked("sessions-full", c.r) {
		b.mu.Unlock()
		c.fail(b.kind().login.fullStatus, msgSessionLimit())
		return
	}
	b.access.made++
	now := time.Now()
	s := &session{id: strconv.Itoa(b.access.made), user: user, made: now, used: now, address: c.r.RemoteAddr}
	raw := make([]byte, 16)
	rand.Read(raw) // never fails
	token := hex.EncodeToString(raw)
	b.access.sessions[token] = s
	open := 0
	for _, other := range b.access.sessions {
		if other.user == user {
			open++
		}
	}
	b.access.peak[user] = max(b.access.peak[user], open)
	b.record(c.by, Event{Kind: EventLogin, To: s.id})
	d, at := s.doc(b), b.sessionsPath()+"/"+s.id
	if b.useLocked("session-no-token", c.r) {
		token = ""
	}
	if a := b.faultLocked("session-location"); a != nil {
		at = map[string]string{"none": "", "absolute": b.URL() + at, "relative": strings.TrimPrefix(at, root+"/")}[a.text]
	}
	b.mu.Unlock()
	if token != "" {
		c.w.Header().Set("X-Auth-Token", token)
	}
	if at != "" {
		c.w.Header().Set("Location", at)
	}
	c.answer(http.StatusCreated, d)
}

func (s *session) doc(b *BMC) doc {
	host, _, _ := strings.Cut(s.address, ":")
	return doc{
		"@odata.id": b.sessionsPath() + "/" + s.id, "@odata.type": "#Session.v1_7_1.Session",
		"Id": s.id, "Name": "User Session", "UserName": s.user, "SessionType": "Redfish",
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
func (b *BMC) sessionNode(path string) *node {
	id, ok := strings.CutPrefix(path, b.sessionsPath()+"/")
	if !ok || b.kind().login.off {
		return nil
	}
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
	c.front.access.timeout = time.Duration(n) * time.Second
	c.b.record(c.by, Event{Kind: EventSettings, To: "SessionTimeout"})
	c.b.mu.Unlock()
	c.answer(http.StatusNoContent, nil)
}
