package redfish

import (
	"slices"
	"strings"
	"testing"
)

// TestDetection: what BMCs say of themselves, as far as the sources of the rows
// show it, and the row that follows.
func TestDetection(t *testing.T) {
	for name, c := range map[string]struct {
		root    doc
		system  doc
		manager doc
		want    string
	}{
		"iDRAC 8":                 {doc{"Vendor": "Dell", "Product": "Integrated Dell Remote Access Controller"}, doc{"Manufacturer": "Dell Inc."}, doc{"Model": "13G Monolithic", "FirmwareVersion": "2.75.75.75"}, "dell-idrac8"},
		"iDRAC 9, old":            {doc{"Vendor": "Dell"}, doc{}, doc{"Model": "14G Monolithic", "FirmwareVersion": "5.10.50.00"}, "dell-idrac9-5"},
		"iDRAC 9, before 6.00.02": {doc{"Vendor": "Dell"}, doc{}, doc{"FirmwareVersion": "6.00.00.00"}, "dell-idrac9-5"},
		"iDRAC 9":                 {doc{"Oem": doc{"Dell": doc{}}}, doc{}, doc{"Model": "15G Monolithic", "FirmwareVersion": "7.00.60.00"}, "dell-idrac9"},
		"iDRAC 9, 16G":            {doc{}, doc{"Manufacturer": "Dell Inc."}, doc{"Model": "16G Monolithic", "FirmwareVersion": "7.10.70.00"}, "dell-idrac9"},
		"iDRAC 10":                {doc{"Vendor": "Dell"}, doc{}, doc{"Model": "17G Monolithic", "FirmwareVersion": "1.20.25.00"}, "dell-idrac10"},
		"iDRAC without version":   {doc{"Vendor": "Dell"}, doc{}, doc{}, "dell-idrac9"},
		"iLO 4":                   {doc{"Oem": doc{"Hp": doc{}}}, doc{"Manufacturer": "HP"}, doc{"Model": "iLO 4", "FirmwareVersion": "iLO 4 v2.55"}, "hpe-ilo4"},
		"iLO 5":                   {doc{"Vendor": "HPE", "Product": "ProLiant DL360 Gen10", "Oem": doc{"Hpe": doc{}}}, doc{"Manufacturer": "HPE"}, doc{"Model": "iLO 5", "FirmwareVersion": "iLO 5 v2.72"}, "hpe-ilo5"},
		"iLO 6":                   {doc{"Vendor": "HPE"}, doc{}, doc{"Model": "iLO 6", "FirmwareVersion": "iLO 6 v1.57"}, "hpe-ilo6"},
		"iLO 7":                   {doc{"Vendor": "HPE"}, doc{}, doc{"FirmwareVersion": "iLO 7 v1.10"}, "hpe-ilo7"},
		"HPE":                     {doc{}, doc{"Manufacturer": "HPE"}, doc{}, "hpe"},
		"X10":                     {doc{}, doc{"Manufacturer": "Supermicro", "Model": "X10DRi"}, doc{}, "supermicro-x10"},
		"X11":                     {doc{"Vendor": "Supermicro"}, doc{"Model": "X11DPH-T"}, doc{}, "supermicro-x11"},
		"X12":                     {doc{"Vendor": "Supermicro"}, doc{"Model": "SYS-620P"}, doc{"Model": "X12DPi"}, "supermicro-x12"},
		"X13":                     {doc{"Vendor": "Supermicro"}, doc{"Model": "X13SEW"}, doc{"Model": "ASPEED"}, "supermicro"},
		"H13":                     {doc{"Vendor": "Supermicro"}, doc{"Model": "AS-1015CS-TNR"}, doc{}, "supermicro"},
		"XCC":                     {doc{"Vendor": "Lenovo"}, doc{"Manufacturer": "Lenovo"}, doc{"Model": "Lenovo XClarity Controller"}, "lenovo"},
		"XCC2":                    {doc{}, doc{"Manufacturer": "Lenovo"}, doc{"Model": "Lenovo XClarity Controller 2"}, "lenovo-xcc2"},
		"XCC3":                    {doc{}, doc{"Manufacturer": "Lenovo"}, doc{"Model": "Lenovo XClarity Controller 3"}, "lenovo-xcc3"},
		"Lenovo with MegaRAC":     {doc{"Vendor": "AMI", "Product": "AMI Redfish Server"}, doc{"Manufacturer": "Lenovo"}, doc{}, "ami"},
		"MegaRAC":                 {doc{"Vendor": "AMI"}, doc{"Manufacturer": "Acme"}, doc{}, "ami"},
		"ASRock Rack":             {doc{"Product": "AMI Redfish Server"}, doc{"Manufacturer": "ASRockRack"}, doc{}, "asrockrack"},
		"bmcweb":                  {doc{"Oem": doc{"OpenBmc": doc{}}}, doc{"Manufacturer": "Acme"}, doc{"Model": "OpenBmc"}, "openbmc"},
		"NVIDIA":                  {doc{}, doc{"Manufacturer": "NVIDIA"}, doc{}, "nvidia"},
		"DGX":                     {doc{"Vendor": "AMI", "Product": "AMI Redfish Server", "Oem": doc{"Ami": doc{}}}, doc{"Manufacturer": "NVIDIA", "Model": "DGXH100"}, doc{"Model": "77171220", "FirmwareVersion": "23.11.20"}, "ami-dgx"},
		"GB200":                   {doc{"Vendor": "NVIDIA", "Product": "GB200 NVL"}, doc{}, doc{"Model": "OpenBmc", "FirmwareVersion": "GB200Nvl-24.12-8"}, "nvidia"},
		"bmcweb of Supermicro":    {doc{"Oem": doc{"Supermicro": doc{}}}, doc{"Manufacturer": "Supermicro", "Model": "ARS-111GL-NHR"}, doc{"Model": "OpenBmc"}, "openbmc"},
		"ARS":                     {doc{"Oem": doc{"Supermicro": doc{}}}, doc{"Manufacturer": "Supermicro", "Model": "ARS-111GL-NHR"}, doc{"Model": "ASPEED"}, "supermicro-ars"},
		"X13, as captured":        {doc{"Oem": doc{"Supermicro": doc{}}}, doc{"Manufacturer": "Supermicro", "Model": "SYS-821GE-TNHR"}, doc{"Model": "ASPEED", "FirmwareVersion": "11.01.01"}, "supermicro"},
		"X10SDV":                  {doc{}, doc{"Manufacturer": "Supermicro", "Model": "Super Server"}, doc{"Model": "ASPEED", "FirmwareVersion": "4.0"}, "supermicro-x10"},
		"iRMC":                    {doc{}, doc{"Manufacturer": "FUJITSU"}, doc{"Model": "iRMC S6"}, "fujitsu-irmc"},
		"IMC":                     {doc{}, doc{"Manufacturer": "Cisco Systems Inc"}, doc{}, "cisco-imc"},
		"Nokia":                   {doc{}, doc{"Manufacturer": "Nokia Solutions and Networks"}, doc{}, "nokia"},
		"openUBMC":                {doc{"Vendor": "openUBMC"}, doc{}, doc{}, "huawei-openubmc"},
		"iBMC":                    {doc{}, doc{"Manufacturer": "Huawei"}, doc{}, "huawei-openubmc"},
		"somebody":                {doc{}, doc{"Manufacturer": "Acme", "Model": "Zilog"}, doc{}, "generic"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, plainHTTP)
			s.json("/redfish/v1/", with(doc{"Systems": ref("/redfish/v1/Systems"), "Links": doc{"Sessions": ref(sessionsPath)}}, c.root))
			s.json("/redfish/v1/Systems/1", with(systemBody(), c.system))
			s.json("/redfish/v1/Managers/1", with(doc{"Id": "1", "VirtualMedia": ref(mediaPath)}, c.manager))
			b, _ := connect(t, testTarget(s))
			id, err := b.Identify(t.Context())
			must(t, err)
			if id.Vendor != c.want || b.Learned().Vendor != c.want {
				t.Fatalf("row %s, learned %s, want %s", id.Vendor, b.Learned().Vendor, c.want)
			}
		})
	}
}

