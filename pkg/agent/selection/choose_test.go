package selection

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/beskar7/beskar7/pkg/agent/protocol"
)

const (
	uuid  = "005cb4e7-0989-eb11-8000-7cc255106afe"
	other = "bbbbbbbb-0000-4000-8000-00000000000b"
	gb    = int64(1e9)
)

// disk is an ordinary one; changes make it odd.
func disk(name string, bytes int64, changes ...func(*protocol.Disk)) protocol.Disk {
	d := protocol.Disk{Name: name, Serial: "S-" + name, WWN: "0x5000" + fmt.Sprintf("%x", name), Model: "Model X", Size: bytes,
		BlockSize: 512,
		Type:      protocol.DiskSSD, Transport: protocol.TransportSATA}
	if strings.HasPrefix(name, "nvme") {
		d.Type, d.Transport, d.WWN, d.EUI, d.PCIPath = protocol.DiskNVMe, protocol.TransportNVMe, "", fmt.Sprintf("%x", name),
			"0000:01:00."+name[4:5]
	}
	for _, change := range changes {
		change(&d)
	}
	return d
}

func removable(d *protocol.Disk) { d.Removable = true }
func readOnly(d *protocol.Disk)  { d.ReadOnly = true }
func virtual(d *protocol.Disk) {
	d.VirtualMedia, d.Removable, d.Transport = true, true, protocol.TransportUSB
}
func usb(d *protocol.Disk)      { d.Transport = protocol.TransportUSB }
func nameless(d *protocol.Disk) { d.Serial, d.WWN, d.EUI, d.PCIPath = "", "", "", "" }
func noSerial(d *protocol.Disk) { d.Serial = "" }
func spinning(d *protocol.Disk) { d.Type, d.Transport = protocol.DiskHDD, protocol.TransportSAS }
func native4K(d *protocol.Disk) { d.BlockSize = 4096 }
func fibre(d *protocol.Disk)    { d.Transport = protocol.TransportFC }
func odd520(d *protocol.Disk)   { d.BlockSize = 520 }
func member(of string) func(*protocol.Disk) {
	return func(d *protocol.Disk) { d.MemberOf = of }
}
func wwn(w string) func(*protocol.Disk)    { return func(d *protocol.Disk) { d.WWN = w } }
func eui(e string) func(*protocol.Disk)    { return func(d *protocol.Disk) { d.EUI = e } }
func serial(s string) func(*protocol.Disk) { return func(d *protocol.Disk) { d.Serial = s } }
func at(p string) func(*protocol.Disk)     { return func(d *protocol.Disk) { d.PCIPath = p } }
func model(v, m string) func(*protocol.Disk) {
	return func(d *protocol.Disk) { d.Vendor, d.Model = v, m }
}

// layout is a server's disks, what is asked for, and what comes of it.
type layout struct {
	disks     []protocol.Disk
	root      protocol.Selector
	smallest  bool
	imageSize int64
	keep      []protocol.Selector
	erase     *protocol.Erase

	want   string   // the name of the root disk; "" is a refusal
	erased []string // in their order
	reason protocol.Reason
	says   []string // parts of the refusal
}

var (
	all = &protocol.Erase{Method: protocol.MethodDiscard}
	two = []protocol.Disk{disk("sda", 480*gb), disk("sdb", 960*gb)}
)

