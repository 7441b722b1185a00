package emulator

import (
	"bytes"
	"net/http"
	"strings"
)

func bodyFaults() []*fault {
	whole := func(name, does, source string, make func(a *active, body []byte) []byte) *fault {
		return &fault{Fault: Fault{Group: "body", Name: name, Does: does, Source: source},
			spoil: func(_ *exchange, a *active, r *reply) { r.body = make(a, r.body) }}
	}
	oversized := &fault{Fault: Fault{Group: "body", Name: "oversized", Does: "answers are followed by this many bytes", Arg: "number", Default: "209715200", Source: "observed with gofish v0.26.0"}, kind: argNumber,
		spoil: func(_ *exchange, a *active, r *reply) {
			if len(r.body) > 0 {
				r.pad = a.number
			}
		}}
	html := whole("html", "answers are a log-in page", "field notes: malformed", func(*active, []byte) []byte {
		return []byte("<!DOCTYPE html><html><body><form>Log in</form></body></html>")
	})
	inner := html.spoil
	html.spoil = func(x *exchange, a *active, r *reply) {
		inner(x, a, r)
		r.status = http.StatusOK
		r.header.Set("Content-Type", "text/html")
	}
	return append([]*fault{
		{Fault: Fault{Group: "body", Name: "truncated", Does: "answers break off in the middle", Source: "field notes: malformed"},
			spoil: func(_ *exchange, _ *active, r *reply) { r.cut = len(r.body) > 0 }},
		whole("half-json", "answers are half of the JSON, complete by their length", "observed with gofish v0.26.0", func(_ *active, body []byte) []byte { return body[:len(body)/2] }),
		oversized, html,
		whole("empty", "answers have no body", "observed with gofish v0.26.0", func(*active, []byte) []byte { return nil }),
		whole("null-body", "answers are null", "observed with gofish v0.26.0", func(*active, []byte) []byte { return []byte("null") }),
		whole("bom", "answers start with a byte order mark", "field notes: malformed", func(_ *active, body []byte) []byte {
			return append([]byte("\xef\xbb\xbf"), body...)
		}),
		whole("garbage", "answers are followed by other text", "field notes: malformed", func(_ *active, body []byte) []byte {
			return append(bytes.Clone(body), "\n<!-- end of page -->"...)
		}),
		{Fault: Fault{Group: "body", Name: "errors-bare", Does: "errors have no body", Source: "field notes"},
			spoil: func(_ *exchange, _ *active, r *reply) {
				if r.status >= http.StatusBadRequest {
					r.body = nil
				}
			}},
		{Fault: Fault{Group: "body", Name: "errors-single", Does: "ExtendedInfo is an object, not a list", Source: "observed with gofish v0.26.0, older iDRAC"},
			trait: func(p *persona, _ *active) { p.errors.single = true }},
		{Fault: Fault{Group: "body", Name: "errors-message-id", Does: "errors have MessageID instead of MessageId", Source: "field notes"},
			trait: func(p *persona, _ *active) { p.errors.idKey = "MessageID" }},
		{Fault: Fault{Group: "body", Name: "error-in-200", Does: "changes are answered 200 with an error inside, and nothing happens", Source: "observed with gofish v0.26.0"},
			before: func(x *exchange, _ *active) bool {
				if x.r.Method == http.MethodGet || x.r.Method == http.MethodHead || cleanPath(x.r.URL.Path) == x.b.sessionsPath() {
					return false
				}
				x.drain()
				return x.fail(http.StatusOK, critical("InternalError", "Try again.", nil, "Internal error."))
			}},
	}, resourceFaults()...)
}

// resourceFaults change resources as they are shown.
func resourceFaults() []*fault {
	shape := func(name, does, source string, f func(b *BMC, a *active, path string, d map[string]any)) *fault {
		return &fault{Fault: Fault{Group: "body", Name: name, Does: does, Source: source}, shape: f}
	}
	members := func(name, does, source string, f func(path string) any) *fault {
		return shape(name, does, source, func(_ *BMC, _ *active, path string, d map[string]any) {
			if _, is := d["Members"]; is {
				d["Members"] = f(path)
			}
		})
	}
	missing := shape("members-missing", "collections have no Members", "observed with gofish v0.26.0", func(_ *BMC, _ *active, _ string, d map[string]any) { delete(d, "Members") })
	evil := shape("link-evil", "links lead to another host", "observed with gofish v0.26.0", func(_ *BMC, a *active, _ string, d map[string]any) {
		relink(d, func(s string) string { return "https://" + a.text + s })
	})
	evil.Arg, evil.Default, evil.kind = "host:port", "127.66.6.6:1", argText
	at := shape("link-at", "links begin with @host, so that base + link is another host", "observed with gofish v0.26.0", func(_ *BMC, a *active, _ string, d map[string]any) {
		relink(d, func(s string) string { return "@" + a.text + s })
	})
	at.Arg, at.Default, at.kind = "host:port", "127.66.6.6:1", argText
	return []*fault{
		shape("nulls", "all values of a resource but its own link are null", "observed with gofish v0.26.0, idrac_exporter #109", func(_ *BMC, _ *active, _ string, d map[string]any) {
			for k := range d {
				if !strings.HasPrefix(k, "@odata") && k != "Members" {
					d[k] = nil
				}
			}
		}),
		shape("wrong-types", "texts are numbers, numbers texts, objects lists", "observed with gofish v0.26.0", func(_ *BMC, _ *active, _ string, d map[string]any) { mistype(d) }),
		members("members-empty", "collections are empty", "field notes: BMC reboot", func(string) any { return []any{} }),
		members("members-null", "collections hold null, {} and a broken link", "observed with gofish v0.26.0", func(path string) any {
			return []any{nil, map[string]any{}, map[string]any{"@odata.id": path + "/broken"}}
		}),
		missing,
		members("members-loop", "collections have themselves as members", "field notes: Members", func(path string) any {
			return []any{map[string]any{"@odata.id": path}}
		}),
		shape("next-link-loop", "collections go on at themselves", "observed with gofish v0.26.0", func(_ *BMC, _ *active, path string, d map[string]any) {
			if _, is := d["Members"]; is {
				d["Members@odata.nextLink"] = path
			}
		}),
		evil, at,
	}
}

// relink changes all links to elsewhere below d; its own link stays.
func relink(d map[string]any, f func(string) string) {
	for k, v := range d {
		switch v := v.(type) {
		case map[string]any:
			for _, key := range []string{"@odata.id", "target"} {
				if s, ok := v[key].(string); ok {
					v[key] = f(s)
				}
			}
			relinkInside(v, f)
		case []any:
			for _, x := range v {
				if m, ok := x.(map[string]any); ok {
					relink(map[string]any{k: m}, f)
				}
			}
		}
	}
}

func relinkInside(d map[string]any, f func(string) string) {
	inside := map[string]any{}
	for k, v := range d {
		if k != "@odata.id" && k != "target" {
			inside[k] = v
		}
	}
	relink(inside, f)
}

// mistype gives every value but links a type of its own.
func mistype(d map[string]any) {
	for k, v := range d {
		if strings.HasPrefix(k, "@odata") || k == "target" {
			continue
		}
		switch v := v.(type) {
		case string:
			d[k] = len(v)
		case float64:
			d[k] = "many"
		case bool:
			d[k] = "yes"
		case map[string]any:
			if _, isLink := v["@odata.id"]; !isLink {
				mistype(v)
			}
		case []any:
			if k != "Members" {
				d[k] = map[string]any{}
			}
		}
	}
}
