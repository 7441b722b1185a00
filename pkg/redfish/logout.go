package redfish

import (
	"context"
	"net/http"
)

// shut makes later calls fail.
func (c *conn) shut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.auth.retired = true
}

// retire ends the session of a conn that was shut, and those that it was to end itself. It waits for a login under way, so
// that no session is made after it. After an error, which says that the BMC cannot be asked now, it may be called again.
func (c *conn) retire(ctx context.Context) *Error {
	select {
	case c.loginSlot <- struct{}{}:
		defer func() { <-c.loginSlot }()
	case <-ctx.Done():
	}
	c.mu.Lock()
	token, session := c.auth.token, c.auth.session
	c.mu.Unlock()
	defer c.transport.CloseIdleConnections()
	if token != "" {
		if err := c.endSession(ctx, session, credential{token: token}); err != nil {
			return err
		}
	}
	c.mu.Lock()
	c.auth.token, c.auth.session, c.auth.record = "", "", ""
	c.mu.Unlock()
	former := c.takeFormer()
	for i, f := range former {
		if err := f.retire(ctx); err != nil {
			c.follow(former[i:]...)
			return err
		}
	}
	return nil
}

// follow takes over from connections that are shut.
func (c *conn) follow(former ...*conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.former = append(c.former, former...)
}

func (c *conn) takeFormer() []*conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	former := c.former
	c.former = nil
	return former
}

// endSession deletes one of our sessions, as best it can. The error, if any, says that the BMC could not be asked.
func (c *conn) endSession(ctx context.Context, session string, cred credential) *Error {
	if session == "" {
		c.log.Debug("bmc session cannot be ended: it was given no location", "endpoint", c.endpoint)
		return nil
	}
	// A BMC that closed the idle connection meanwhile must not cost a place in its table.
	_, err := c.send(ctx, request{op: "log out", method: http.MethodDelete, link: session, again: true}, cred)
	if err != nil && err.Kind != KindNotFound {
		c.log.Debug("bmc session not ended", "endpoint", c.endpoint, "kind", err.Kind, "status", err.Status)
		if err.Kind == KindUnreachable || err.Kind == KindBusy || err.Kind == KindCanceled {
			return err
		}
	}
	return nil
}
