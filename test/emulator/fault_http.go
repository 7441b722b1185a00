package emulator

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

func httpFaults() []*fault {
	return []*fault{
		{Fault: Fault{Group: "http", Name: "status", Does: "answers this status with a generic error, and does not act: 500 for a storm", Arg: "number", Default: "500"}, kind: argNumber,
			before: func(x *exchange, a *active) bool {
				x.drain()
				return x.fail(int(a.number), critical("InternalError", "Try again.", nil, "Internal error."))
			}},
		{Fault: Fault{Group: "http", Name: "busy", Does: "answers 503 with the vendor's busy message; its argument is the Retry-After: seconds, past, future, garbage or none",
			Arg: "text", Default: "30", Source: "sushy note fix-retry_volume_operation-on_sys518, metal-operator #170"}, kind: argText, before: busy},
		{Fault: Fault{Group: "http", Name: "missing", Does: "answers 404 to URIs that hold the argument (all but the service root when empty), as after a restart", Arg: "text", Source: "field notes: BMC reboot"}, kind: argText},
		{Fault: Fault{Group: "http", Name: "identity-refused", Does: "answers 406 unless gzip is accepted", Source: "field notes: iLO Gen10+"},
			before: func(x *exchange, _ *active) bool {
				if strings.Contains(x.r.Header.Get("Accept-Encoding"), "gzip") {
					return false
				}
				return x.fail(http.StatusNotAcceptable, critical("NotAcceptable", "Accept gzip.", nil, "Only gzip is served."))
			}},
		{Fault: Fault{Group: "http", Name: "redirect-evil", Does: "GETs are answered 307 to another host", Arg: "base URL", Default: "https://127.66.6.6:1", Source: "observed with gofish v0.26.0"}, kind: argText,
			before: func(x *exchange, a *active) bool { return x.redirect(a.text + x.r.URL.Path) }},
		{Fault: Fault{Group: "http", Name: "redirect-loop", Does: "every request is answered 308 to itself", Source: "observed with gofish v0.26.0"},
			before: func(x *exchange, _ *active) bool { return x.redirect(x.r.URL.Path) }},
		{Fault: Fault{Group: "http", Name: "etag-mismatch", Does: "every If-Match is answered 412", Source: "gofish a1180d3", Requests: true}},
		{Fault: Fault{Group: "http", Name: "async", Does: "successful changes are answered 202 with a task: no-location, no-body, absolute or monitor", Arg: "no-location | no-body | absolute | monitor", Default: "monitor", Source: "field notes: 202"}, kind: argChoice,
			trait: func(p *persona, a *active) {
				p.power.status, p.media.insertStatus, p.media.ejectStatus, p.boot.status = http.StatusAccepted, http.StatusAccepted, http.StatusAccepted, http.StatusAccepted
				p.tasks.location = map[string]location{"no-location": locationNone, "no-body": locationNone, "absolute": locationAbsolute}[a.text]
				p.tasks.noBody = a.text == "no-body"
			}},
		{Fault: Fault{Group: "http", Name: "task-404", Does: "a new task is answered 404 for a while", Arg: "duration", Default: "2s", Source: "sushy note fix-dell-bmc-404-race-condition"}, kind: argDuration},
		{Fault: Fault{Group: "http", Name: "task-new", Does: "tasks stay in state New, whatever happened", Source: "field notes: iDRAC"}},
		{Fault: Fault{Group: "http", Name: "task-gone", Does: "a task is gone once it ended", Source: "field notes"}},
	}
}

// busy answers 503.
func busy(x *exchange, a *active) bool {
	x.drain()
	seconds := "30"
	switch a.text {
	case "none":
	case "past":
		x.w.Header().Set("Retry-After", time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat))
	case "future":
		x.w.Header().Set("Retry-After", time.Now().Add(365*24*time.Hour).UTC().Format(http.TimeFormat))
	case "garbage":
		x.w.Header().Set("Retry-After", "soon")
	default:
		x.w.Header().Set("Retry-After", a.text)
		if _, err := strconv.Atoi(a.text); err == nil {
			seconds = a.text
		}
	}
	return x.fail(http.StatusServiceUnavailable, msgBusy(seconds))
}

func (x *exchange) redirect(to string) bool {
	x.drain()
	x.w.Header().Set("Location", to)
	status := http.StatusPermanentRedirect
	if !strings.HasPrefix(to, "/") {
		status = http.StatusTemporaryRedirect
	}
	x.w.WriteHeader(status)
	return true
}

