package redfish

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Kind says what sort of failure an error is, and with that what to do next.
type Kind string

// The kinds. The empty kind is an error that is not of this package.
const (
	// KindUnreachable: no answer (refused, timed out, cut off). Wait and retry.
	KindUnreachable Kind = "Unreachable"
	// KindUnauthorized: the credentials were refused, or lack a privilege.
	KindUnauthorized Kind = "Unauthorized"
	// KindBusy: the BMC asks to come back later; see RetryAfter.
	KindBusy Kind = "Busy"
	// KindUnsupported: the BMC cannot do this, now or later.
	KindUnsupported Kind = "Unsupported"
	// KindNotFound: a resource that was named is not there.
	KindNotFound Kind = "NotFound"
	// KindConflict: refused because of the state the server is in. Read it again.
	KindConflict Kind = "Conflict"
	// KindProtocol: an answer that cannot be right (malformed, oversized, empty
	// collection, foreign redirect, unexpected status).
	KindProtocol Kind = "Protocol"
	// KindCertificate: the BMC's certificate was not accepted.
	KindCertificate Kind = "Certificate"
	// KindCanceled: the caller's context ended, or the client was retired under
	// the call because its Target changed or was forgotten.
	KindCanceled Kind = "Canceled"
)

// Error is every error of this package. Message is one short line for a person.
type Error struct {
	Kind Kind
	// Op is what was being done: "read system", "insert media".
	Op string
	// Endpoint is as of EndpointKey.
	Endpoint string
	Message  string
	// Status is the HTTP status, 0 where there was none.
	Status int
	// LoginFailed: the credentials themselves were refused, at login or as basic
	// auth. The endpoint must not be tried again before something changes.
	LoginFailed bool
	// After is how long the BMC asked to wait; 0 where it did not.
	After time.Duration
	Err   error

	// refusal is what the BMC said, for decisions inside this package only.
	refusal *refusal
}

// Error is "op endpoint: message". The wrapped error is not printed: texts of
// transports and decoders can quote what the BMC sent.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	if e.Endpoint != "" {
		fmt.Fprintf(&b, " on %s", e.Endpoint)
	}
	b.WriteString(": ")
	b.WriteString(e.Message)
	if e.Status != 0 {
		fmt.Fprintf(&b, " (HTTP %d)", e.Status)
	}
	return b.String()
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// KindOf is the kind of the outermost Error in err, KindCanceled for a bare
// context error, and "" otherwise.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return KindCanceled
	}
	return ""
}

// RetryAfter is how long the BMC asked to wait, between one second and five
// minutes, and whether it asked at all.
func RetryAfter(err error) (time.Duration, bool) {
	var e *Error
	if errors.As(err, &e) && e.After > 0 {
		return e.After, true
	}
	return 0, false
}

// LoginFailed tells whether the credentials themselves were refused.
func LoginFailed(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.LoginFailed
}