var layouts = map[string]layout{
	"one disk": {disks: two[:1], want: "sda"},
	"two disks, no selector": {disks: two, reason: protocol.ReasonSeveralDisks,
		says: []string{"2 disks fit rootDisk (any disk)", "serial S-sda", "serial S-sdb", "ifSeveral: Smallest"}},
	"two disks, the smallest":              {disks: two, smallest: true, want: "sda"},
	"the smallest is none but the fitting": {disks: two, smallest: true, root: protocol.Selector{MinSize: 500 * gb}, want: "sdb"},
	"by serial":                            {disks: two, root: protocol.Selector{Serial: "s-SDB "}, want: "sdb"},
	"by wwn": {disks: []protocol.Disk{disk("sda", gb, wwn("0x5000c500a1")), two[1]}, root: protocol.Selector{WWN: "5000C500A1"},
		want: "sda"},
	"by wwn as naa": {disks: []protocol.Disk{disk("sda", gb, wwn("0x5000c500a1")), two[1]},
		root: protocol.Selector{WWN: "naa.5000c500a1"}, want: "sda"},
	"by eui": {disks: []protocol.Disk{disk("nvme0n1", gb, eui("0025385b71b0a1b2")), two[1]},
		root: protocol.Selector{EUI: "0025385B71B0A1B2"}, want: "nvme0n1"},
	"by model and vendor": {disks: []protocol.Disk{disk("sda", gb, model("DELL", "PERC H730")), disk("sdb", gb, model("DELL",
		"BOSS-S1"))}, root: protocol.Selector{Model: "dell boss"}, want: "sdb"},
	"by place": {disks: []protocol.Disk{disk("sda", gb, nameless, at("0000:3b:00.0")), disk("sdb", gb, nameless, at("0000:5e:00.0"))},
		root: protocol.Selector{PCIPath: "0000:5E:00.0"}, want: "sdb"},
	"by type NVMe": {disks: []protocol.Disk{disk("sda", gb), disk("nvme0n1", gb)}, root: protocol.Selector{Type: protocol.DiskNVMe},
		want: "nvme0n1"},
	"type SSD is NVMe too": {disks: []protocol.Disk{disk("sda", gb, spinning), disk("nvme0n1", gb)},
		root: protocol.Selector{Type: protocol.DiskSSD}, want: "nvme0n1"},
	"type HDD is no SSD": {disks: two, root: protocol.Selector{Type: protocol.DiskHDD}, reason: protocol.ReasonNoDisk,
		says: []string{"type HDD", "sda", "does not fit"}},
	"all fields have to hold": {disks: two, root: protocol.Selector{Serial: "S-sda", MinSize: 900 * gb}, reason: protocol.ReasonNoDisk,
		says: []string{"serial S-sda, at least 900 GB"}},
	"bounds are inclusive": {disks: two, root: protocol.Selector{MinSize: 960 * gb, MaxSize: 960 * gb}, want: "sdb"},
	"no disk":              {reason: protocol.ReasonNoDisk, says: []string{"shows no disks", "driver"}},
	"empty serials, told apart by place": {disks: []protocol.Disk{disk("sdb", gb, nameless, at("0000:5e:00.0")), disk("sda", gb, nameless,
		at("0000:3b:00.0"))}, smallest: true, want: "sda"},
	"empty serials, nothing tells apart": {disks: []protocol.Disk{disk("sda", gb, nameless), disk("sdb", gb, nameless)}, smallest: true,
		reason: protocol.ReasonSeveralDisks, says: []string{"nothing by which", "pciPath", "no serial"}},
	"an empty serial is not every serial": {disks: []protocol.Disk{disk("sda", gb, noSerial), disk("sdb", gb)},
		root: protocol.Selector{Serial: "S-sdb"}, want: "sdb"},
	"names that swap do not matter": {disks: []protocol.Disk{disk("nvme1n1", gb, serial("A")), disk("nvme0n1", gb, serial("B"))},
		smallest: true, want: "nvme1n1"},
	"the BMC's virtual CD": {disks: []protocol.Disk{disk("sr0", gb, virtual), two[0]}, want: "sda"},
	"the BMC's virtual disk, and it alone": {disks: []protocol.Disk{disk("sda", gb, virtual)}, reason: protocol.ReasonNoDisk,
		says: []string{"a medium that the BMC presents"}},
	"virtual media even if it is named": {disks: []protocol.Disk{disk("sda", gb, virtual), two[1]},
		root: protocol.Selector{Serial: "S-sda"}, reason: protocol.ReasonNoDisk},
	"a removable disk":  {disks: []protocol.Disk{disk("sda", gb, removable), two[1]}, want: "sdb"},
	"a read-only disk":  {disks: []protocol.Disk{disk("sda", gb, readOnly), two[1]}, want: "sdb"},
	"a disk of 0 bytes": {disks: []protocol.Disk{disk("sda", 0), two[1]}, smallest: true, want: "sdb"},
	"only a disk of 0 bytes": {disks: []protocol.Disk{disk("nvme0n1", 0)}, reason: protocol.ReasonNoDisk,
		says: []string{"shows no size"}},
	"a member of an array": {disks: []protocol.Disk{disk("sda", gb, member("md127")), disk("sdb", gb, member("md127")), disk("sdc", gb)},
		want: "sdc"},
	"only members of an array": {disks: []protocol.Disk{disk("sda", gb, member("md127"))}, reason: protocol.ReasonNoDisk,
		says: []string{"is held by md127"}},
	"a path that multipathd holds": {disks: []protocol.Disk{disk("sda", gb, member("dm-0"))}, reason: protocol.ReasonNoDisk,
		says: []string{"held by dm-0"}},
	"multipath: two paths are one disk": {disks: []protocol.Disk{disk("sda", gb, wwn("0x1"), serial("S")), disk("sdb", gb, wwn("0x1"),
		serial("S"))}, want: "sda"},
	"multipath: a path without a serial": {disks: []protocol.Disk{disk("sda", gb, wwn("0x1"), noSerial), disk("sdb", gb, wwn("0x1"),
		serial("S"))}, root: protocol.Selector{Serial: "S"}, want: "sda"},
	"multipath: NVMe by its EUI": {disks: []protocol.Disk{disk("nvme0n1", gb, eui("e1"), serial("S")), disk("nvme1n1", gb, eui("e1"),
		serial("S"))}, want: "nvme0n1"},
	"multipath: four paths and another": {disks: []protocol.Disk{disk("sda", gb, wwn("0x1"), noSerial), disk("sdb", gb, wwn("0x1"),
		noSerial), disk("sdc", gb, wwn("0x1"), noSerial), disk("sdd", gb, wwn("0x1"), noSerial), disk("sde", 2*gb)},
		root: protocol.Selector{MaxSize: gb}, want: "sda"},
	"one WWN on two disks: serials differ": {disks: []protocol.Disk{disk("sda", gb, wwn("0x1")), disk("sdb", gb, wwn("0x1"))},
		root: protocol.Selector{WWN: "0x1"}, reason: protocol.ReasonSeveralDisks, says: []string{"2 disks fit"}},
	"one WWN on two disks: sizes differ": {disks: []protocol.Disk{disk("sda", gb, wwn("0x1"), noSerial), disk("sdb", 2*gb, wwn("0x1"),
		noSerial)}, reason: protocol.ReasonSeveralDisks},
	"one WWN on two disks, named by serial": {disks: []protocol.Disk{disk("sda", gb, wwn("0x1")), disk("sdb", gb, wwn("0x1"))},
		root: protocol.Selector{Serial: "S-sdb"}, want: "sdb"},
	"no WWNs are not one WWN": {disks: []protocol.Disk{disk("sda", gb, wwn("")), disk("sdb", gb, wwn(""))},
		reason: protocol.ReasonSeveralDisks},
	"USB is not taken by its size": {disks: []protocol.Disk{disk("sda", gb, usb)}, reason: protocol.ReasonNoDisk,
		says: []string{"is on USB"}},
	"USB is taken by its name": {disks: []protocol.Disk{disk("sda", gb, usb), two[1]}, root: protocol.Selector{Serial: "S-sda"},
		want: "sda"},
	"a storage network is not taken by its size": {disks: []protocol.Disk{disk("sda", gb, fibre)}, reason: protocol.ReasonNoDisk,
		says: []string{"over a network"}},
	"it is taken by its name": {disks: []protocol.Disk{disk("sda", gb, fibre)}, root: protocol.Selector{Serial: "S-sda"}, erase: all,
		want: "sda", erased: []string{"sda"}},
	"others' disks are not erased": {disks: []protocol.Disk{disk("sdb", gb, fibre), two[0]}, root: protocol.Selector{Serial: "S-sda"},
		erase: all, reason: protocol.ReasonErase, says: []string{"other servers'", "erase.keep"}},
	"4Kn": {disks: []protocol.Disk{disk("sda", gb, native4K)}, want: "sda"},
	"blocks of 520 bytes": {disks: []protocol.Disk{disk("sda", gb, odd520)}, reason: protocol.ReasonNoDisk,
		says: []string{"blocks of 520 bytes: format it"}},
	"smaller than the image": {disks: two[:1], imageSize: 500 * gb, reason: protocol.ReasonNoDisk,
		says: []string{"smaller than the image, which has 500 GB"}},
	"the smallest that holds the image": {disks: two, smallest: true, imageSize: 500 * gb, want: "sdb"},
	"the fitting one is to be kept": {disks: two, root: protocol.Selector{Serial: "S-sda"}, keep: []protocol.Selector{{Serial: "S-sda"}},
		reason: protocol.ReasonNoDisk, says: []string{"sda", "is to be kept"}},
	"one is kept, the other remains": {disks: two, keep: []protocol.Selector{{MinSize: 900 * gb}}, want: "sda"},
	"kept by one of its paths": {disks: []protocol.Disk{disk("sda", gb, wwn("0x1"), noSerial), disk("sdb", gb, wwn("0x1"), serial("K")),
		disk("sdc", gb)}, keep: []protocol.Selector{{Serial: "K"}}, erase: all, want: "sdc", erased: []string{"sdc"}},
	"kept by what only two paths say": {disks: []protocol.Disk{disk("sda", gb, wwn("0x1"), noSerial, model("A", "B")), disk("sdb", gb,
		wwn("0x1"), serial("K"), model("", "")), disk("sdc", gb)}, keep: []protocol.Selector{{Serial: "K", Model: "A B"}}, erase: all,
		want: "sdc", erased: []string{"sdc"}},
	"many disks: the message ends": {disks: many(84), reason: protocol.ReasonSeveralDisks, says: []string{"84 disks fit",
		"and 72 more"}},
	"erase all, the root disk first": {disks: two, root: protocol.Selector{Serial: "S-sdb"}, erase: all, want: "sdb",
		erased: []string{"sdb", "sda"}},
	"erase the root disk only": {disks: two, smallest: true, erase: &protocol.Erase{Method: protocol.MethodSecure, RootOnly: true},
		want: "sda", erased: []string{"sda"}},
	"erase nothing": {disks: two, smallest: true, want: "sda"},
	"a kept disk is not erased": {disks: two, root: protocol.Selector{Serial: "S-sda"}, keep: []protocol.Selector{{Serial: "S-sdb"}},
		erase: all, want: "sda", erased: []string{"sda"}},
	"virtual media are not erased": {disks: []protocol.Disk{disk("sr0", gb, virtual), two[0]}, erase: all, want: "sda",
		erased: []string{"sda"}},
	"an empty slot is not erased": {disks: []protocol.Disk{disk("sdb", 0, removable), two[0]}, erase: all, want: "sda",
		erased: []string{"sda"}},
	"a stick that was left is erased": {disks: []protocol.Disk{disk("sdb", gb, removable, usb), two[0]}, erase: all, want: "sda",
		erased: []string{"sda", "sdb"}},
	"one path is erased, not each": {disks: []protocol.Disk{disk("sda", gb, wwn("0x1"), serial("S")), disk("sdb", gb, wwn("0x1"),
		serial("S"))}, erase: all, want: "sda", erased: []string{"sda"}},
	"both of one WWN are erased": {disks: []protocol.Disk{disk("sda", gb, wwn("0x1")), disk("sdb", gb, wwn("0x1"))},
		root: protocol.Selector{Serial: "S-sda"}, erase: all, want: "sda", erased: []string{"sda", "sdb"}},
	"a read-only disk cannot be erased": {disks: []protocol.Disk{disk("sdb", gb, readOnly), two[0]}, erase: all,
		reason: protocol.ReasonErase, says: []string{"sdb", "is read-only", "nothing was", "erase.keep"}},
	"a disk without a size cannot be erased": {disks: []protocol.Disk{disk("sdb", 0), two[0]}, erase: all, reason: protocol.ReasonErase,
		says: []string{"locked or broken"}},
	"a member cannot be erased": {disks: []protocol.Disk{disk("sdb", gb, member("md0")), two[0]}, erase: all,
		reason: protocol.ReasonErase, says: []string{"held by md0"}},
	"it can be kept instead": {disks: []protocol.Disk{disk("sdb", gb, readOnly), two[0]}, erase: all,
		keep: []protocol.Selector{{Serial: "S-sdb"}}, want: "sda", erased: []string{"sda"}},
	"the root disk alone, beside such a one": {disks: []protocol.Disk{disk("sdb", 0), two[0]},
		erase: &protocol.Erase{Method: protocol.MethodDiscard, RootOnly: true}, want: "sda", erased: []string{"sda"}},
}

