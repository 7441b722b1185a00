package bootmedia

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"regexp"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// The forms that cloud-init takes user data in: plain, gzipped, base64 of either,
// and MIME messages whose parts are again any of these. Each part is a cloud-config,
// a Jinja template of one, a script, or names others that are fetched at boot.

const (
	// maxUnpacked bounds what is unpacked; a Secret has 1 MiB.
	maxUnpacked = 8 << 20
	// maxUserDataParts and maxNesting are far above what providers write.
	maxUserDataParts = 64
	maxNesting       = 4
)

// unpacked is user data in the clear.
type unpacked struct {
	parts [][]byte
	left  int // bytes that may still be unpacked
	// closed: something could not be unpacked, or is not here (#include), so that
	// nothing can be said of all of it.
	closed bool
}

var errTooLarge = errors.New("more than is looked at")

func unpack(userData []byte) *unpacked {
	u := &unpacked{left: maxUnpacked}
	u.add(userData, maxNesting)
	return u
}

func (u *unpacked) add(data []byte, nesting int) {
	if nesting == 0 || len(u.parts) >= maxUserDataParts {
		u.closed = true
		return
	}
	switch {
	case bytes.HasPrefix(data, []byte{0x1f, 0x8b}):
		plain, err := u.gunzip(data)
		if err != nil {
			u.closed = true
			return
		}
		u.add(plain, nesting-1)
	case isMessage(data):
		u.addMessage(data, nesting)
	case isBase64(data):
		plain, err := base64.StdEncoding.DecodeString(string(bytes.Join(bytes.Fields(data), nil)))
		if err != nil {
			u.closed = true
			return
		}
		u.add(plain, nesting-1)
	default:
		u.closed = u.closed || bytes.HasPrefix(data, []byte("#include")) || bytes.HasPrefix(data, []byte("#part-handler"))
		u.parts = append(u.parts, data)
	}
}

func (u *unpacked) gunzip(data []byte) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	plain, err := io.ReadAll(io.LimitReader(z, int64(u.left)+1))
	if len(plain) > u.left {
		return nil, errTooLarge
	}
	u.left -= len(plain)
	return plain, err
}

var header = regexp.MustCompile(`(?i)^(?:content-type|mime-version):`)

func isMessage(data []byte) bool { return header.Match(data) }

// base64Text is text of which nothing but base64 can be made out; the shortest
// cloud-config is longer than what else could be taken for it.
var base64Text = regexp.MustCompile(`^[A-Za-z0-9+/\s]+={0,2}\s*$`)

func isBase64(data []byte) bool {
	return len(data) >= 16 && !bytes.Contains(data, []byte(" ")) && base64Text.Match(data)
}

func (u *unpacked) addMessage(data []byte, nesting int) {
	m, err := mail.ReadMessage(bytes.NewReader(data))
	if err != nil {
		u.closed = true
		return
	}
	kind, parameters, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil {
		u.closed = true
		return
	}
	if !strings.HasPrefix(kind, "multipart/") {
		u.addPart(m.Body, m.Header.Get("Content-Transfer-Encoding"), nesting)
		return
	}
	parts := multipart.NewReader(m.Body, parameters["boundary"])
	for {
		p, err := parts.NextRawPart()
		if err != nil {
			u.closed = u.closed || !errors.Is(err, io.EOF)
			return
		}
		if len(u.parts) >= maxUserDataParts {
			u.closed = true
			return
		}
		inner, _, _ := mime.ParseMediaType(p.Header.Get("Content-Type"))
		if strings.HasPrefix(inner, "multipart/") || strings.HasPrefix(inner,
			"message/") || inner == "text/x-include-url" || inner == "text/part-handler" {
			u.closed = true
		}
		u.addPart(p, p.Header.Get("Content-Transfer-Encoding"), nesting)
	}
}

func (u *unpacked) addPart(body io.Reader, encoding string, nesting int) {
	data, err := io.ReadAll(io.LimitReader(body, int64(u.left)))
	if err != nil {
		u.closed = true
		return
	}
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "base64":
		if data, err = base64.StdEncoding.DecodeString(string(bytes.Join(bytes.Fields(data), nil))); err != nil {
			u.closed = true
			return
		}
	case "", "7bit", "8bit", "binary":
	default: // quoted-printable may break any word
		u.closed = true
	}
	u.left -= len(data)
	u.add(data, nesting-1)
}

// mentions tells whether the word is anywhere in the data, or could be.
func (u *unpacked) mentions(word string) bool {
	return u.closed || slices.ContainsFunc(u.parts, func(p []byte) bool { return bytes.Contains(p, []byte(word)) })
}

// configs are the parts that are cloud-config, as far as they are YAML: a template
// with braces of its own in the structure is not.
func (u *unpacked) configs() []map[string]any {
	var out []map[string]any
	for _, p := range u.parts {
		var doc map[string]any
		if yaml.Unmarshal(p, &doc) == nil {
			out = append(out, doc)
		}
	}
	return out
}

// autoinstalls tells whether the user data are for Ubuntu's installer.
func autoinstalls(userData []byte) bool {
	u := unpack(userData)
	if slices.ContainsFunc(u.configs(), func(doc map[string]any) bool { _, has := doc["autoinstall"]; return has }) {
		return true
	}
	return slices.ContainsFunc(u.parts, func(p []byte) bool {
		return bytes.HasPrefix(p, []byte("autoinstall:")) || bytes.Contains(p, []byte("\nautoinstall:"))
	})
}

// Unreported says in words for a person why a system with cloud-init, of which a
// report is expected, will not tell how its bootstrap ended: then only the node in
// the workload cluster does. Empty: it will, or nobody expects it to, as no system
// without cloud-init reports.
func Unreported(c Content) string {
	if !families[c.Family].phoneHome {
		return ""
	}
	if autoinstalls(c.UserData) {
		return "the bootstrap data is for Ubuntu's installer, which does not report how the bootstrap of the installed system " +
			"ended: its node in the workload cluster tells"
	}
	u := unpack(c.UserData)
	for _, doc := range u.configs() {
		if vendor, ok := doc["vendor_data"].(map[string]any); ok && vendor["enabled"] == false {
			return "the bootstrap data switches vendor data off (vendor_data.enabled), so that the machine does not report how its " +
				"bootstrap ended: its node in the workload cluster tells"
		}
		if modules, ok := doc["cloud_final_modules"]; ok && u.mentions("bootcmd") && !namesModule(modules, "scripts_vendor") {
			return "the bootstrap data has a bootcmd and leaves scripts_vendor out of cloud_final_modules, so that the machine does " +
				"not report how its bootstrap ended: its node in the workload cluster tells"
		}
	}
	return ""
}

func namesModule(list any, name string) bool {
	modules, _ := list.([]any)
	return slices.ContainsFunc(modules, func(m any) bool {
		if pair, ok := m.([]any); ok && len(pair) > 0 {
			m = pair[0] // name and frequency
		}
		s, _ := m.(string)
		return strings.ReplaceAll(s, "-", "_") == name
	})
}
