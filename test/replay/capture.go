package replay

import (
	"embed"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

//go:embed testdata/*.json
var reduced embed.FS

// Directory is the environment variable that names a directory of whole captures.
const Directory = "BESKAR7_CAPTURES"

// Capture is what a BMC answered: documents by path, without a slash at the end.
type Capture map[string]json.RawMessage

// Load reads the capture of that name: the whole one where BESKAR7_CAPTURES has it, else the reduced one.
func Load(name string) (Capture, error) {
	if dir := os.Getenv(Directory); dir != "" {
		raw, err := os.ReadFile(filepath.Join(dir, name+".json"))
		if err == nil || !os.IsNotExist(err) {
			return parse(raw, err)
		}
	}
	return parse(reduced.ReadFile("testdata/" + name + ".json"))
}

// Open reads a capture from a file.
func Open(path string) (Capture, error) { return parse(os.ReadFile(path)) } //nolint:gosec // the caller names it

func parse(raw []byte, err error) (Capture, error) {
	if err != nil {
		return nil, err
	}
	read := Capture{}
	if err := json.Unmarshal(raw, &read); err != nil {
		return nil, fmt.Errorf("a capture is an object of paths and documents: %w", err)
	}
	out := Capture{}
	for path, doc := range read {
		out[trim(path)] = doc
	}
	return out, nil
}

func trim(path string) string { return strings.TrimRight(path, "/") }
