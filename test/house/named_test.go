package house

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestTheArchitecturePageNamesWhatIsThere(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root, architecturePage))
	if err != nil {
		t.Fatal(err)
	}
	for _, violation := range Named(string(page), repository(t, ".go")) {
		t.Error(violation)
	}
}

func TestAFileThatIsGoneOrNamedTwiceIsFound(t *testing.T) {
	row := func(n, file string) string { return "| " + n + " | `" + file + "` | something |\n" }
	files := []File{{Path: "a/here.go"}}
	for _, c := range []struct {
		page string
		want []string
	}{
		{row("1", "a/here.go"), nil},
		{row("1", "a/here.go") + "and a/gone.go", []string{"docs/architecture.md: there is no a/gone.go"}},
		{row("1", "a/here.go") + row("2", "a/here.go"), []string{"docs/architecture.md: a/here.go is entered twice"}},
		{"a/here.go", []string{"docs/architecture.md: the way of one machine names 0 files, want 1 to 12"}},
	} {
		if got := Named(c.page, files); !slices.Equal(got, c.want) {
			t.Errorf("%s\ngot %s\nwant %s", c.page, strings.Join(got, "\n"), strings.Join(c.want, "\n"))
		}
	}
}
