package bootmedia

import (
	"crypto/tls"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/beskar7/beskar7/pkg/authority"
)

// TestReportsReachTheServerAsItIsInstalled: over https, at an address and at a name that are advertised, with the certificate that the
// manager makes for them; what verifies it is the real watcher. A URL that the certificate is not for is refused, so that the test
// would see one that is not verified at all.
func TestReportsReachTheServerAsItIsInstalled(t *testing.T) {
	if _, err := exec.LookPath("python3"); err != nil {
		t.Log("python3 is not installed: the watcher was not run")
		return
	}
	pair, err := authority.New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	signer, err := authority.Load(pair)
	if err != nil {
		t.Fatal(err)
	}
	key, err := authority.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		certified, advertised string
		want                  int
	}{
		"address": {"127.0.0.1", "127.0.0.1", 1}, "name": {"localhost", "localhost", 1}, "another name": {"media.example.com", "localhost", 0},
	} {
		t.Run(name, func(t *testing.T) {
			leaf, err := signer.Issue(key, []string{c.certified}, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			d := &desk{reports: make(chan string, 10)}
			r := newRig(t, nil, func(o *Options) { o.Recorder = d })
			web := httptest.NewUnstartedServer(r.Handler())
			web.TLS = &tls.Config{Certificates: []tls.Certificate{*leaf}, MinVersion: tls.VersionTLS12}
			web.StartTLS()
			t.Cleanup(web.Close)
			m := newMachine(t, PhoneHomeURL(strings.Replace(web.URL, "127.0.0.1", c.advertised, 1), newToken(t)), pair.Roots...)
			m.script = strings.Replace(m.script, "TRIES = 0.02, 500", "TRIES = 0.02, 3", 1)
			m.write(t, "run/cloud-init/result.json", `{"v1":{"errors":[]}}`)
			m.write(t, "run/cluster-api/bootstrap-success.complete", "success")
			m.boot(t)
			if len(d.reports) != c.want {
				t.Errorf("%d reports arrived, want %d", len(d.reports), c.want)
			}
		})
	}
}