func TestChoose(t *testing.T) {
	for name, l := range layouts {
		t.Run(name, func(t *testing.T) { l.check(t) })
	}
}

func many(n int) []protocol.Disk {
	out := make([]protocol.Disk, n)
	for i := range out {
		out[i] = disk(fmt.Sprintf("sd%03d", i), gb)
	}
	return out
}

func (l layout) check(t *testing.T) {
	t.Helper()
	plan := &protocol.Plan{ID: "p", Generation: 1, Server: uuid, Keep: l.keep, Erase: l.erase,
		Deploy: &protocol.Deploy{Root: l.root, Image: protocol.Image{UnpackedSize: l.imageSize}}}
	if l.smallest {
		plan.Deploy.IfSeveral = protocol.IfSeveralSmallest
	}
	report := &protocol.Report{Server: protocol.Server{UUID: uuid}, Disks: l.disks}
	for _, disks := range [][]protocol.Disk{l.disks, reversed(l.disks)} { // the kernel finds them in any order
		report.Disks = disks
		choice, failed := Choose(plan, report)
		if l.want == "" {
			if failed == nil || choice != nil || failed.Reason != l.reason {
				t.Fatalf("got %+v, %v; want a refusal for %s", choice, failed, l.reason)
			}
			for _, part := range l.says {
				if !strings.Contains(failed.Message, part) {
					t.Errorf("%q does not say %q", failed.Message, part)
				}
			}
			continue
		}
		if failed != nil {
			t.Fatalf("refused: %v", failed)
		}
		var erased []string
		for _, e := range choice.Erase {
			erased = append(erased, e.Disk.Name)
		}
		if choice.Root.Name != l.want || !slices.Equal(erased, l.erased) {
			t.Errorf("root %s, erased %v; want %s, %v", choice.Root.Name, erased, l.want, l.erased)
		}
	}
}

