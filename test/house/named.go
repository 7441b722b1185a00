package house

import (
	"fmt"
	"regexp"
	"slices"
)

// architecturePage says where things are.
const architecturePage = "docs/architecture.md"

// namedFile is a Go file that a page names by its path.
var namedFile = regexp.MustCompile(`[\w./-]*\w\.go\b`)

// maxWay is how many files the way of one machine may name: more is no way that somebody follows.
const maxWay = 12

// way is a row of the table that follows one machine.
var way = regexp.MustCompile("(?m)^\\| [0-9]+ \\| `([^`]+)`")

// Named checks that each file that the page names exists, and that the way of one machine names few, each of them once.
func Named(page string, files []File) (violations []string) {
	there := func(name string) bool {
		return slices.ContainsFunc(files, func(f File) bool { return f.Path == name })
	}
	names := namedFile.FindAllString(page, -1)
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		if !there(name) {
			violations = append(violations, fmt.Sprintf("%s: there is no %s", architecturePage, name))
		}
	}
	onWay := map[string]bool{}
	for _, row := range way.FindAllStringSubmatch(page, -1) {
		if onWay[row[1]] {
			violations = append(violations, fmt.Sprintf("%s: %s is entered twice", architecturePage, row[1]))
		}
		onWay[row[1]] = true
	}
	if len(onWay) == 0 || len(onWay) > maxWay {
		violations = append(violations,
			fmt.Sprintf("%s: the way of one machine names %d files, want 1 to %d", architecturePage, len(onWay), maxWay))
	}
	return violations
}
