package selection

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/beskar7/beskar7/pkg/agent/protocol"
)

// listed is how many disks a message names: a shelf of 84 would hide what to do.
const listed = 12

// Describe is a disk for people: its name in this run and what tells it from others.
func Describe(d protocol.Disk) string {
	parts := []string{cmp.Or(strings.TrimSpace(d.Vendor+" "+d.Model), string(d.Type), "disk")}
	if d.Size > 0 {
		parts = append(parts, size(d.Size))
	}
	switch {
	case d.Serial != "":
		parts = append(parts, "serial "+d.Serial)
	case d.WWN != "":
		parts = append(parts, "wwn "+d.WWN)
	case d.EUI != "":
		parts = append(parts, "eui "+d.EUI)
	case d.PCIPath != "":
		parts = append(parts, "no serial, at "+d.PCIPath)
	default:
		parts = append(parts, "no serial")
	}
	return fmt.Sprintf("%s (%s)", d.Name, strings.Join(parts, ", "))
}

func names(devices []*device) []string {
	out := make([]string, len(devices))
	for i, d := range devices {
		out[i] = Describe(d.disk())
	}
	return out
}

func list(what []string) string {
	if more := len(what) - listed; more > 0 {
		return fmt.Sprintf("%s; and %d more", strings.Join(what[:listed], "; "), more)
	}
	return strings.Join(what, "; ")
}

// describe is a selector in the words in which a user wrote it.
func describe(s protocol.Selector) string {
	var parts []string
	for _, field := range []struct{ name, value string }{
		{"type", string(s.Type)}, {"serial", s.Serial}, {"wwn", s.WWN}, {"eui", s.EUI}, {"pciPath", s.PCIPath}, {"model", s.Model},
	} {
		if field.value != "" {
			parts = append(parts, field.name+" "+field.value)
		}
	}
	if s.MinSize > 0 {
		parts = append(parts, "at least "+size(s.MinSize))
	}
	if s.MaxSize > 0 {
		parts = append(parts, "at most "+size(s.MaxSize))
	}
	return cmp.Or(strings.Join(parts, ", "), "any disk")
}

// size is a number of bytes as it is printed on disks: in powers of ten.
func size(n int64) string {
	units := []string{"bytes", "kB", "MB", "GB", "TB", "PB"}
	value, unit := float64(n), 0
	for value >= 1000 && unit < len(units)-1 {
		value, unit = value/1000, unit+1
	}
	if unit == 0 {
		return fmt.Sprintf("%d bytes", n)
	}
	return strings.TrimSuffix(fmt.Sprintf("%.1f", value), ".0") + " " + units[unit]
}
