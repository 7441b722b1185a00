package redfish

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/beskar7/beskar7/pkg/endpoint"
)

func TestEndpointKey(t *testing.T) {
	for in, want := range map[string]string{
		"https://BMC.example":      "https://bmc.example:443",
		"https://bmc.example./":    "https://bmc.example:443",
		"http://10.0.0.1":          "http://10.0.0.1:80",
		"https://10.0.0.1:08443//": "https://10.0.0.1:8443",
		"HTTPS://[FD00::1]:443":    "https://[fd00::1]:443",
		"https://[fe80::1%25eth0]": "https://[fe80::1%25eth0]:443",
		" https://bmc ":            "https://bmc:443",
		"":                         "", "bmc": "", "ftp://bmc": "", "https://": "", "https://bmc/redfish/v1": "", "https://a:b@bmc": "",
		"https://bmc?x=1": "", "https://bmc#x": "", "https://bmc:0": "", "https://bmc:99999": "", "https://bmc:x": "", "https:bmc": "", "://": "",
	} {
		got, err := EndpointKey(in)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", in, got, err)
		}
		if want == "" {
			continue
		}
		if again, err := EndpointKey(got); again != got || err != nil {
			t.Errorf("%q is not canonical: %q, %v", got, again, err)
		}
	}
}

func TestEndpointKeyErrorHidesThePassword(t *testing.T) {
	for _, in := range []string{"https://admin:" + canary + "@bmc", "https://admin:" + canary + "%zz@bmc:x y"} {
		if _, err := EndpointKey(in); err == nil || strings.Contains(err.Error(), canary) {
			t.Errorf("%v", err)
		}
	}
}

func TestValidate(t *testing.T) {
	good := Target{Address: "https://bmc", Username: "u", Password: "p"}
	must(t, good.Validate())
	for name, spoil := range map[string]func(*Target){
		"address":     func(t *Target) { t.Address = "bmc" },
		"plain http":  func(t *Target) { t.Address = "http://bmc" },
		"HTTP":        func(t *Target) { t.Address = "HTTP://bmc" },
		"user":        func(t *Target) { t.Username = "" },
		"password":    func(t *Target) { t.Password = "" },
		"fingerprint": func(t *Target) { t.CertificateFingerprint = "ab:cd" },
		"CA":          func(t *Target) { t.CABundle = []byte("x") },
		"skip and pin": func(t *Target) {
			t.InsecureSkipVerify, t.CertificateFingerprint = true, strings.Repeat("ab", 32)
		},
	} {
		bad := good
		spoil(&bad)
		if bad.Validate() == nil {
			t.Errorf("%s is not refused", name)
		}
		if _, err := NewPool(Options{}).BMC(bad); err == nil {
			t.Errorf("the pool takes a bad %s", name)
		}
	}
}

// TestPlainHTTPNeedsConsent: a password in clear is its owner's to decide, and only that is what is told.
func TestPlainHTTPNeedsConsent(t *testing.T) {
	s := newServer(t, plainHTTP)
	target := testTarget(s)
	target.AllowPlain = false
	if _, err := NewPool(Options{}).BMC(target); !errors.Is(err, ErrPlain) {
		t.Fatal(err)
	}
	target.AllowPlain = true
	b, _ := connect(t, target)
	if _, err := b.State(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestForbiddenAddress: nothing is dialled, and a person is told what to do.
func TestForbiddenAddress(t *testing.T) {
	s := newServer(t, plainHTTP)
	p := NewPool(Options{Reach: endpoint.NewPolicy(endpoint.PolicyOptions{})})
	t.Cleanup(func() { _ = p.Close(t.Context()) })
	for _, address := range []string{s.URL, strings.Replace(s.URL, "127.0.0.1", "localhost", 1)} {
		target := testTarget(s)
		target.Address = address
		b, err := p.BMC(target)
		if err != nil {
			t.Fatal(err)
		}
		_, err = b.State(t.Context())
		if KindOf(err) != KindUnreachable || !strings.Contains(err.Error(), "--allow-addresses") {
			t.Errorf("%s: %v", address, err)
		}
	}
	if asked := s.requests(); len(asked) != 0 {
		t.Errorf("requests arrived: %v", asked)
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	target := Target{Address: "https://bmc.invalid", Username: "admin", Password: canary}
	b, p := connect(t, target)
	var out bytes.Buffer
	for _, v := range []any{target, &target, target.Password, b, p, []any{target}, map[string]Password{"p": canary}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		_ = json.NewEncoder(&out).Encode(v)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "v", v)
		slog.New(slog.NewTextHandler(&out, nil)).Info("x", "v", v)
	}
	hexed := fmt.Sprintf("%x", []byte(canary))
	if s := out.String(); strings.Contains(s, canary) || strings.Contains(s, hexed) {
		t.Fatal("password printed")
	}
}
