package replay

import (
	"fmt"
	"strings"
)

// Page is what docs/hardware.md says of the captures: the expectations that the driver is held against, for people.
func Page() string {
	var out strings.Builder
	out.WriteString(`## What real BMCs say

The driver is held against captures of real BMCs, which vendors and operators published, and of sushy-tools. The tables were written by
reading the documents; a test fails where the driver finds something else. *unknown* is what the BMC does not tell: a requirement for it
refuses the host as one with unknown hardware, not as one with too little. To add yours, see ` + "`test/replay`" + `.

| Capture | Server | Row | BMC | Processors | Memory | Disks | Ports | Accelerators |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
`)
	all := Expectations()
	for i := range all {
		e := &all[i]
		fmt.Fprintf(&out, "| %s | %s | `%s` | %s | %s | %s | %s | %s | %s |\n", e.Capture, cell(e.Server), e.Row, cell(e.BMC), cell(e.CPU),
			memory(e.MemoryMiB), or(strings.TrimPrefix(several(e.Disks), "-"), unknown), count(len(e.Ports)), several(e.Accelerators))
	}
	out.WriteString(`
| Capture | Media slots | Boot override | A boot from CD is asked for at | What a person is told | What is odd |
| --- | --- | --- | --- | --- | --- |
`)
	for i := range all {
		e := &all[i]
		fmt.Fprintf(&out, "| %s | %s | %s | %s | %s | %s |\n", e.Capture, several(e.Slots), cell(e.Override), place(e.Boot), several(e.Problems), cell(e.Notes))
	}
	return out.String()
}

// Captured are the captures of BMCs that a row of the vendor table is for.
func Captured(row string) (names []string) {
	for _, e := range Expectations() {
		if e.Row == row {
			names = append(names, e.Capture)
		}
	}
	return names
}

func memory(mib int64) string {
	switch {
	case mib == 0:
		return unknown
	case mib%1024 != 0:
		return fmt.Sprint(mib, " MiB")
	}
	return fmt.Sprint(mib/1024, " GiB")
}

func count(n int) string {
	if n == 0 {
		return unknown
	}
	return fmt.Sprint(n)
}

func place(request string) string {
	fields := strings.Fields(request)
	if len(fields) < 2 {
		return "-"
	}
	return "`" + fields[1] + "`"
}

func several(list []string) string {
	if len(list) == 0 {
		return "-"
	}
	return cell(strings.Join(list, "<br>"))
}

func cell(s string) string { return strings.ReplaceAll(or(s, "-"), "|", "/") }
