package main

import (
	"fmt"
	"slices"
	"strings"
)

// text is a run for a person.
func text(r run) string {
	var out strings.Builder
	fmt.Fprintf(&out, "%s\n", r.Name)
	names := make([]string, 0, len(r.Measures))
	for name := range r.Measures {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		fmt.Fprintf(&out, "  %-20s %10.3f  %s\n", name, r.Measures[name], measures[name])
	}
	if len(r.Conflicts) > 0 {
		fmt.Fprintf(&out, "  conflicts %v, calls %v\n", r.Conflicts, r.Calls)
	}
	if r.Requests != nil {
		fmt.Fprintf(&out, "  requests %v\n", r.Requests.By)
	}
	for _, lines := range [][]string{r.Verdict.Doubles, r.Verdict.Stranded} {
		for _, line := range lines[:min(len(lines), keptErrors)] {
			fmt.Fprintf(&out, "  ! %s\n", line)
		}
	}
	return out.String()
}