func sessionFaults() []*fault {
	return []*fault{
		{Fault: Fault{Group: "sessions", Name: "sessions-full", Does: "log-ins are refused as if the table were full", Source: "gofish #75", Requests: true}},
		{Fault: Fault{Group: "sessions", Name: "token-refused", Does: "valid session tokens are answered 401", Source: "field notes: iLO", Requests: true}},
		{Fault: Fault{Group: "sessions", Name: "sessions-end", Does: "all sessions end now"},
			start: func(b *BMC, _ *active) error { b.endSessionsLocked(cause{who: ByOutside}, "fault"); return nil }},
		{Fault: Fault{Group: "sessions", Name: "login-fails", Does: "log-ins are answered 500 while basic auth works", Source: "sushy note reauthentication-session-fallback-failure-fixes"},
			before: func(x *exchange, _ *active) bool {
				if x.r.Method != http.MethodPost || cleanPath(x.r.URL.Path) != x.b.sessionsPath() {
					return false
				}
				x.drain()
				return x.fail(http.StatusInternalServerError, critical("InternalError", "Try again.", nil, "Internal error."))
			}},
		{Fault: Fault{Group: "sessions", Name: "no-sessions", Does: "there is no session service", Source: "idrac_exporter #125"},
			trait: func(p *persona, _ *active) { p.login.off = true }},
		{Fault: Fault{Group: "sessions", Name: "sessions-unlinked", Does: "the service root does not link to the sessions", Source: "observed with gofish v0.26.0"},
			trait: func(p *persona, _ *active) { p.login.hidden = true }},
		{Fault: Fault{Group: "sessions", Name: "sessions-elsewhere", Does: "sessions are at another URI, which the service root tells", Source: "sushy note use-sessions-url-from-root"},
			trait: func(p *persona, _ *active) { p.login.path = root + "/Sessions" }},
		{Fault: Fault{Group: "sessions", Name: "session-no-token", Does: "log-ins are answered 201 without X-Auth-Token", Source: "observed with gofish v0.26.0", Requests: true}},
		{Fault: Fault{Group: "sessions", Name: "session-location", Does: "the Location of a log-in is missing, absolute, or relative without a slash", Arg: "none | absolute | relative", Default: "none", Source: "observed with gofish v0.26.0"}, kind: argChoice},
		{Fault: Fault{Group: "sessions", Name: "locked-out", Does: "the right password is refused, as by a locked account", Source: "badfish #447"}},
		{Fault: Fault{Group: "sessions", Name: "password-changed", Does: "the first account has another password until the fault ends", Arg: "text", Default: "Changed-at-the-BMC-1", Source: "ironic note redfish_consider_password_in_session_cache"}, kind: argText,
			start: func(b *BMC, a *active) error {
				a.undo = b.spec.Password
				b.setPasswordLocked(b.spec.Username, a.text, cause{who: ByOutside})
				return nil
			},
			stop: func(b *BMC, a *active) {
				if was, ok := a.undo.(string); ok && !b.closed {
					b.setPasswordLocked(b.spec.Username, was, cause{who: ByOutside})
				}
			}},
	}
}

func bmcFaults() []*fault {
	return []*fault{
		{Fault: Fault{Group: "bmc", Name: "reboot", Does: "the BMC restarts now and is unreachable for the argument", Arg: "duration", Default: "1s"}, kind: argDuration,
			start: func(b *BMC, a *active) error {
				b.rebootLocked(cause{who: ByOutside}, 0, a.duration)
				return nil
			}},
		{Fault: Fault{Group: "bmc", Name: "reboot-on-change", Does: "a changing request acts, its answer is lost, and the BMC restarts", Arg: "duration", Default: "1s", Source: "field notes: BMC reboot mid-operation"}, kind: argDuration,
			spoil: func(x *exchange, a *active, r *reply) {
				if x.r.Method == http.MethodGet || x.r.Method == http.MethodHead {
					return
				}
				r.lost = true
				x.b.mu.Lock()
				x.b.rebootLocked(cause{who: ByOutside}, 0, a.duration)
				x.b.mu.Unlock()
			}},
		{Fault: Fault{Group: "bmc", Name: "clock", Does: "the BMC's clock is wrong by the argument", Arg: "duration", Default: "-8760h", Source: "field notes: clock skew"}, kind: argDuration,
			start: func(b *BMC, a *active) error { b.skew.Store(int64(a.duration)); return nil },
			stop:  func(b *BMC, _ *active) { b.skew.Store(0) }},
		{Fault: Fault{Group: "bmc", Name: "no-licence", Does: "virtual media need a licence that is missing", Source: "field notes: licence missing"}},
	}
}
