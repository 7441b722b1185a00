package redfish

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// told is what a BMC says of itself, as far as it was read.
type told struct {
	// software is of the service root and the manager, maker of the system.
	software, maker []string
	// models are of manager and system, firmware is the manager's version.
	models   []string
	firmware string
	// manager: the manager was read, so that rows of a family can be told apart.
	manager bool
}

// rowNamed finds a row by its name.
func rowNamed(name string) *vendor {
	for i := range vendors {
		if strings.EqualFold(vendors[i].name, name) {
			return &vendors[i]
		}
	}
	return nil
}

// knownVendor tells whether a Target may name it: a row or a family.
func knownVendor(name string) bool {
	return slices.ContainsFunc(vendors, func(v vendor) bool {
		return strings.EqualFold(v.name, name) || strings.EqualFold(v.family, name)
	})
}

// chooseRow finds the row: the one that was named; else within the family that
// was named, or that the BMC's software or its maker points to. What was learned
// earlier decides between the rows of a family until the manager was read.
func chooseRow(name, learned string, by told) *vendor {
	family := ""
	if knownVendor(name) {
		family = name
		if row := rowNamed(name); row != nil {
			// The last row of a family bears its name and also leaves the choice.
			if !strings.EqualFold(row.name, row.family) || row.name == genericVendor {
				return row
			}
		}
	}
	if family == "" {
		family = familyOf(by)
	}
	if row := rowNamed(learned); row != nil && strings.EqualFold(row.family, family) && !by.manager {
		return row
	}
	return rowWithin(family, by)
}

func familyOf(by told) string {
	software, maker := joined(by.software), joined(by.maker)
	for _, v := range vendors {
		if mentions(software, v.software) {
			return v.family
		}
	}
	for _, v := range vendors {
		if mentions(maker, v.maker) {
			return v.family
		}
	}
	return genericVendor
}

// rowWithin: a row whose models are named; else the first without a model that
// fits the firmware; else the family's last.
func rowWithin(family string, by told) *vendor {
	var rows []*vendor
	for i := range vendors {
		if strings.EqualFold(vendors[i].family, family) {
			rows = append(rows, &vendors[i])
		}
	}
	if len(rows) == 0 {
		return rowNamed(genericVendor)
	}
	models, all := joined(by.models), joined(append(slices.Clone(by.software), by.maker...))
	for _, row := range rows {
		if len(row.models) > 0 && mentions(models+all, row.models) {
			return row
		}
	}
	for _, row := range rows {
		if (row.from != "" || row.before != "") && by.firmware != "" && inRange(by.firmware, row.from, row.before) {
			return row
		}
	}
	// ASRock Rack and MegaRAC share a family but not a maker.
	for _, row := range rows {
		if row.models == nil && row.from == "" && row.before == "" && mentions(all, row.software) {
			return row
		}
	}
	return rows[len(rows)-1]
}

func joined(words []string) string {
	return "\n" + strings.ToLower(strings.Join(words, "\n")) + "\n"
}

func mentions(said string, words []string) bool {
	return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(said, w) })
}

// versionNumbers finds the dotted number in a firmware version.
var versionNumbers = regexp.MustCompile(`\d+(\.\d+)+`)

// inRange tells whether the version is at least from and below before. A version
// without a dotted number is in no range.
func inRange(version, from, before string) bool {
	v := versionNumbers.FindString(version)
	if v == "" {
		return false
	}
	return (from == "" || compareVersions(v, from) >= 0) && (before == "" || compareVersions(v, before) < 0)
}

func compareVersions(a, b string) int {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range max(len(as), len(bs)) {
		if d := component(as, i) - component(bs, i); d != 0 {
			return d
		}
	}
	return 0
}

func component(parts []string, i int) int {
	if i >= len(parts) {
		return 0
	}
	n, _ := strconv.Atoi(parts[i]) // digits, or so long that it does not matter
	return n
}
