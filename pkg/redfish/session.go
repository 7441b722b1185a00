package redfish

import (
	"context"
	"net/http"
	"net/url"
	"strings"
)

// A process that is killed leaves its sessions on the BMCs, and a BMC has few.
// The next process must end them, and no others: people use the same account.
// Two ways tell ours, and nothing is ever deleted on a guess:
//
//   - The mark: a session's Context, which the client may choose. Ours names the
//     installation and the process. Where the BMC gives it back, a new process
//     lists the sessions once and ends those of earlier processes.
//   - The record: path and time of creation of the session in hand, kept by the
//     caller (Learned.Session) for BMCs that know no Context. A session of that
//     path and that time is the one that was recorded.
//
// A BMC that gives neither keeps a lost session until it ends by itself.

const (
	// maxSwept bounds how many sessions are looked at.
	maxSwept = 64
	// sweepTries is how often a recorded session is looked for, if the BMC cannot
	// be reached.
	sweepTries = 3
)

// recorded is a session of an earlier process.
type recorded struct {
	record string
	tries  int
}

// makeRecord joins path and time; "" where there is none.
func makeRecord(session, created string) string {
	u, err := url.Parse(session)
	if err != nil || u.Path == "" || created == "" {
		return ""
	}
	return u.Path + " " + created
}

// sessionRecord is the record of the session in hand, "" where it bears a mark.
func (c *conn) sessionRecord() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.auth.record
}

// addStale has a recorded session ended with the next request.
func (c *conn) addStale(record string) {
	if record == "" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, have := range c.auth.stale {
		if have.record == record {
			return
		}
	}
	if record != c.auth.record && len(c.auth.stale) < maxSwept {
		c.auth.stale = append(c.auth.stale, recorded{record: record})
	}
}

// sweepDue tells whether there are sessions to look for, or to end.
func (c *conn) sweepDue() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.auth.stale) > 0 || c.auth.listing || len(c.former) > 0
}

// sweep ends sessions of earlier processes, as best it can. Called under the
// login slot.
func (c *conn) sweep(ctx context.Context, cred credential) {
	c.mu.Lock()
	stale, listing, lost := c.auth.stale, c.auth.listing, c.auth.lost
	c.auth.stale, c.auth.listing, c.auth.lost = nil, false, false
	c.mu.Unlock()
	for _, s := range stale {
		if c.endRecorded(ctx, s.record, cred) {
			continue
		}
		if s.tries++; s.tries < sweepTries {
			c.mu.Lock()
			c.auth.stale = append(c.auth.stale, s)
			c.mu.Unlock()
		}
	}
	if listing {
		c.endMarked(ctx, cred, lost)
	}
}

// endRecorded ends the session if it is still the one that was recorded. It is
// false where that could not be told.
func (c *conn) endRecorded(ctx context.Context, record string, cred credential) bool {
	path, created, ok := strings.Cut(record, " ")
	if !ok || created == "" || c.isCurrent(path) {
		return true
	}
	doc, err := c.readSession(ctx, path, cred)
	if err != nil {
		return err.Kind != KindUnreachable && err.Kind != KindBusy && err.Kind != KindCanceled
	}
	user, _ := c.login()
	if string(doc.Created) == created && (doc.UserName == "" || strings.EqualFold(string(doc.UserName), user)) {
		_ = c.endSession(ctx, path, cred)
	}
	return true
}

// endMarked ends the sessions that bear the mark of this installation and of
// another process; after a lost log-in also those of this one that are not in hand.
func (c *conn) endMarked(ctx context.Context, cred credential, lost bool) {
	root, err := c.serviceRoot(ctx)
	if err != nil || root.sessions() == "" {
		return
	}
	var list collectionDoc
	resp, err := c.send(ctx, request{op: "list sessions", method: http.MethodGet, link: root.sessions()}, cred)
	if err != nil || decode(resp.body, &list) != nil {
		return
	}
	for _, member := range list.Members[:min(len(list.Members), maxSwept)] {
		if member == "" || c.isCurrent(string(member)) {
			continue
		}
		doc, err := c.readSession(ctx, string(member), cred)
		if err == nil && strings.HasPrefix(string(doc.Context), c.installation) && (lost || string(doc.Context) != c.mark()) {
			_ = c.endSession(ctx, string(member), cred)
		}
	}
}

func (c *conn) readSession(ctx context.Context, path string, cred credential) (sessionDoc, *Error) {
	var doc sessionDoc
	resp, err := c.send(ctx, request{op: "read session", method: http.MethodGet, link: path}, cred)
	if err != nil {
		return doc, err
	}
	if decodeErr := decode(resp.body, &doc); decodeErr != nil {
		return doc, &Error{Kind: KindProtocol, Message: decodeErr.Error()}
	}
	return doc, nil
}

// isCurrent tells whether the path is of the session in hand.
func (c *conn) isCurrent(path string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.auth.session != "" && strings.HasSuffix(trimSlash(c.auth.session), trimSlash(path))
}

// mark is the Context of our sessions.
func (c *conn) mark() string { return c.installation + c.process }

// identifySession says how the new session will be known after a crash: by its
// mark if the BMC gives that back, else by its record. Where the answer to the
// login says neither, the session is read once.
func (c *conn) identifySession(ctx context.Context, session string, doc sessionDoc, cred credential) {
	if doc.Context == "" && doc.Created == "" && session != "" {
		doc, _ = c.readSession(ctx, session, cred)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.auth.session != session {
		return
	}
	if string(doc.Context) == c.mark() {
		c.auth.listing, c.auth.listed = !c.auth.listed || c.auth.lost, true
		return
	}
	c.auth.unmarked = true
	c.auth.record = makeRecord(session, string(doc.Created))
}
