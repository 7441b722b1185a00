package bootmedia

import (
	"slices"
	"strings"
	"testing"
)

func TestPlan(t *testing.T) {
	cd := func(id string) SlotInfo { return SlotInfo{ID: id, Types: []string{"CD", "DVD"}} }
	usb := SlotInfo{ID: "usb", Types: []string{"Floppy", "USBStick"}}
	stick := SlotInfo{ID: "usb", Types: []string{"Floppy", "USBStick"}, Stick: true}
	floppy := SlotInfo{ID: "fd", Types: []string{"Floppy"}}
	for _, c := range []struct {
		name   string
		family Family
		slots  []SlotInfo
		want   []Placement
		err    string
	}{
		{name: "two discs", family: FamilyUbuntu, slots: []SlotInfo{cd("1"), cd("2")}, want: []Placement{{"1", Boot}, {"2", Config}}},
		{name: "a slot that names a stick may be a floppy", family: FamilyUbuntu, slots: []SlotInfo{usb, cd("1")},
			want: []Placement{{"1", Composed}}},
		{name: "a disc that names a floppy may be one", family: FamilyUbuntu, slots: []SlotInfo{cd("1"), {ID: "2", Types: []string{"CD",
			"Floppy"}}}, want: []Placement{{"1", Composed}}},
		{name: "a disc that is a stick, too, for other images (iDRAC 9)", family: FamilyUbuntu, slots: []SlotInfo{cd("1"), {ID: "2",
			Types: []string{"CD", "DVD", "USBStick"}}}, want: []Placement{{"1", Boot}, {"2", Config}}},
		{name: "a known stick", family: FamilyUbuntu, slots: []SlotInfo{stick, cd("1")}, want: []Placement{{"1", Boot}, {"usb", Config}}},
		{name: "a known stick that names none", family: FamilyUbuntu, slots: []SlotInfo{cd("1"), {ID: "fd", Types: []string{"Floppy"},
			Stick: true}}, want: []Placement{{"1", Composed}}},
		{name: "disc before stick", family: FamilyTalos, slots: []SlotInfo{cd("1"), stick, cd("2")}, want: []Placement{{"1", Boot},
			{"2", Config}}},
		{name: "types unsaid", family: FamilyFlatcar, slots: []SlotInfo{{ID: "a"}, {ID: "b"}}, want: []Placement{{"a", Boot}, {"b",
			Config}}},
		{name: "none needs one", family: FamilyNone, slots: []SlotInfo{floppy, cd("1")}, want: []Placement{{"1", Boot}}},
		{name: "one slot", family: FamilyGeneric, slots: []SlotInfo{cd("1")}, want: []Placement{{"1", Composed}}},
		{name: "a floppy is no second", family: FamilyGeneric, slots: []SlotInfo{floppy, cd("1")}, want: []Placement{{"1", Composed}}},
		{name: "no disc", family: FamilyNone, slots: []SlotInfo{usb}, err: "no virtual media slot for a CD"},
		{name: "no slot", family: FamilyNone, err: "it offers: none"},
		{name: "embed", family: FamilyRHCOS, slots: []SlotInfo{cd("1"), cd("2")}, want: []Placement{{"1", Composed}}},
		{name: "unknown", family: "beos", slots: []SlotInfo{cd("1")}, err: `unknown osFamily "beos"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Plan(c.family, c.slots)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("error %v, want one with %q", err, c.err)
				}
				return
			}
			if err != nil || !slices.Equal(got, c.want) {
				t.Fatalf("got %v, %v; want %v", got, err, c.want)
			}
		})
	}
}

func TestEveryFamilyHasARow(t *testing.T) {
	if len(Families()) != len(families) {
		t.Fatalf("%d families listed, %d in the table", len(Families()), len(families))
	}
	for _, f := range Families() {
		if _, ok := families[f]; !ok {
			t.Errorf("family %s has no row", f)
		}
	}
}
