package bootmedia

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

func newToken(t testing.TB) Token {
	t.Helper()
	token, err := NewToken()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestTokenNeverPrints(t *testing.T) {
	token := newToken(t)
	type holder struct {
		public  Token
		Nested  struct{ inner Token }
		Pointer *Token
	}
	h := holder{public: token, Pointer: &token}
	h.Nested.inner = token
	var out strings.Builder
	for _, v := range []any{token, &token, h, &h, []Token{token}, map[string]Token{"a": token}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&out, verb, v)
		}
		blob, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(blob)
	}
	if strings.Contains(out.String(), token.text()) || strings.Contains(out.String(), fmt.Sprintf("%x", token.text())) {
		t.Fatalf("a token was printed: %s", out.String())
	}
	if got := fmt.Sprint(token); got != redacted {
		t.Fatalf("token prints as %q", got)
	}
}

func TestURLsLeadBackToTheHash(t *testing.T) {
	a, b := newToken(t), newToken(t)
	if a.Hash() == b.Hash() || len(a.Hash()) != 64 {
		t.Fatalf("hashes %q and %q", a.Hash(), b.Hash())
	}
	for _, base := range []string{"https://media.example:8443", "http://10.0.0.1/prefix/", "https://[fd00::1]:1"} {
		for medium, u := range map[Medium]string{Boot: BootURL(base, a), Config: ConfigURL(base, a)} {
			if strings.ContainsAny(u, "?&") || !strings.HasSuffix(u, ".iso") {
				t.Errorf("URL %s", u)
			}
			hash, file, ok := HashFromURL(u)
			if !ok || hash != a.Hash() || file != FileOf(medium) {
				t.Errorf("HashFromURL(%s) = %s %s %v", u, hash, file, ok)
			}
		}
	}
}

func TestPhoneHomeDoesNotOpenMedia(t *testing.T) {
	token := newToken(t)
	u := PhoneHomeURL("https://h", token)
	key := u[strings.LastIndexByte(u, '/')+1:]
	if phoneHash(key) != token.Hash() {
		t.Error("the phone-home capability does not lead to the recorded hash")
	}
	if tokenOf(key).Hash() == token.Hash() {
		t.Error("the phone-home capability opens the media")
	}
}

func TestHashFromURLRefuses(t *testing.T) {
	s := newToken(t).text()
	for _, u := range []string{
		"", "boot.iso", "https://h/m/boot.iso", "https://h/m//boot.iso", "https://h/m/" + s, "https://h/m/" + s + "/other.iso",
		"https://h/x/" + s + "/boot.iso", "https://h/m/" + s + "/boot.iso?a=1", "https://h/m/" + s + "/boot.iso#f",
		"https://h/m/" + s[1:] + "/boot.iso", "https://h/m/" + s + "A/boot.iso", "https://h/m/" + strings.Repeat("*", 43) + "/boot.iso",
		"https://h/m/" + s[:42] + "_/boot.iso\x7f", "https://h/p/" + s, "https://example.org/ubuntu.iso",
	} {
		if hash, _, ok := HashFromURL(u); ok {
			t.Errorf("HashFromURL(%q) = %s", u, hash)
		}
	}
}

func FuzzHashFromURL(f *testing.F) {
	token := newToken(f)
	f.Add(BootURL("https://h", token))
	f.Add("https://h/m/%2e%2e/boot.iso")
	f.Add("/m/" + token.text() + "/config.iso")
	f.Fuzz(func(t *testing.T, u string) {
		hash, file, ok := HashFromURL(u)
		if !ok {
			if hash != "" || file != "" {
				t.Fatalf("refused with a result: %q %q", hash, file)
			}
			return
		}
		if len(hash) != 64 || (file != bootFile && file != configFile) {
			t.Fatalf("HashFromURL(%q) = %q %q", u, hash, file)
		}
	})
}