// TestVendorOverride: a row decides, a family leaves the rest to what is read.
func TestVendorOverride(t *testing.T) {
	old := told{software: []string{"Dell"}, firmware: "5.0.0.0", manager: true}
	for name, want := range map[string]string{
		"": "dell-idrac9-5", "dell": "dell-idrac9-5", "DELL-iDRAC10": "dell-idrac10", "supermicro": "supermicro", "ami": "ami", "generic": "generic",
		"hpe": "hpe", "lenovo": "lenovo", "nobody": "dell-idrac9-5",
	} {
		if got := chooseRow(name, "", old).name; got != want {
			t.Errorf("%q: %s, want %s", name, got, want)
		}
	}
	unread := told{software: []string{"Dell"}}
	for learned, want := range map[string]string{"dell-idrac8": "dell-idrac8", "": "dell-idrac9", "hpe-ilo5": "dell-idrac9", "x": "dell-idrac9"} {
		if got := chooseRow("", learned, unread).name; got != want {
			t.Errorf("learned %q: %s, want %s", learned, got, want)
		}
	}
}

// TestRowIsSureBeforeItMatters: the manager is read once before the first change
// where rows of the family differ, and not at all where there is one.
func TestRowIsSureBeforeItMatters(t *testing.T) {
	for maker, reads := range map[string]int{"Dell Inc.": 1, "Cisco": 0, "Acme": 0} {
		s := newServer(t, plainHTTP)
		s.json("/redfish/v1/Systems/1", with(systemBody(), doc{"Manufacturer": maker}))
		s.on(systemPatch, accept)
		b, _ := connect(t, testTarget(s))
		for range 2 {
			must(t, b.SetBootOnce(t.Context(), BootCD))
		}
		if n := s.count("GET /redfish/v1/Managers/1"); n != reads {
			t.Errorf("%s: the manager was read %d times", maker, n)
		}
	}
}