func reversed(disks []protocol.Disk) []protocol.Disk {
	out := slices.Clone(disks)
	slices.Reverse(out)
	return out
}

func TestAnotherServerIsNotTouched(t *testing.T) {
	for name, c := range map[string]struct {
		planUUID, planSerial string
		have                 protocol.Server
		right                bool
	}{
		"the server":                       {uuid, "", protocol.Server{UUID: uuid}, true},
		"in the other order of bytes":      {"e7b45c00-8909-11eb-8000-7cc255106afe", "", protocol.Server{UUID: uuid}, true},
		"another one":                      {other, "", protocol.Server{UUID: uuid}, false},
		"another one with the same serial": {other, "S1", protocol.Server{UUID: uuid, Serial: "S1"}, false},
		"SMBIOS says nothing":              {uuid, "", protocol.Server{}, false},
		"SMBIOS says a placeholder":        {uuid, "", protocol.Server{UUID: "03000200-0400-0500-0006-000700080009"}, false},
		"both say the same placeholder": {"03000200-0400-0500-0006-000700080009", "",
			protocol.Server{UUID: "03000200-0400-0500-0006-000700080009"}, false},
		"no UUID, and the serial": {"03000200-0400-0500-0006-000700080009", "S1",
			protocol.Server{UUID: "03000200-0400-0500-0006-000700080009", Serial: "S1"}, true},
		"no UUID, and another serial":        {"", "S1", protocol.Server{UUID: uuid, Serial: "S2"}, false},
		"no UUID, and a serial that is none": {"", "To be filled by O.E.M.", protocol.Server{Serial: "To be filled by O.E.M."}, false},
	} {
		plan := &protocol.Plan{ID: "p", Generation: 1, Server: c.planUUID, Serial: c.planSerial, Erase: all}
		choice, failed := Choose(plan, &protocol.Report{Server: c.have, Disks: []protocol.Disk{disk("sda", gb)}})
		if right := failed == nil; right != c.right {
			t.Errorf("%s: %+v, %v", name, choice, failed)
		}
		if failed != nil && (choice != nil || failed.Reason != protocol.ReasonWrongServer || !strings.Contains(failed.Message,
			"nothing was changed")) {
			t.Errorf("%s: %+v, %v", name, choice, failed)
		}
	}
}

