package house

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// Lengths is how long each file is, by its path: in lines, or in lines that are too wide.
type Lengths map[string]int

// generated is the line that marks a generated file.
var generated = regexp.MustCompile(`(?m)^// Code generated .* DO NOT EDIT\.$`)

// LongFiles are those of more than maxFile lines, and WideFiles those with lines of more than maxColumn characters. Generated files
// count for nothing, and neither do marks that a tool wants in one line.
func LongFiles(files []File) Lengths {
	return measure(files, func(text []byte) int {
		if lines := bytes.Count(text, []byte("\n")); lines > maxFile {
			return lines
		}
		return 0
	})
}

// WideFiles are told with LongFiles.
func WideFiles(files []File) Lengths {
	return measure(files, func(text []byte) (wide int) {
		for line := range strings.Lines(string(text)) {
			line = strings.TrimSuffix(line, "\n")
			if utf8.RuneCountInString(line) > maxColumn && !strings.HasPrefix(line, "// +kubebuilder:") && !strings.HasPrefix(line, "//go:") {
				wide++
			}
		}
		return wide
	})
}

func measure(files []File, of func(text []byte) int) Lengths {
	found := Lengths{}
	for _, file := range files {
		if n := of(file.Text); n > 0 && !generated.Match(file.Text) {
			found[file.Path] = n
		}
	}
	return found
}

// Beyond compares what was found with what is allowed for the time being: a list that only shrinks. It returns a line for each file
// that is worse than its entry, and for each entry that nothing needs any more.
func Beyond(found, allowed Lengths, what string) (violations []string) {
	for file, n := range found {
		if n > allowed[file] {
			violations = append(violations, fmt.Sprintf("%s: %d %s, %d allowed", file, n, what, allowed[file]))
		}
	}
	for file := range allowed {
		if found[file] == 0 {
			violations = append(violations, fmt.Sprintf("%s: has no %s any more: take its entry away", file, what))
		}
	}
	slices.Sort(violations)
	return violations
}
