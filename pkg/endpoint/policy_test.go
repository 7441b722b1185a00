package endpoint

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
)

func prefixes(t *testing.T, texts ...string) (out []netip.Prefix) {
	t.Helper()
	for _, text := range texts {
		p, err := ParsePrefix(text)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
	return out
}

// TestForbiddenAddresses: in every way to write them, and nothing beside them.
func TestForbiddenAddresses(t *testing.T) {
	p := NewPolicy(PolicyOptions{})
	for _, text := range []string{
		"127.0.0.1:80", "127.255.255.254:443", "[::1]:80", "[::ffff:127.0.0.1]:80", "[::ffff:169.254.169.254]:80", "[64:ff9b::a9fe:a9fe]:80",
		"[2002:a9fe:a9fe::1]:80", "[::127.0.0.1]:80", "169.254.169.254:80", "169.254.0.1:80", "[fe80::1]:443", "[fe80::1%eth0]:443",
		"[fd00:ec2::254]:80", "[fd20:ce::254]:80", "100.100.100.200:80", "192.0.0.192:80", "168.63.129.16:80", "0.0.0.0:80", "0.1.2.3:80",
		"[::]:80", "224.0.0.1:80", "[ff02::1]:80", "255.255.255.255:80",
	} {
		err := p.Control("tcp", text, nil)
		if forbidden := new(ForbiddenError); !errors.As(err, &forbidden) {
			t.Errorf("%s: %v", text, err)
		} else if host, _, _ := net.SplitHostPort(text); strings.Contains(err.Error(), host) {
			t.Errorf("%s is told: %v", text, err)
		}
	}
	for _, text := range []string{"10.0.0.5:443", "192.168.1.1:80", "172.16.0.1:443", "[fd00::5]:8443", "100.64.0.1:80", "203.0.113.7:443", "[2001:db8::1]:443", "[64:ff9b::a00:5]:443"} {
		if err := p.Control("tcp", text, nil); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
	if err := p.Control("tcp", "bmc.example.com:443", nil); err == nil {
		t.Error("a name passed, which no dialler asks about")
	}
}

// TestAllowAndDeny: what is allowed goes before what is denied, and neither opens the API server by the way.
func TestAllowAndDeny(t *testing.T) {
	api := netip.MustParseAddrPort("127.0.0.1:6443")
	p := NewPolicy(PolicyOptions{Allow: prefixes(t, "127.0.0.0/8", "10.1.0.0/16"), Deny: prefixes(t, "10.0.0.0/8", "fd00::/8"), API: []netip.AddrPort{api}})
	for text, want := range map[string]bool{
		"127.0.0.1:80": true, "10.1.2.3:80": true, "10.2.0.1:80": false, "[fd00::5]:80": false, "192.0.2.1:80": true, "169.254.169.254:80": false,
		"127.0.0.1:6443": false, "[::ffff:127.0.0.1]:6443": false, "[64:ff9b::7f00:1]:6443": false, "127.0.0.1:6444": true,
	} {
		if err := p.Control("tcp", text, nil); (err == nil) != want {
			t.Errorf("%s: %v", text, err)
		}
	}
	p = NewPolicy(PolicyOptions{Allow: prefixes(t, "127.0.0.1"), API: []netip.AddrPort{api}})
	if err := p.Check(api); err != nil {
		t.Error("the one address was named, and is still refused:", err)
	}
	if err := (*Policy)(nil).Control("tcp", "127.0.0.1:80", nil); err != nil {
		t.Error("no policy refuses:", err)
	}
}

// TestDialledByName: the address that a name led to is what counts, not the name.
func TestDialledByName(t *testing.T) {
	asked := 0
	web := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked++ }))
	t.Cleanup(web.Close)
	u, _ := url.Parse(web.URL)
	byName := "http://localhost:" + u.Port()
	c := http.Client{Transport: &http.Transport{DialContext: (&net.Dialer{Control: NewPolicy(PolicyOptions{}).Control}).DialContext}}
	for _, target := range []string{web.URL, byName} {
		resp, err := c.Get(target)
		if forbidden := new(ForbiddenError); !errors.As(err, &forbidden) {
			t.Errorf("%s: %v", target, err)
		}
		if err == nil {
			_ = resp.Body.Close()
		}
	}
	if asked != 0 {
		t.Errorf("%d requests arrived", asked)
	}
}

func TestCheckURL(t *testing.T) {
	p := NewPolicy(PolicyOptions{})
	for text, want := range map[string]bool{"http://127.0.0.1/x": false, "http://localhost/x": false, "http://10.0.0.5/x": true,
		"http://name.invalid/": true, "http://[::ffff:169.254.169.254]/": false} {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.CheckURL(t.Context(), u); (err == nil) != want {
			t.Errorf("%s: %v", text, err)
		}
	}
	if err := p.CheckLiteral("https://169.254.169.254"); err == nil {
		t.Error("a metadata service passes")
	}
	for _, text := range []string{"https://10.0.0.5", "https://localhost", "%zz"} {
		if err := p.CheckLiteral(text); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestResolve(t *testing.T) {
	for text, want := range map[string]string{"https://10.96.0.1": "10.96.0.1:443", "http://10.96.0.1": "10.96.0.1:80", "https://[fd00::1]:6443": "[fd00::1]:6443"} {
		if got := Resolve(t.Context(), text); len(got) != 1 || got[0].String() != want {
			t.Errorf("%s: %v", text, got)
		}
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if got := Resolve(gone, "https://api.example.invalid"); len(got) != 0 {
		t.Error(got)
	}
}

func TestParsePrefix(t *testing.T) {
	for text, want := range map[string]string{"10.0.0.0/8": "10.0.0.0/8", "10.0.0.5": "10.0.0.5/32", "fd00::5": "fd00::5/128", "::ffff:10.0.0.5": "10.0.0.5/32"} {
		if got, err := ParsePrefix(text); err != nil || got.String() != want {
			t.Errorf("%s: %v %v", text, got, err)
		}
	}
	for _, text := range []string{"", "10.0.0.1/8", "bmc.example.com", "10.0.0.0/33", "fe80::1%eth0"} {
		if got, err := ParsePrefix(text); err == nil {
			t.Errorf("%s: %v", text, got)
		}
	}
}
