package bootmedia

import (
	"slices"
	"strings"
	"testing"
)

func TestPlan(t *testing.T) {
	cd := func(id string) SlotInfo { return SlotInfo{ID: id, Types: []string{"CD", "DVD"}} }
	usb := SlotInfo{ID: "usb", Types: []string{"Floppy", "USBStick"}}
	floppy := SlotInfo{ID: "fd", Types: []string{"Floppy"}}
	for _, c := range []struct {
		name   string
		family Family
		slots  []SlotInfo
		want   []Placement
		err    string
	}{
		{name: "two discs", family: FamilyUbuntu, slots: []SlotInfo{cd("1"), cd("2")}, want: []Placement{{"1", Boot}, {"2", Config}}},
		{name: "stick first", family: FamilyUbuntu, slots: []SlotInfo{usb, cd("1")}, want: []Placement{{"1", Boot}, {"usb", Config}}},
		{name: "disc before stick", family: FamilyTalos, slots: []SlotInfo{cd("1"), usb, cd("2")}, want: []Placement{{"1", Boot}, {"2", Config}}},
		{name: "types unsaid", family: FamilyFlatcar, slots: []SlotInfo{{ID: "a"}, {ID: "b"}}, want: []Placement{{"a", Boot}, {"b", Config}}},
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
