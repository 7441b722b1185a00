package house

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// designPage defines the decisions and invariants that code and docs cite by number.
const designPage = "docs/design.md"

var (
	// cited is a decision or an invariant in a text: "D6", "D9a", "I4". Hexadecimal digits and words that go on are none.
	cited = regexp.MustCompile(`(?:^|[^\w.#-])([DI][1-9][0-9]?a?)(?:[^\w-]|$)`)
	// defined begins a decision's paragraph, or stands in the first column of the table of invariants.
	defined = regexp.MustCompile(`(?m)^(?:\*\*|\| )([DI][1-9][0-9]?a?)[. ]`)
)

// Citations checks that each decision and invariant that files cite is defined in the design page, once. In Go files comments and
// strings count; whoever reads "D7" in a message wants to look it up, too.
func Citations(design string, files []File) []string {
	known := map[string]bool{}
	var found []string
	for _, match := range defined.FindAllStringSubmatch(design, -1) {
		if known[match[1]] {
			found = append(found, fmt.Sprintf("%s: %s is defined twice", designPage, match[1]))
		}
		known[match[1]] = true
	}
	for _, file := range files {
		for number, line := range strings.Split(string(file.Text), "\n") {
			for _, citation := range citations(line) {
				if !known[citation] {
					found = append(found, fmt.Sprintf("%s:%d: %s is not defined in %s", file.Path, number+1, citation, designPage))
				}
			}
		}
	}
	slices.Sort(found)
	return found
}

// citations are all of a line; neighbours share the character between them, so each search begins within the last match.
func citations(line string) []string {
	var all []string
	for {
		at := cited.FindStringSubmatchIndex(line)
		if at == nil {
			return all
		}
		all = append(all, line[at[2]:at[3]])
		line = line[at[3]:]
	}
}
