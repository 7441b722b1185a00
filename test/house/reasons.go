package house

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

const (
	// conditionsFile defines condition types and reasons, statesFile the states of a host; runbook says what each means.
	conditionsFile = "api/v1beta1/conditions.go"
	statesFile     = "api/v1beta1/physicalhost_status.go"
	runbook        = "docs/operations.md"
)

var (
	// told is the constant of a reason or a condition type, with its word: its own, or that of Cluster API, whose constants are named
	// by their words.
	told = regexp.MustCompile(`(?m)^\t(Reason\w+|\w+Condition) += (?:"(\w+)"|clusterv1\.(\w+?)(?:Reason|Condition)\b)`)
	// state is the constant of a host's state.
	state = regexp.MustCompile(`(?m)^\t(State\w+) +HostState = "(\w+)"`)
)

// Reasons checks that each reason, condition and state of the API is given by the product's code, and explained in the runbook:
// what nobody gives is a promise that is not kept, and what nobody explains is of no use to whoever reads it. files are those of the
// product, tests among them or not.
func Reasons(files []File) []string {
	constants, words := map[string]string{}, ""
	var code strings.Builder
	for _, file := range files {
		text := string(file.Text)
		switch {
		case file.Path == conditionsFile:
			for _, m := range told.FindAllStringSubmatch(text, -1) {
				constants[m[1]] = m[2] + m[3]
			}
		case file.Path == statesFile:
			for _, m := range state.FindAllStringSubmatch(text, -1) {
				constants[m[1]] = m[2]
			}
		case file.Path == runbook:
			words = text
		case strings.HasSuffix(file.Path, ".go") && !strings.HasSuffix(file.Path, "_test.go") && !strings.HasPrefix(file.Path, "test/"):
			code.WriteString(text)
		}
	}
	var found []string
	for name, word := range constants {
		given := regexp.MustCompile(`\bv1beta1\.` + name + `\b`)
		if !strings.HasPrefix(name, "State") && !given.MatchString(code.String()) {
			found = append(found, fmt.Sprintf("%s: %s is given by no code", conditionsFile, name))
		}
		if !strings.Contains(words, "`"+word+"`") {
			found = append(found, fmt.Sprintf("%s: `%s` is not explained", runbook, word))
		}
	}
	slices.Sort(found)
	return found
}
