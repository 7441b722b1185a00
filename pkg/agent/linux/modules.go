package linux

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
	"golang.org/x/sys/unix"
)

// modules are the kernel's, as depmod lists them.
type modules struct {
	sysfs
	folder string
	// insert hands the text of a module to the kernel.
	insert func(text []byte, parameters string) error
	// needs are the files that a file needs, the deepest last; files are the files of modules by their names.
	needs   map[string][]string
	files   map[string]string
	aliases []alias
	loaded  map[string]bool
}

type alias struct{ pattern, module string }

// parameters keep modules from doing more than to be there.
var parameters = map[string]string{"bonding": "max_bonds=0"}

// openModules reads the lists of the kernel that runs.
func openModules(s sysfs, release string) (*modules, error) {
	m := &modules{sysfs: s, folder: filepath.Join("lib/modules", release), needs: map[string][]string{}, files: map[string]string{},
		loaded: map[string]bool{},
		insert: func(text []byte, parameters string) error { return unix.InitModule(text, parameters) }}
	deps, err := os.ReadFile(s.path(m.folder, "modules.dep"))
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(deps)) {
		if file, rest, ok := strings.Cut(line, ":"); ok {
			m.needs[file] = strings.Fields(rest)
			m.files[moduleName(file)] = file
		}
	}
	list, err := os.ReadFile(s.path(m.folder, "modules.alias"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for line := range strings.Lines(string(list)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "alias" {
			m.aliases = append(m.aliases, alias{f[1], f[2]})
		}
	}
	return m, nil
}

// moduleName is the kernel's name of a file: "kernel/net/8021q/8021q.ko.xz" is 8021q, and a - is a _.
func moduleName(file string) string {
	name, _, _ := strings.Cut(path.Base(file), ".ko")
	return strings.ReplaceAll(name, "-", "_")
}

// errNoModule says that a module is not there: it is built in, or was left out.
var errNoModule = errors.New("there is no such module")

// load loads a module and what it needs.
func (m *modules) load(name string) error {
	file, ok := m.files[strings.ReplaceAll(name, "-", "_")]
	if !ok {
		return errNoModule
	}
	for _, need := range slices.Backward(m.needs[file]) {
		if err := m.one(need); err != nil {
			return err
		}
	}
	return m.one(file)
}

func (m *modules) one(file string) error {
	if m.loaded[file] {
		return nil
	}
	m.loaded[file] = true // one that fails once does so again
	text, err := os.ReadFile(m.path(m.folder, file))
	if err != nil {
		return err
	}
	if text, err = unpackModule(file, text); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if err := m.insert(text, parameters[moduleName(file)]); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}

func unpackModule(file string, text []byte) ([]byte, error) {
	switch path.Ext(file) {
	case ".zst":
		z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, err
		}
		defer z.Close()
		return z.DecodeAll(text, nil)
	case ".xz":
		x, err := xz.NewReader(bytes.NewReader(text))
		if err != nil {
			return nil, err
		}
		return io.ReadAll(x)
	}
	return text, nil
}

// coldplug loads what the devices that are there ask for, and returns how many modules were new. Devices behind a controller are seen
// once its own module is there, so that it takes several turns.
func (m *modules) coldplug() (int, error) {
	wanted := map[string]bool{}
	err := filepath.WalkDir(m.path("sys/devices"), func(at string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != "modalias" {
			return nil //nolint:nilerr // devices come and go while they are looked at
		}
		if text, err := os.ReadFile(at); err == nil {
			wanted[strings.TrimSpace(string(text))] = true
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	before := len(m.loaded)
	var failed []error
	for _, a := range m.aliases {
		if !m.asked(a.pattern, wanted) {
			continue
		}
		if err := m.load(a.module); err != nil && !errors.Is(err, errNoModule) {
			failed = append(failed, err)
		}
	}
	return len(m.loaded) - before, errors.Join(failed...)
}

func (m *modules) asked(pattern string, wanted map[string]bool) bool {
	if wanted[pattern] {
		return true
	}
	if !strings.ContainsAny(pattern, "*?[") {
		return false
	}
	for name := range wanted {
		if ok, err := path.Match(pattern, name); ok && err == nil {
			return true
		}
	}
	return false
}
