package endpoint

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// odd are ways to write a URL that people and attackers find; the value says whether it is one.
var odd = map[string]bool{
	"https://media.example.com:8090": true, "http://192.0.2.5:8090": true, "https://[fd00::5]:8443/base": true, "https://a": true,
	"HTTP://192.0.2.5:8090": false, "Https://192.0.2.5": false, "hTtP://x": false, " http://x": false, "http:/x": false, "http:x": false, "//x": false, "x": false, "": false,
	"http://": false, "https://:443": false, "http:///x": false, "https://x:0": false, "https://x:65536": false, "https://x:a": false, "ftp://x": false,
	"javascript:http://x": false, "http://a b": false, `http://a\b`: false, "http://x\n": false, "http://[::1": false, "https://%zz": false, "http://?x": false, "https://@": false,
}

func TestParse(t *testing.T) {
	for text, want := range odd {
		u, err := Parse(text)
		if (err == nil) != want {
			t.Errorf("%q: %v, %v", text, u, err)
		}
		if err == nil && u.Scheme != "http" && u.Scheme != "https" {
			t.Errorf("%q: scheme %q", text, u.Scheme)
		}
	}
	if _, err := Parse("https://root:calvin@[::1"); err == nil || strings.Contains(err.Error(), "calvin") {
		t.Error("the error tells what it could not read:", err)
	}
}

func TestSecure(t *testing.T) {
	for text, want := range map[string]bool{"https://x": true, "HTTPS://x": true, "http://x": false, "HTTP://x": false, "Http://x": false, "": false, "https:x": false,
		"https://": false, "%": false, " https://x": false} {
		if Secure(text) != want {
			t.Errorf("%q: secure is %v", text, !want)
		}
	}
}

// TestPatternsOfTheAPI: what the API server takes for a URL by its pattern, and Parse does not take, has at least a scheme in
// small letters, so that no guard is passed by how something is written.
func TestPatternsOfTheAPI(t *testing.T) {
	files, err := filepath.Glob("../../config/crd/bases/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	found := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)pattern: '?(\^https\?://.*?\$)'?$`).FindAllStringSubmatch(string(text), -1) {
			found++
			pattern := regexp.MustCompile(m[1])
			for text := range odd {
				if pattern.MatchString(text) && !strings.HasPrefix(text, "http://") && !strings.HasPrefix(text, "https://") {
					t.Errorf("%s: %s takes %q", file, pattern, text)
				}
			}
			if !pattern.MatchString("https://192.0.2.5") {
				t.Errorf("%s: %s takes no URL", file, pattern)
			}
		}
	}
	if found < 4 {
		t.Errorf("%d patterns of URLs were found", found)
	}
}
