package house

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const root = "../.."

// repository reads all files with one of these endings, of both modules, and not those of caches and build outputs.
func repository(t *testing.T, endings ...string) []File {
	t.Helper()
	var files []File
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := entry.Name()
		if entry.IsDir() {
			if name != root && (strings.HasPrefix(base, ".") || base == "bin" || base == "out" || base == "testdata") {
				return fs.SkipDir
			}
			return nil
		}
		if !slices.Contains(endings, filepath.Ext(base)) {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, name)
		files = append(files, File{Path: filepath.ToSlash(relative), Text: text})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestTheHouseIsInOrder(t *testing.T) {
	files := repository(t, ".go")
	if len(files) < 50 {
		t.Fatalf("only %d Go files found: is this the repository?", len(files))
	}
	for _, violation := range Check(files) {
		t.Error(violation)
	}
}

func lines(n int) string { return strings.Repeat("\t_ = 0\n", n) }

// Each planted file breaks one rule; want is part of what must be said.
func TestEveryRuleFindsItsViolation(t *testing.T) {
	importing := func(pkg, target string) string { return fmt.Sprintf("package %s\n\nimport _ %q\n", pkg, target) }
	for _, planted := range []struct{ path, text, want string }{
		{"pkg/redfish/long.go", "package redfish\n\nfunc f() {\n" + lines(59) + "}\n", "f has 61 lines"},
		{"pkg/redfish/long_test.go", "package redfish\n\nfunc f() {\n" + lines(59) + "}\n", "f has 61 lines"},
		{"pkg/redfish/big.go", "package redfish\n" + strings.Repeat("\n", maxFile), "the file has 501 lines"},
		{"pkg/helpers/a.go", "package helpers\n", "name it after what it is"},
		{"pkg/redfish/broken.go", "package", "expected"},
		{"api/v1beta1/a.go", importing("v1beta1", product+"/pkg/config"), "imports nothing of ours"},
		{"pkg/provision/a.go", importing("provision", product+"/pkg/redfish"), "decisions are pure"},
		{"pkg/provision/a.go", importing("provision", "context"), "no client, no clock"},
		{"pkg/provision/a.go", importing("provision", "log/slog"), "no client, no clock"},
		{"pkg/networkdata/a.go", importing("networkdata", "os"), "renderers have no client"},
		{"pkg/hostselection/a.go", importing("hostselection", "sigs.k8s.io/controller-runtime/pkg/client"), "no client"},
		{"pkg/redfish/a.go", importing("redfish", product+"/api/v1beta1"), "nothing of Kubernetes"},
		{"pkg/redfish/a.go", importing("redfish", "k8s.io/client-go/rest"), "know no Kubernetes"},
		{"pkg/coordinator/bmcqueue/a.go", importing("bmcqueue", product+"/pkg/coordinator"), "not what they are for"},
		{"pkg/agent/erase/a.go", importing("erase", product+"/pkg/redfish"), "runs alone on a server"},
		{"pkg/agent/selection/a.go", importing("selection", product+"/pkg/agent"), "decided purely"},
		{"pkg/coordinator/a.go", importing("coordinator", product+"/pkg/redfish"), "never of BMCs"},
		{"pkg/actuator/a.go", importing("actuator", product+"/pkg/coordinator"), "only glue"},
		{"controllers/a.go", importing("controllers", product+"/pkg/cli"), "wired by main"},
		{"controllers/a.go", importing("controllers", "github.com/stmcginnis/gofish/schemas"), "quirks of Redfish"},
		{"controllers/a_test.go", importing("controllers", "github.com/stmcginnis/gofish"), "quirks of Redfish"},
		{"main.go", importing("main", "github.com/spf13/viper"), "nobody else looks up keys"},
		{"test/emulator/a.go", importing("emulator", product+"/pkg/redfish"), "the witness"},
		{"test/kubeadmhost/a.go", importing("kubeadmhost", product+"/api/v1beta1"), "boot medium"},
		{"pkg/redfish/a_test.go", "package redfish\n\nimport \"time\"\n\nfunc f() { time.Sleep(1) }\n", "wait for what"},
		{"pkg/redfish/a.go", "package redfish\n\nimport now \"time\"\n\nvar f = now.Sleep\n", "wait for what"},
		{"pkg/provision/a.go", "package provision\n\nimport \"time\"\n\nvar x = time.Now()\n", "time is an argument"},
		{"pkg/redfish/a_test.go", "package redfish\n\nfunc f(t T) { t.Skip() }\n", "protects nothing"},
		{"pkg/redfish/a.go", "package redfish\n\n// TODO: later\n", "do it, or file"},
		{"pkg/nodoc/a.go", "package nodoc\n\nconst x = 1\n", "no doc.go"},
	} {
		found := strings.Join(Check([]File{{planted.path, []byte(planted.text)}, documented(planted.path)}), "\n")
		if !strings.Contains(found, planted.want) {
			t.Errorf("planted in %s:\n%s\nwanted %q, found: %s", planted.path, planted.text, planted.want, found)
		}
	}
}

// documented is a doc.go beside file, but for the one file that is planted without.
func documented(file string) File {
	folder := filepath.Dir(file)
	if folder == "pkg/nodoc" {
		return File{Path: "doc.go", Text: []byte("package main\n")}
	}
	name := filepath.Base(folder)
	if folder == "." {
		name = "main"
	}
	return File{Path: filepath.ToSlash(filepath.Join(folder, "doc.go")), Text: []byte("// Package doc.\npackage " + name + "\n")}
}

func TestWhatTheRulesAllow(t *testing.T) {
	for _, allowed := range []struct{ path, text string }{
		{"pkg/redfish/a.go", "package redfish\n\nfunc f() {\n" + lines(58) + "}\n"},
		{"pkg/redfish/a.go", "package redfish\n\nimport _ \"github.com/stmcginnis/gofish/schemas\"\n"},
		{"pkg/redfish/a.go", "package redfish\n\nimport _ \"" + product + "/pkg/redfish/vendors\"\n"},
		{"pkg/redfish/a_test.go", "package redfish\n\nimport _ \"" + product + "/pkg/config\"\n"},
		{"pkg/actuator/a.go", "package actuator\n\nimport _ \"" + product + "/pkg/coordinator/bmcqueue\"\n"},
		{"main.go", "package main\n\nimport _ \"" + product + "/controllers\"\n"},
		{"test/emulator/a.go", "package emulator\n\nimport \"time\"\n\nvar f = time.Sleep\n"},
		{"pkg/redfish/a.go", "package redfish\n\nvar time clock\n\nvar f = time.Sleep\n"},
		{"deps.go", "package main\n\nimport _ \"github.com/spf13/viper\"\n"},
		{"api/v1beta1/zz.go", "// Code generated by a tool. DO NOT EDIT.\n\npackage v1beta1\n" + strings.Repeat("\n", 600)},
	} {
		if found := Check([]File{{allowed.path, []byte(allowed.text)}, documented(allowed.path)}); len(found) > 0 {
			t.Errorf("%s:\n%s\nis allowed, found: %v", allowed.path, allowed.text, found)
		}
	}
}

func TestWhatIsCitedIsDefined(t *testing.T) {
	design, err := os.ReadFile(filepath.Join(root, designPage))
	if err != nil {
		t.Fatal(err)
	}
	for _, violation := range Citations(string(design), repository(t, ".go", ".md", ".yaml", ".sh")) {
		t.Error(violation)
	}
}

func TestACitationWithoutDefinitionIsFound(t *testing.T) {
	design := "**D6. One gate.** As I1 says.\n\n| I1 | One owner. |\n| I1 | Twice. |\n"
	got := strings.Join(Citations(design, []File{
		{Path: "a.go", Text: []byte("// The gate (D6, D7) holds I1/I2.\n")},
		{Path: "b.md", Text: []byte("`D9a`, but neither 0xD8 nor eD5 nor D3-like names\n")},
	}), "\n")
	want := strings.Join([]string{
		"a.go:1: D7 is not defined in docs/design.md",
		"a.go:1: I2 is not defined in docs/design.md",
		"b.md:1: D9a is not defined in docs/design.md",
		"docs/design.md: I1 is defined twice",
	}, "\n")
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestReasonsAreGivenAndExplained(t *testing.T) {
	for _, violation := range Reasons(repository(t, ".go", ".md")) {
		t.Error(violation)
	}
}

func TestAReasonThatIsNotGivenOrExplainedIsFound(t *testing.T) {
	got := strings.Join(Reasons([]File{
		{Path: conditionsFile, Text: []byte("const (\n\tReasonA = \"A\"\n\tReasonB  = clusterv1.BReason\n\tReasonC = \"C\" // of an event\n\tGoodCondition = \"Good\"\n)\n")},
		{Path: statesFile, Text: []byte("const (\n\tStateOne HostState = \"One\"\n\tStateTwo HostState = \"Two\"\n)\n")},
		{Path: runbook, Text: []byte("`A`, `Good` and `One`, but not C.\n")},
		{Path: "controllers/a.go", Text: []byte("x(v1beta1.ReasonA, v1beta1.ReasonBroken, v1beta1.GoodCondition)\n")},
		{Path: "controllers/a_test.go", Text: []byte("x(v1beta1.ReasonB)\n")},
		{Path: "test/e2e/a.go", Text: []byte("x(v1beta1.ReasonC)\n")},
	}), "\n")
	want := strings.Join([]string{
		"api/v1beta1/conditions.go: ReasonB is given by no code",
		"api/v1beta1/conditions.go: ReasonC is given by no code",
		"docs/operations.md: `B` is not explained",
		"docs/operations.md: `C` is not explained",
		"docs/operations.md: `Two` is not explained",
	}, "\n")
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
