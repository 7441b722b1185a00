package config

import (
	"slices"
	"strings"
)

// suggest names the setting that was probably meant; empty if none is near. Near is what differs in a few letters, else what
// begins so, else, of keys, what ends so: people forget the end of a name, or put it into another group.
func suggest(written string, name func(*Setting) string) string {
	best := nearest(written, name)
	if best == "" {
		best = alone(name, func(known string) bool {
			return len(written) >= len("bmc.conn") && hasPrefixFold(known, written)
		})
	}
	if best == "" && !strings.HasPrefix(written, "-") {
		prefix, last := vendorPart(written)
		if dot := strings.LastIndex(last, "."); dot >= 0 {
			last = last[dot+1:]
		}
		best = alone(name, func(known string) bool {
			own, rest := vendorPart(known)
			return own == prefix && len(rest) > len(last) && strings.HasSuffix(strings.ToLower(rest), "."+strings.ToLower(last))
		})
	}
	if best == "" {
		return ""
	}
	return "; did you mean " + best + "?"
}

func nearest(written string, name func(*Setting) string) string {
	const farthest = 4
	best, distance := "", farthest
	for i := range table {
		if d := editDistance(strings.ToLower(written), strings.ToLower(name(&table[i])), farthest); d < distance && name(&table[i]) != "" {
			best, distance = name(&table[i]), d
		}
	}
	return best
}

// alone is the only name for which matches holds; empty if there are several.
func alone(name func(*Setting) string, matches func(string) bool) string {
	found := ""
	for i := range table {
		switch known := name(&table[i]); {
		case known == "" || !matches(known):
		case found != "":
			return ""
		default:
			found = known
		}
	}
	return found
}

func hasPrefixFold(text, prefix string) bool {
	return len(text) >= len(prefix) && strings.EqualFold(text[:len(prefix)], prefix)
}

// vendorPart splits off "vendors.<name>.", with the name under which the vendor has its settings: vendors.idrac is vendors.dell.
func vendorPart(key string) (prefix, rest string) {
	parts := strings.SplitN(key, ".", 3)
	if len(parts) < 3 || parts[0] != "vendors" {
		return "", key
	}
	if vendor := VendorOf(parts[1]); slices.Contains(vendorNames[:], vendor) {
		parts[1] = vendor
	}
	return "vendors." + parts[1] + ".", parts[2]
}

// editDistance is Levenshtein's; texts whose lengths differ by limit or more are as far apart as limit.
func editDistance(a, b string, limit int) int {
	if max(len(a)-len(b), len(b)-len(a)) >= limit {
		return limit
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
