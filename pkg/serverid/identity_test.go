package serverid

import "testing"

const (
	// One server: X11DPT-B with BIOS 3.8a, as Redfish tells its UUID and as dmidecode does (metal-stack/go-hal#57).
	rfc    = "005CB4E7-0989-EB11-8000-7CC255106AFE"
	smbios = "e7b45c00-8909-11eb-8000-7cc255106afe"
)

func TestCompare(t *testing.T) {
	const placeholder = "To be filled by O.E.M."
	for name, c := range map[string]struct {
		a, b Identity
		want Verdict
	}{
		"one UUID":                                 {Identity{UUID: rfc}, Identity{UUID: rfc}, Same},
		"in either order of bytes":                 {Identity{UUID: rfc}, Identity{UUID: smbios}, Same},
		"written otherwise":                        {Identity{UUID: "{" + rfc + "}"}, Identity{UUID: "005cb4e70989eb1180007cc255106afe"}, Same},
		"another UUID":                             {Identity{UUID: rfc}, Identity{UUID: "005CB4E7-0989-EB11-8000-7CC255106AFF"}, Other},
		"UUIDs overrule serials that agree":        {Identity{UUID: rfc, Serial: "S1"}, Identity{UUID: "bbbbbbbb-0000-4000-8000-00000000000b", Serial: "S1"}, Other},
		"UUIDs overrule serials that differ":       {Identity{UUID: rfc, Serial: "S1"}, Identity{UUID: smbios, Serial: "S2"}, Same},
		"no UUID of one, serials agree":            {Identity{UUID: rfc, Serial: "S1"}, Identity{Serial: " s1 "}, Same},
		"no UUID of one, serials differ":           {Identity{UUID: rfc, Serial: "S1"}, Identity{Serial: "S2"}, Other},
		"a place holder is no UUID":                {Identity{UUID: rfc, Serial: "S1"}, Identity{UUID: "00000000-0000-0000-0000-000000000000", Serial: "S1"}, Same},
		"two place holders":                        {Identity{UUID: "03000200-0400-0500-0006-000700080009"}, Identity{UUID: "03000200-0400-0500-0006-000700080009"}, Unknown},
		"serials that are place holders":           {Identity{Serial: placeholder}, Identity{Serial: placeholder}, Unknown},
		"a serial and a place holder":              {Identity{Serial: "S1"}, Identity{Serial: placeholder}, Unknown},
		"nothing is told":                          {Identity{UUID: rfc, Serial: "S1"}, Identity{}, Unknown},
		"serials of different makers":              {Identity{Serial: "1001", Manufacturer: "Dell Inc.", Model: "R650"}, Identity{Serial: "1001", Manufacturer: "HPE", Model: "DL360"}, Other},
		"serials of a maker that one does not say": {Identity{Serial: "1001", Manufacturer: "Dell Inc.", Model: "R650"}, Identity{Serial: "1001"}, Same},
		"what is no UUID stands for itself":        {Identity{UUID: "First"}, Identity{UUID: "first"}, Same},
	} {
		if got := c.a.Compare(c.b); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
		if got := c.b.Compare(c.a); got != c.want {
			t.Errorf("%s, the other way round: %v, want %v", name, got, c.want)
		}
	}
}

func TestPlaceholdersIdentifyNothing(t *testing.T) {
	for _, serial := range []string{"", " ", "To be filled by O.E.M.", "To Be Filled By O.E.M", "TO_BE_FILLED_BY_OEM", "Default string", "$(DEFAULT_STRING)", "0123456789",
		"1234567890", "123456789", "None", "NONE", "N/A", "n.a.", "Not Specified", "Not Applicable", "System Serial Number", "Chassis Serial Number",
		"Base Board Serial Number", "Unknown", "null", "-", "...", "0", "00000000", "XXXXXXXXXX", "O.E.M."} {
		if i := (Identity{Serial: serial, Model: "X"}); i.Known() || len(i.Keys()) != 0 || i.Name() != "" || i.IsNamed(serial) {
			t.Errorf("serial %q is taken for one", serial)
		}
	}
	for _, uuid := range []string{"", "00000000-0000-0000-0000-000000000000", "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF", "fefefefe-fefe-fefe-fefe-fefefefefefe",
		"03000200-0400-0500-0006-000700080009", "00020003-0004-0005-0006-000700080009", "00010203-0405-0607-0809-0A0B0C0D0E0F", "03020100-0504-0706-0809-0a0b0c0d0e0f",
		"12345678-1234-5678-90AB-CDDEEFAABBCC", "Not Settable", "Not Present", "N/A"} {
		if i := (Identity{UUID: uuid}); i.Known() || len(i.Keys()) != 0 || i.Name() != "" || SameUUID(uuid, uuid) {
			t.Errorf("UUID %q is taken for one", uuid)
		}
	}
}

func TestWhatOnlyLooksLikeAPlaceholder(t *testing.T) {
	for _, i := range []Identity{
		{UUID: "00000000-0000-0000-0000-ac1f6b000001"}, // Supermicro: nothing but the MAC address
		{UUID: "03d40274-0435-05dc-8506-010700080009"}, // AMI's default with a MAC address woven in
		{UUID: "4c4c4544-0042-3510-8052-b3c04f4b4e32"}, // Dell: the service tag
		{Serial: "E262335X2A00152C"}, {Serial: "FAKE0001"}, {Serial: "1001"}, {Serial: "CZ123"},
	} {
		if !i.Known() || !i.IsNamed(i.Name()) {
			t.Errorf("%+v is taken for a place holder", i)
		}
	}
}

func TestKeys(t *testing.T) {
	a := Identity{UUID: rfc, Serial: " SN1", Manufacturer: "Dell Inc.", Model: "R650"}
	b := Identity{UUID: smbios, Serial: "sn1", Manufacturer: "DELL Inc.", Model: "R650 "}
	x, y := a.Keys(), b.Keys()
	if len(x) != 2 || len(y) != 2 || x[0] != y[0] || x[1] != y[1] {
		t.Errorf("one server is found under %q and %q", x, y)
	}
	if !a.IsNamed(smbios) || a.IsNamed("SN1") || !(Identity{Serial: "SN1"}).IsNamed("sn1") || a.IsNamed("") {
		t.Error("a server is named by its UUID in either order of bytes, by its serial number only if it has none")
	}
}
