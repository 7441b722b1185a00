package selection

import (
	"cmp"
	"slices"
	"strings"

	"github.com/beskar7/beskar7/pkg/agent/protocol"
)

// device is one disk with all the ways to it: multipath shows a disk once for each path.
type device struct {
	paths []protocol.Disk // sorted by name
}

// fold joins what is one disk: of one World Wide Name, or one EUI, and alike in all else that tells disks apart. Some disks are
// shipped with the name of another one; they differ in their serial number or size, and stay two.
func fold(disks []protocol.Disk) []*device {
	sorted := slices.SortedFunc(slices.Values(disks), func(a, b protocol.Disk) int { return cmp.Compare(a.Name, b.Name) })
	var out []*device
	for _, d := range sorted {
		same := slices.IndexFunc(out, func(o *device) bool { return twins(o.paths[0], d) })
		if same < 0 {
			out = append(out, &device{paths: []protocol.Disk{d}})
			continue
		}
		out[same].paths = append(out[same].paths, d)
	}
	return out
}

func twins(a, b protocol.Disk) bool {
	wwn := a.WWN != "" && strings.EqualFold(a.WWN, b.WWN)
	eui := a.EUI != "" && strings.EqualFold(a.EUI, b.EUI)
	serial := a.Serial == "" || b.Serial == "" || strings.EqualFold(a.Serial, b.Serial)
	return (wwn || eui) && serial && a.Size == b.Size && a.BlockSize == b.BlockSize
}

// disk is how the device is named: by its first path, completed by what only another one says.
func (d *device) disk() protocol.Disk {
	out := d.paths[0]
	for _, p := range d.paths[1:] {
		out.Serial, out.WWN, out.EUI = cmp.Or(out.Serial, p.Serial), cmp.Or(out.WWN, p.WWN), cmp.Or(out.EUI, p.EUI)
		out.Vendor, out.Model = cmp.Or(out.Vendor, p.Vendor), cmp.Or(out.Model, p.Model)
		out.MemberOf = cmp.Or(out.MemberOf, p.MemberOf)
		out.VirtualMedia = out.VirtualMedia || p.VirtualMedia
		out.ReadOnly = out.ReadOnly || p.ReadOnly
	}
	return out
}

// fits says whether the device is selected, by one of its paths.
func (d *device) fits(s protocol.Selector) bool {
	whole := d.disk()
	return Fits(s, whole) || slices.ContainsFunc(d.paths, func(p protocol.Disk) bool { return Fits(s, p) })
}

// Fits says whether all fields of a selector hold for a disk.
func Fits(s protocol.Selector, d protocol.Disk) bool {
	is := func(want, have string) bool { return want == "" || strings.EqualFold(strings.TrimSpace(want), have) }
	flash := s.Type == protocol.DiskSSD && d.Type == protocol.DiskNVMe
	model := strings.ToLower(d.Vendor + " " + d.Model)
	return (s.Type == "" || s.Type == d.Type || flash) &&
		is(s.Serial, d.Serial) && is(s.EUI, d.EUI) && is(s.PCIPath, d.PCIPath) && sameWWN(s.WWN, d.WWN) &&
		strings.Contains(model, strings.ToLower(strings.TrimSpace(s.Model))) &&
		d.Size >= s.MinSize && (s.MaxSize == 0 || d.Size <= s.MaxSize)
}

// sameWWN: people write the name with and without 0x, and with the naa. that some tools show.
func sameWWN(want, have string) bool {
	plain := func(text string) string {
		text = strings.ToLower(strings.TrimSpace(text))
		return strings.TrimPrefix(strings.TrimPrefix(strings.TrimPrefix(text, "naa."), "wwn-"), "0x")
	}
	return want == "" || plain(want) == plain(have)
}
