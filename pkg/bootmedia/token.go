package bootmedia

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strings"
)

// tokenBytes is the entropy of a token: 256 bits cannot be guessed over HTTP.
const tokenBytes = 32

// tokenLen is the length of a token in a URL: 32 bytes in unpadded base64url.
const tokenLen = 43

// The files under /m/<token>/. Many BMCs refuse an image URL that does not end
// in .iso, and some cut it at ? or &.
const (
	bootFile     = "boot.iso"
	configFile   = "config.iso"
	composedFile = "composed.iso"
)

// FileOf is the file under which a medium is served; HashFromURL gives it back.
func FileOf(m Medium) string {
	switch m {
	case Config:
		return configFile
	case Composed:
		return composedFile
	case Boot:
	}
	return bootFile
}

const redacted = "[redacted]"

// Token is a capability for the media of one claim. Whoever has it can read the
// bootstrap data, so it formats as "[redacted]" everywhere; only the URL
// functions of this package write it out.
//
// There are three values, each the SHA-256 of the one before: the token itself
// opens the media, its digest opens the phone-home, and the digest of that is
// the hash that may be stored. So a machine that reports over a plain network
// gives nothing away that opens its media.
//
// The secret sits behind a pointer because fmt calls no methods on the
// unexported fields of a struct: printed as part of one, only an address shows.
type Token struct{ secret *string }

func tokenOf(secret string) Token { return Token{secret: &secret} }

// text is the secret as it stands in a URL; empty for the zero Token.
func (t Token) text() string {
	if t.secret == nil {
		return ""
	}
	return *t.secret
}

// NewToken draws a token with 256 bits of entropy.
func NewToken() (Token, error) {
	var b [tokenBytes]byte
	if _, err := rand.Read(b[:]); err != nil {
		return Token{}, fmt.Errorf("draw media token: %w", err)
	}
	return tokenOf(base64.RawURLEncoding.EncodeToString(b[:])), nil
}

// Hash is the recorded form of the token, 64 hex digits of SHA-256. It opens
// nothing and may be stored and logged.
func (t Token) Hash() string { return phoneHash(t.phoneKey()) }

// phoneKey is the capability for the phone-home alone.
func (t Token) phoneKey() string {
	sum := sha256.Sum256([]byte(t.text()))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// phoneHash is the recorded hash that belongs to a phone-home capability.
func phoneHash(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

// String hides the token.
func (Token) String() string { return redacted }

// GoString hides the token.
func (Token) GoString() string { return redacted }

// Format hides the token from every verb of fmt.
func (Token) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, redacted) }

// MarshalJSON hides the token.
func (Token) MarshalJSON() ([]byte, error) { return json.Marshal(redacted) }

// MarshalText hides the token.
func (Token) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalLog hides the token from logr.
func (Token) MarshalLog() any { return redacted }

// BootURL is where the BMC reads the boot medium: <base>/m/<token>/boot.iso.
func BootURL(base string, t Token) string { return mediumURL(base, t, bootFile) }

// ConfigURL is where the BMC reads the config drive: <base>/m/<token>/config.iso.
func ConfigURL(base string, t Token) string { return mediumURL(base, t, configFile) }

// ComposedURL is where the BMC reads image and data in one: <base>/m/<token>/composed.iso.
func ComposedURL(base string, t Token) string { return mediumURL(base, t, composedFile) }

func mediumURL(base string, t Token, file string) string {
	return strings.TrimRight(base, "/") + "/m/" + t.text() + "/" + file
}

// PhoneHomeURL is where the machine reports its outcome: <base>/p/<capability>.
// The capability is derived from the token and does not open the media.
func PhoneHomeURL(base string, t Token) string {
	return strings.TrimRight(base, "/") + "/p/" + t.phoneKey()
}

// HashFromURL tells whether a URL that a BMC reports as its Image has the form
// of one of ours, and gives the recorded hash of its token and the file
// (as FileOf names it). The caller compares the hash with the recorded
// one: the form alone proves nothing. Host and base path are not looked at, as
// BMCs report them rewritten (case, default ports, addresses for names).
func HashFromURL(raw string) (hash, file string, ok bool) {
	u, err := url.Parse(strings.TrimSpace(raw))
	if err != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", "", false
	}
	t, file, ok := parseMediumPath(u.Path)
	if !ok {
		return "", "", false
	}
	return t.Hash(), file, true
}

// parseMediumPath reads the last three elements of a path, m/<token>/<file>.
func parseMediumPath(path string) (Token, string, bool) {
	rest, file, ok := cutLast(path)
	if !ok || (file != bootFile && file != configFile && file != composedFile) {
		return Token{}, "", false
	}
	rest, secret, ok := cutLast(rest)
	if !ok || !validSecret(secret) || !strings.HasSuffix(rest, "/m") {
		return Token{}, "", false
	}
	return tokenOf(secret), file, true
}

func cutLast(path string) (before, after string, ok bool) {
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return "", "", false
	}
	return path[:i], path[i+1:], true
}

// validSecret accepts exactly the encodings NewToken produces: one token has
// one spelling, so the strict decoder refuses stray trailing bits.
func validSecret(s string) bool {
	if len(s) != tokenLen {
		return false
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	return err == nil && len(b) == tokenBytes
}
