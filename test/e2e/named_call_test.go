//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// cut is where in a life the manager is killed: before a call is forwarded, or after its effect and before its answer.
type cut struct {
	call  string
	after bool
}

func (c cut) String() string {
	if c.call == "" {
		return "undisturbed"
	}
	if c.after {
		return c.call + ", after"
	}
	return c.call + ", before"
}

// cutPattern reads what String says.
var cutPattern = regexp.MustCompile(`^(.*), (before|after)$`)

// verdict is what happens to a call.
type verdict int

const (
	goOn verdict = iota
	killBefore
	killAfter
)

// calls counts what a manager asks in one life, by name. It is safe for concurrent use.
type calls struct {
	mu      sync.Mutex
	life    bool
	count   map[string]int
	ordered []string
	cut     cut
	hit     bool
}

// begin starts the count of a life.
func (c *calls) begin(at cut) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.life, c.count, c.ordered, c.cut, c.hit = true, map[string]int{}, nil, at, false
}

// end returns the calls of the life in their order, and whether the cut was reached.
func (c *calls) end() ([]string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.life = false
	return c.ordered, c.hit
}

// meet is told of a call before it is forwarded.
func (c *calls) meet(name string) verdict {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.life || name == "" {
		return goOn
	}
	c.count[name]++
	full := fmt.Sprintf("%s #%d", name, c.count[name])
	c.ordered = append(c.ordered, full)
	switch {
	case c.hit || full != c.cut.call:
		return goOn
	case c.cut.after:
		c.hit = true
		return killAfter
	}
	c.hit = true
	return killBefore
}

// changes says whether a call can have an effect on an object or a server; the others are reads and what is said to people.
func changes(call string) bool {
	verb, rest, _ := strings.Cut(call, " ")
	return verb != "get" && verb != "list" && verb != "GET" && !strings.HasPrefix(rest, "events")
}

// objectPath finds resource, name and subresource in the path of a request to the API server.
var objectPath = regexp.MustCompile(`^/apis?/(?:[^/]+/)?v[^/]+/(?:namespaces/[^/]+/)?([a-z0-9]+)(?:/([^/]+))?(?:/([a-z]+))?$`)

// apiCall names a request to the API server: its verb, the resource, and which fields it writes. Watches, and the Leases that are
// renewed all the time, have no name.
func apiCall(r *http.Request, body []byte) string {
	m := objectPath.FindStringSubmatch(r.URL.Path)
	if m == nil || r.URL.Query().Has("watch") || m[1] == "leases" {
		return ""
	}
	resource, name, sub := m[1], m[2], m[3]
	verbs := map[string]string{http.MethodPost: "create", http.MethodPut: "update", http.MethodPatch: "patch", http.MethodDelete: "delete"}
	verb := verbs[r.Method]
	switch {
	case r.Method != http.MethodGet:
	case name != "":
		verb = "get"
	default:
		verb = "list"
	}
	words := []string{verb, resource}
	if sub != "" {
		words[1] += "/" + sub
	}
	if fields := fieldsOf(sub, body); fields != "" {
		words = append(words, fields)
	}
	return strings.Join(words, " ")
}

// fieldsOf says which fields a body writes.
func fieldsOf(sub string, body []byte) string {
	var tree map[string]any
	if json.Unmarshal(body, &tree) != nil {
		return ""
	}
	status, _ := tree["status"].(map[string]any)
	if state, ok := status["state"]; ok && sub == "status" {
		return fmt.Sprintf("{state=%v}", state)
	}
	var fields []string
	for _, part := range []string{"metadata", "spec", "status"} {
		branch, _ := tree[part].(map[string]any)
		for key, value := range branch {
			if key != "resourceVersion" && key != "uid" && key != "managedFields" {
				fields = append(fields, leaves(part+"."+key, value)...)
			}
		}
	}
	if len(fields) == 0 || tree["kind"] != nil { // a whole object
		return ""
	}
	slices.Sort(fields)
	return "{" + strings.Join(fields, ",") + "}"
}

// leaves of a field: of a claim that is not set as a whole its parts, else the field itself; one that is taken away has a minus.
func leaves(field string, value any) []string {
	branch, ok := value.(map[string]any)
	switch {
	case value == nil:
		return []string{"-" + field}
	case !ok || field != "spec.claim" || branch["id"] != nil:
		return []string{field}
	}
	var out []string
	for _, key := range slices.Sorted(maps.Keys(branch)) {
		out = append(out, leaves(field+"."+key, branch[key])...)
	}
	return out
}

// bmcCall names a request to a BMC: its method and what it is sent to, and of a change what it asks for.
func bmcCall(r *http.Request, body []byte) string {
	what := strings.TrimPrefix(path.Clean(r.URL.Path), "/redfish/v1/")
	if strings.Contains(what, "SessionService/Sessions/") {
		what = "SessionService/Sessions/one"
	}
	var tree map[string]any
	if json.Unmarshal(body, &tree) != nil {
		return r.Method + " " + what
	}
	if kind, ok := tree["ResetType"]; ok {
		return fmt.Sprintf("%s %s %v", r.Method, what, kind)
	}
	if boot, ok := tree["Boot"].(map[string]any); ok {
		return fmt.Sprintf("%s %s %v", r.Method, what, boot["BootSourceOverrideEnabled"])
	}
	return r.Method + " " + what
}

// TestNamesOfCalls: the same call has the same name in every life, and two that do different things have two.
func TestNamesOfCalls(t *testing.T) {
	for _, c := range []struct{ method, url, body, want string }{
		{"PATCH", "/apis/g/v1beta1/namespaces/n/physicalhosts/h", `{"metadata":{"resourceVersion":"7"},"spec":{"claim":{"id":"0","machine":"m"},"boot":{}}}`, "patch physicalhosts {spec.boot,spec.claim}"},
		{"PATCH", "/apis/g/v1beta1/namespaces/n/physicalhosts/h", `{"spec":{"claim":{"release":{"by":"m"}}}}`, "patch physicalhosts {spec.claim.release}"},
		{"PATCH", "/apis/g/v1beta1/namespaces/n/physicalhosts/h", `{"spec":{"claim":null,"boot":null}}`, "patch physicalhosts {-spec.boot,-spec.claim}"},
		{"PATCH", "/apis/g/v1beta1/namespaces/n/physicalhosts/h/status", `{"status":{"state":"Booting","power":"On"}}`, "patch physicalhosts/status {state=Booting}"},
		{"GET", "/api/v1/namespaces/n/secrets/s", "", "get secrets"},
		{"GET", "/api/v1/secrets", "", "list secrets"},
		{"GET", "/api/v1/secrets?watch=true", "", ""},
		{"PUT", "/apis/coordination.k8s.io/v1/namespaces/n/leases/l", "{}", ""},
		{"POST", "/apis/events.k8s.io/v1/namespaces/n/events", `{"kind":"Event","reason":"Claimed"}`, "create events"},
		{"GET", "/openapi/v3", "", ""},
	} {
		r, err := http.NewRequest(c.method, "https://api"+c.url, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if got := apiCall(r, []byte(c.body)); got != c.want {
			t.Errorf("%s %s is called %q, want %q", c.method, c.url, got, c.want)
		}
	}
	r, err := http.NewRequest(http.MethodPost, "https://bmc/redfish/v1/Systems/1/Actions/ComputerSystem.Reset", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := bmcCall(r, []byte(`{"ResetType":"On"}`)), "POST Systems/1/Actions/ComputerSystem.Reset On"; got != want {
		t.Errorf("a reset is called %q, want %q", got, want)
	}
}
