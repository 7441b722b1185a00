package bootmedia

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestGone(t *testing.T) {
	r := newRig(t, testImage(40_000, 1))
	token := r.grant(t, "", func(g *Grant) { g.Expires = time.Now().Add(time.Hour) })
	urls := []string{BootURL(r.web.URL, token), ConfigURL(r.web.URL, token)}
	for _, u := range urls {
		if a := r.get(t, "GET", u); a.status != 200 {
			t.Fatalf("granted: %d", a.status)
		}
	}
	want := r.get(t, "GET", BootURL(r.web.URL, newToken(t)))
	if want.status != 404 {
		t.Fatalf("unknown: %d", want.status)
	}
	same := func(what, u string) {
		t.Helper()
		a := r.get(t, "GET", u)
		if a.status != 404 || !bytes.Equal(a.body, want.body) {
			t.Errorf("%s: %d %q", what, a.status, a.body)
		}
	}
	r.forward(time.Hour)
	for _, u := range urls {
		same("expired", u)
	}
	r.forward(-time.Hour)
	r.registry.revoke(token.Hash())
	for _, u := range urls {
		same("revoked", u)
	}
	for _, path := range []string{"", "/", "/m/", "/m/x/boot.iso", "/p/x", "/m/../p", "/healthz", "/m/" + token.text() + "/other.iso"} {
		same(path, r.web.URL+path)
	}
	r.registry.down = errors.New("api server is away")
	if a := r.get(t, "GET", urls[0]); a.status != 503 || a.header.Get("Retry-After") == "" {
		t.Errorf("source down: %d", a.status)
	}
	if a := r.get(t, "DELETE", urls[0]); a.status != 405 {
		t.Errorf("DELETE: %d", a.status)
	}
}

func TestFloodOfMissesIsNotLoggedAndHoldsNobodyUp(t *testing.T) {
	r := newRig(t, testImage(40_000, 1))
	u := ConfigURL(r.web.URL, r.grant(t, ""))
	for range 3 * missBurst {
		if a := r.get(t, "GET", r.web.URL+"/m/"+newToken(t).text()+"/boot.iso"); a.status != 404 {
			t.Fatalf("status %d", a.status)
		}
	}
	if n := strings.Count(r.logs.String(), "no such medium"); n > missBurst+missRate*10 {
		t.Errorf("%d misses logged", n)
	}
	if a := r.get(t, "GET", u); a.status != 200 {
		t.Errorf("a valid token in the flood: %d", a.status)
	}
}

func TestEveryReplicaServesTheSame(t *testing.T) {
	image := testImage(100_000, 1)
	a := newRig(t, image)
	token := a.grant(t, sha256Of(image))
	b := newRig(t, nil)
	g, err := a.registry.Grant(t.Context(), token.Hash())
	if err != nil {
		t.Fatal(err)
	}
	b.registry.set(token.Hash(), g)
	b.forward(48 * time.Hour)
	if a := b.get(t, "GET", BootURL(b.web.URL, token)); a.status != 503 || a.header.Get("Retry-After") == "" {
		t.Errorf("a cold replica answers %d", a.status)
	}
	<-b.woken
	for _, url := range []func(string, Token) string{BootURL, ConfigURL} {
		x, y := a.get(t, "GET", url(a.web.URL, token)), b.get(t, "GET", url(b.web.URL, token))
		if x.status != 200 || y.status != 200 || !bytes.Equal(x.body, y.body) || x.header.Get("ETag") != y.header.Get("ETag") {
			t.Errorf("replicas differ: %d %d", x.status, y.status)
		}
	}
}

func TestFamilyNoneHasNoConfig(t *testing.T) {
	r := newRig(t, testImage(40_000, 1))
	token := r.grant(t, "", func(g *Grant) { g.Content.Family = FamilyNone })
	if a := r.get(t, "GET", ConfigURL(r.web.URL, token)); a.status != 404 {
		t.Errorf("config.iso: %d", a.status)
	}
	if a := r.get(t, "GET", BootURL(r.web.URL, token)); a.status != 200 {
		t.Errorf("boot.iso: %d", a.status)
	}
	token = r.grant(t, "", func(g *Grant) { g.Content.Hostname = "not a name" })
	if a := r.get(t, "GET", ConfigURL(r.web.URL, token)); a.status != 500 || bytes.Contains(a.body, []byte("not a name")) {
		t.Errorf("a drive that cannot be built: %d %q", a.status, a.body)
	}
}

// behind is a source that learns of a grant only after it was asked some times.
type behind struct {
	*registry
	asks atomic.Int64
	hash string
	late Grant
}

func (b *behind) Grant(ctx context.Context, hash string) (Grant, error) {
	if b.asks.Add(1) == 3 {
		b.set(b.hash, b.late)
	}
	return b.registry.Grant(ctx, hash)
}

func TestReplicaThatIsBehindWaitsForTheGrant(t *testing.T) {
	source := &behind{registry: newRegistry()}
	r := newRig(t, testImage(40_000, 1), func(o *Options) { o.Source = source })
	r.waits.late = time.Minute
	token := r.grant(t, "")
	g, err := r.registry.Grant(t.Context(), token.Hash())
	if err != nil {
		t.Fatal(err)
	}
	source.hash, source.late = token.Hash(), g
	if a := r.get(t, "GET", BootURL(r.web.URL, token)); a.status != 200 {
		t.Errorf("status %d", a.status)
	}
	// One that is expired will not become known, and those who guess do not wait in numbers.
	r.waits.late = 0
	source.set(token.Hash(), Grant{Expires: time.Now()})
	before := source.asks.Load()
	if a := r.get(t, "GET", BootURL(r.web.URL, token)); a.status != 404 || source.asks.Load() != before+1 {
		t.Errorf("expired: %d after %d looks", a.status, source.asks.Load()-before)
	}
	for range lateMost {
		r.late <- struct{}{}
	}
	r.waits.late = time.Minute
	if a := r.get(t, "GET", BootURL(r.web.URL, newToken(t))); a.status != 404 {
		t.Errorf("a guess among many: %d", a.status)
	}
}
