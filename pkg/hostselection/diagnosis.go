package hostselection

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Message is one stable sentence: "0/6 hosts available: 4 claimed, 2 do not match the selector". Reasons are ordered by
// count, then by name.
func (d Diagnosis) Message() string {
	if d.Total == 0 {
		return "no PhysicalHost is registered in namespace " + d.Namespace
	}
	var out strings.Builder
	out.WriteString(strconv.Itoa(d.Available))
	out.WriteString("/")
	out.WriteString(strconv.Itoa(d.Total))
	out.WriteString(" hosts available")
	reasons := slices.SortedFunc(maps.Keys(d.Refusals), func(a, b Reason) int {
		return cmp.Or(cmp.Compare(d.Refusals[b], d.Refusals[a]), cmp.Compare(a, b))
	})
	separator := ": "
	for _, reason := range reasons {
		out.WriteString(separator)
		out.WriteString(strconv.Itoa(d.Refusals[reason]))
		out.WriteString(" ")
		out.WriteString(reason.phrase(d.Refusals[reason]))
		separator = ", "
	}
	return out.String()
}

// phrase puts the reason's verb into the singular where one host is meant.
func (r Reason) phrase(count int) string {
	if rest, found := strings.CutPrefix(string(r), "do "); found && count == 1 {
		return "does " + rest
	}
	return string(r)
}
