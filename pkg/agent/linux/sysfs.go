package linux

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/beskar7/beskar7/pkg/agent/protocol"
)

// sysfs reads the kernel's files below a folder, which is / on a server.
type sysfs string

func (s sysfs) path(parts ...string) string {
	return filepath.Join(append([]string{string(s)}, parts...)...)
}

// word is the text of a file, cleaned; "" if it cannot be read.
func (s sysfs) word(parts ...string) string {
	text, err := os.ReadFile(s.path(parts...))
	if err != nil {
		return ""
	}
	return protocol.Clean(string(text))
}

func (s sysfs) number(parts ...string) int64 {
	n, err := strconv.ParseInt(s.word(parts...), 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

func (s sysfs) is(parts ...string) bool { return s.word(parts...) == "1" }

// names are the entries of a folder, in their order.
func (s sysfs) names(parts ...string) []string {
	entries, err := os.ReadDir(s.path(parts...))
	if err != nil {
		return nil
	}
	out := make([]string, len(entries))
	for i, e := range entries {
		out[i] = e.Name()
	}
	return out
}

func (s sysfs) exists(parts ...string) bool {
	_, err := os.Stat(s.path(parts...))
	return err == nil
}

// device is where a link leads, which tells by its path how a device is attached.
func (s sysfs) device(parts ...string) string {
	at, err := filepath.EvalSymlinks(s.path(parts...))
	if err != nil {
		return ""
	}
	return strings.TrimPrefix(at, s.path("sys/devices"))
}