// TestVendorTable: every row can be shown to people and be found by its name.
func TestVendorTable(t *testing.T) {
	rows := Vendors()
	if len(rows) != len(vendors) || rows[len(rows)-1].Name != "generic" {
		t.Fatal("the last row is not the generic one")
	}
	seen := map[string]bool{}
	for _, r := range rows {
		for what, v := range map[string]string{"name": r.Name, "family": r.Family, "products": r.Products, "firmware": r.Firmware, "media": r.Media, "insert": r.Insert,
			"eject": r.Eject, "target": r.BootTarget, "mode": r.BootMode, "place": r.BootPlace, "power": r.Power, "if-match": r.IfMatch, "schemes": r.ImageSchemes, "source": r.Source} {
			if v == "" {
				t.Errorf("%s has no %s", r.Name, what)
			}
		}
		if seen[r.Name] || r.Name != strings.ToLower(r.Name) {
			t.Errorf("name %s is there twice, or not in lower case", r.Name)
		}
		seen[r.Name] = true
		if got := chooseRow(r.Name, "", told{}); got.name != r.Name && got.family != r.Family {
			t.Errorf("%s is not found by its name but %s", r.Name, got.name)
		}
		if TuningOf(r.Name) != r.Tuning || r.Tuning.EjectWhileRunning {
			t.Errorf("%s: tuning %+v: no source says that an eject under a running system is safe anywhere", r.Name, r.Tuning)
		}
	}
	for _, v := range vendors {
		for _, f := range v.fields {
			if insertFieldNamed(f) == nil {
				t.Errorf("%s: no such field %s", v.name, f)
			}
		}
		for _, w := range v.targets() {
			if !slices.Contains(cdTargets, w) {
				t.Errorf("%s: a target that is not read back: %s", v.name, w)
			}
		}
	}
	if (TuningOf("nobody") != Tuning{}) {
		t.Error("a tuning for nobody")
	}
}

func TestVersions(t *testing.T) {
	for _, c := range []struct {
		v, from, before string
		in              bool
	}{
		{"6.00.02.00", "6.00.02", "", true}, {"6.00.01.99", "6.00.02", "", false}, {"10.1", "6.00.02", "", true}, {"2.75.75.75", "2", "3", true},
		{"3.0", "2", "3", false}, {"iLO 5 v2.72", "2", "3", true}, {"", "2", "3", false}, {"TGBT51A", "2", "3", false}, {"99999999999999999999.1", "2", "", true},
	} {
		if got := inRange(c.v, c.from, c.before); got != c.in {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

// TestLicenceIsNamed: a BMC without media says which licence it may want.
func TestLicenceIsNamed(t *testing.T) {
	for vendor, want := range map[string]string{"hpe-ilo5": "iLO Advanced", "dell-idrac9": "Enterprise", "supermicro-x12": "SFT-DCMS-SINGLE", "lenovo-xcc3": "Premier", "generic": "licence"} {
		s, b := vendorBMC(t, vendor)
		s.json(mediaPath, doc{"Members": []any{}})
		id, err := b.Identify(t.Context())
		must(t, err)
		if !slices.ContainsFunc(id.Problems, func(p string) bool { return strings.Contains(p, want) }) {
			t.Errorf("%s: %q", vendor, id.Problems)
		}
	}
}
