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

// passing are the reasons that end by themselves, often within seconds, and come again.
var passing = map[Reason]bool{NotReady: true, Cooling: true}

// Same says whether the other diagnosis tells a person nothing new: the same number of hosts in all, and the same reasons, whatever
// the numbers. Reasons that pass by themselves count only where there is no other.
func (d Diagnosis) Same(other Diagnosis) bool {
	return d.Total == other.Total && (d.Available == 0) == (other.Available == 0) && slices.Equal(d.lasting(), other.lasting())
}

func (d Diagnosis) lasting() []Reason {
	all := slices.Sorted(maps.Keys(d.Refusals))
	lasting := slices.DeleteFunc(slices.Clone(all), func(r Reason) bool { return passing[r] })
	if len(lasting) == 0 {
		return all
	}
	return lasting
}
