package bootmedia

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

func (r *rig) report(t *testing.T, method, u, kind, body string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, u, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", kind)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

const (
	form = "application/x-www-form-urlencoded"
	js   = "application/json"
)

func TestPhoneHome(t *testing.T) {
	for name, c := range map[string]struct {
		method, kind, body string
		status             int
		want               string
	}{
		"json":           {"POST", js, `{"outcome":"succeeded","detail":""}`, 200, "Succeeded "},
		"put":            {"PUT", js, `{"outcome":"Succeeded"}`, 200, "Succeeded "},
		"failed":         {"POST", js, `{"outcome":"failed","detail":"runcmd\n\u0000 exit  1"}`, 200, "Failed runcmd exit 1"},
		"form":           {"POST", form + "; charset=utf-8", "outcome=failed&detail=a+b&instance_id=i", 200, "Failed a b"},
		"long detail":    {"POST", js, `{"outcome":"failed","detail":"` + strings.Repeat("é", 5000) + `"}`, 200, "Failed " + strings.Repeat("é", maxDetail/2)},
		"no outcome":     {"POST", form, "instance_id=i&hostname=h", 400, ""},
		"other outcome":  {"POST", js, `{"outcome":"maybe"}`, 400, ""},
		"empty":          {"POST", js, "", 400, ""},
		"not json":       {"POST", js, "{", 400, ""},
		"bad form":       {"POST", form, "a=%zz", 400, ""},
		"too long":       {"POST", js, `{"outcome":"failed","detail":"` + strings.Repeat("a", maxReport) + `"}`, 413, ""},
		"get":            {"GET", "", "", 405, ""},
		"trailing value": {"POST", js, `{"outcome":"failed"} {"outcome":"succeeded"}`, 400, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, testImage(40_000, 1))
			token := r.grant(t, "")
			if got := r.report(t, c.method, PhoneHomeURL(r.web.URL+"/prefix", token), c.kind, c.body); got != c.status {
				t.Fatalf("status %d, want %d", got, c.status)
			}
			var want []string
			if c.status == 200 {
				want = []string{c.want}
			}
			if got := r.registry.reports[token.Hash()]; !slices.Equal(got, want) {
				t.Errorf("recorded %q, want %q", got, want)
			}
		})
	}
}

func TestPhoneHomeIsAnsweredAfterItIsRecorded(t *testing.T) {
	r := newRig(t, testImage(40_000, 1))
	token := r.grant(t, "")
	u, body := PhoneHomeURL(r.web.URL, token), `{"outcome":"succeeded"}`
	r.registry.down = errors.New("api server is away")
	if got := r.report(t, "POST", u, js, body); got != 503 {
		t.Errorf("not recorded: %d", got)
	}
	r.registry.down = nil
	for range 2 { // the machine lost the first answer
		if got := r.report(t, "POST", u, js, body); got != 200 {
			t.Errorf("recorded: %d", got)
		}
	}
	r.registry.revoke(token.Hash())
	if got := r.report(t, "POST", u, js, body); got != 404 {
		t.Errorf("revoked: %d", got)
	}
	if got := r.report(t, "POST", r.web.URL+"/p/"+token.text(), js, body); got != 404 {
		t.Errorf("the media token is not the phone-home capability: %d", got)
	}
}

func TestSlowReportDoesNotHoldAConnection(t *testing.T) {
	r := newRig(t, testImage(40_000, 1))
	r.waits.report = 50 * time.Millisecond
	slow, feed := io.Pipe()
	defer func() { _ = feed.Close() }()
	req, err := http.NewRequestWithContext(t.Context(), "POST", PhoneHomeURL(r.web.URL, newToken(t)), slow)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return // cut off before the answer was read
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusRequestTimeout && resp.StatusCode != http.StatusBadRequest {
		t.Errorf("status %d", resp.StatusCode)
	}
}

// I9: what opens anything is in no log line and no error, whatever happens.
func TestNoSecretInLogs(t *testing.T) {
	image := testImage(100_000, 1)
	r := newRig(t, image)
	secret := "hunter2-bootstrap"
	hide := func(g *Grant) {
		g.Content.UserData = []byte("#cloud-config\n# " + secret)
		g.Content.ImageURL += "?sig=" + secret
	}
	streamed, cached := r.grant(t, "", hide), r.grant(t, sha256Of(image), hide)
	broken := r.grant(t, "", hide, func(g *Grant) { g.Content.UserDataFormat = FormatIgnition })
	var said strings.Builder
	for _, token := range []Token{streamed, cached, broken} {
		for _, u := range []string{BootURL(r.web.URL, token), ConfigURL(r.web.URL, token)} {
			for _, h := range []string{"", "bytes=0-1", "bytes=x"} {
				r.get(t, "GET", u, "Range", h)
				r.get(t, "HEAD", u+"x", "Range", h)
			}
		}
		for _, body := range []string{`{"outcome":"failed"}`, "{"} {
			r.report(t, "POST", PhoneHomeURL(r.web.URL, token), js, body)
		}
	}
	r.origin.change(func(o *origin) { o.etag = `"v2"` })
	r.get(t, "GET", BootURL(r.web.URL, streamed))
	said.WriteString((<-r.failures).Error())
	r.registry.down = errors.New("away")
	r.get(t, "GET", BootURL(r.web.URL, streamed))
	r.report(t, "POST", PhoneHomeURL(r.web.URL, streamed), js, `{"outcome":"failed"}`)
	r.registry.down = nil
	r.origin.Close()
	r.forward(probeFresh)
	_, err := r.Prepare(t.Context(), r.origin.URL+"/image.iso?sig="+secret, "")
	if err == nil {
		t.Fatal("a closed server answered")
	}
	r.get(t, "GET", BootURL(r.web.URL, streamed))
	said.WriteString(err.Error() + r.logs.String())
	canaries := []string{secret}
	for _, token := range []Token{streamed, cached, broken} {
		canaries = append(canaries, token.text(), token.phoneKey())
	}
	for _, c := range canaries {
		if strings.Contains(said.String(), c) {
			t.Errorf("%q was logged", c)
		}
	}
	if !strings.Contains(said.String(), "default/host-1") || !strings.Contains(said.String(), `"range"="bytes=0-1"`) {
		t.Error("the access log does not name host and range")
	}
}