func TestErasingWithoutDeploying(t *testing.T) {
	plan := &protocol.Plan{ID: "p", Generation: 1, Server: uuid, Erase: all, Keep: []protocol.Selector{{Type: protocol.DiskHDD}}}
	choice, failed := Choose(plan, &protocol.Report{Server: protocol.Server{UUID: uuid}, Disks: []protocol.Disk{
		disk("sda", gb, spinning), disk("sdb", gb), disk("nvme0n1", gb)}})
	if failed != nil || choice.Root != nil || len(choice.Erase) != 2 || len(choice.Left) != 1 || choice.Left[0].Disk.Name != "sda" {
		t.Errorf("%+v, %v", choice, failed)
	}
}

func TestNeighboursOnOneController(t *testing.T) {
	namespaces := []protocol.Disk{
		disk("nvme0n1", gb, serial("C1"), eui("e1"), at("0000:01:00.0")),
		disk("nvme0n2", gb, serial("C1"), eui("e2"), at("0000:01:00.0")),
		disk("nvme1n1", gb, serial("C2"), eui("e3"), at("0000:02:00.0")),
		disk("sda", gb, serial("C1")),
	}
	plan := &protocol.Plan{ID: "p", Generation: 1, Server: uuid, Erase: all}
	report := &protocol.Report{Server: protocol.Server{UUID: uuid}, Disks: namespaces}
	neighbours := func() map[string]string {
		choice, failed := Choose(plan, report)
		if failed != nil {
			t.Fatal(failed)
		}
		out := map[string]string{}
		for _, e := range choice.Erase {
			out[e.Disk.Name] = strings.Join(e.Neighbours, " ")
		}
		return out
	}
	if got := neighbours(); got["nvme0n1"] != "" || got["nvme1n1"] != "" || len(got) != 4 {
		t.Errorf("all are erased, and neighbours stay: %v", got)
	}
	plan.Keep = []protocol.Selector{{EUI: "e2"}}
	if got := neighbours(); got["nvme0n1"] != "nvme0n2" || got["nvme1n1"] != "" || got["sda"] != "" || len(got) != 3 {
		t.Errorf("a namespace is kept, and its neighbour does not know: %v", got)
	}
}

func TestSizesAreThoseOnTheLabel(t *testing.T) {
	for n, want := range map[int64]string{0: "0 bytes", 999: "999 bytes", 1000: "1 kB", 960197124096: "960.2 GB", 4e12: "4 TB"} {
		if got := size(n); got != want {
			t.Errorf("%d bytes are %s", n, got)
		}
	}
}
