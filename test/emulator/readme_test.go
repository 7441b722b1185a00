package emulator_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/beskar7/beskar7/test/emulator"
)

// TestReadmeHasTheTables compares README.md with what there is; with
// EMULATOR_README=write it writes the tables.
func TestReadmeHasTheTables(t *testing.T) {
	raw, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	const mark = "run Readme` -->\n"
	head, tables, ok := strings.Cut(string(raw), mark)
	if !ok {
		t.Fatal("README.md has lost its mark")
	}
	want := readmeTables()
	if os.Getenv("EMULATOR_README") == "write" {
		if err := os.WriteFile("README.md", []byte(head+mark+want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if tables != want {
		t.Error("the tables of README.md are old: run EMULATOR_README=write go test ./emulator -run Readme")
	}
}

func readmeTables() string {
	var b strings.Builder
	cell := func(s string) string { return strings.ReplaceAll(s, "|", "or") }
	b.WriteString("\n## Faults\n\n| fault | topic | argument (default) | what it does | source |\n| --- | --- | --- | --- | --- |\n")
	for _, f := range emulator.Faults() {
		arg := f.Arg
		if f.Default != "" {
			arg += " (" + f.Default + ")"
		}
		topic := f.Group
		if f.Requests {
			topic += ", requests"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", f.Name, topic, cell(arg), cell(f.Does), cell(f.Source))
	}
	b.WriteString(catalogueTables())
	b.WriteString("\n## Personas\n")
	for _, p := range emulator.PersonaInfos() {
		fmt.Fprintf(&b, "\n### %s\n\n%s.\n", p.Name, strings.ToUpper(p.About[:1])+p.About[1:])
		for i, o := range p.Oddities {
			if i == 0 {
				b.WriteString("\n")
			}
			fmt.Fprintf(&b, "- %s [%s]\n", o.What, o.Source)
		}
	}
	return b.String()
}
