package emulator

import "net/http"

func supermicro(p *persona, model, firmware string) {
	p.vendor, p.product, p.manufacturer, p.model, p.firmware = "Supermicro", "", "Supermicro", model, firmware
	p.managerModel = "ASPEED"
	p.errors = errorForm{base: "Base.v1_4_0.", ids: map[string]string{"LicenseRequired": "SMC.v1_0_0.OemLicenseNotPassed"}}
	p.login.limit = 16
	p.media.slots = []slotSpec{{id: "VirtualMedia1", name: "Virtual Removable Media", types: []string{"CD", "DVD"}}}
	p.media.refuses, p.media.systemLink, p.media.keepsImage = []string{"Inserted", "WriteProtected"}, true, true
	p.media.insertStatus, p.media.ejectStatus, p.media.ejectEmpty = http.StatusOK, http.StatusOK, http.StatusBadRequest
	p.boot.targets = []string{"None", "Pxe", "Floppy", "UsbCd", "Usb", "Hdd", "BiosSetup"}
	p.boot.onceUnlessSaid = true
	p.power.status, p.power.jumps = http.StatusOK, true
	p.power.onWhileOn, p.power.offWhileOff = http.StatusOK, http.StatusOK
	p.power.types = []string{"On", "ForceOff", "GracefulShutdown", "GracefulRestart", "ForceRestart", "Nmi", "ForceOn"}
}

func supermicroPersonas() []persona {
	common := []Oddity{
		{"the virtual CD is the boot target UsbCd", "sushy note change-bootdev-smc"},
		{"a boot change without Enabled falls back to Once", "story 2008547"},
		{"16 sessions", "Supermicro Redfish guide"},
		{"without its licence: SMC OemLicenseNotPassed", "field notes"},
	}
	newer := append([]Oddity{
		{"Inserted and WriteProtected are refused", "sushy note fix-insert-media-payload, community.general #4839"},
		{"Image stays shown after an eject; ConnectedVia says NotConnected", "community.general #6969, #7470"},
		{"the system links to the manager's media", "bmclib fixtures/supermicro"},
		{"one slot", "field notes"},
	}, common...)
	explicit := Oddity{"an override needs Mode UEFI in the request", "metal-operator redfish_supermicro.go"}
	eleven := vary(generic(), "supermicro-x11", "Supermicro X11", func(p *persona) {
		supermicro(p, "SYS-6029P-WTR", "1.74.06")
		p.redfishVersion = "1.8.0"
	}, newer...)
	twelve := vary(eleven, "supermicro-x12", "Supermicro X12", func(p *persona) {
		supermicro(p, "SYS-620P-TRT", "01.04.17")
		p.redfishVersion, p.media.strictURL = "1.11.0", true
	}, Oddity{"? and = in the image URL are refused", "ironic note remove-filename-param-from-vmedia-url"})
	thirteen := vary(twelve, "supermicro-x13", "Supermicro X13", func(p *persona) {
		p.model, p.firmware = "SYS-621P-TN12R", "01.03.05"
		p.media.slots = []slotSpec{{id: "CD1", name: "Virtual CD", types: []string{"CD", "DVD"}}}
		p.boot.mode = modeRequired
	}, explicit)
	return []persona{
		vary(generic(), "supermicro-x10", "Supermicro X10 and early X11", func(p *persona) {
			supermicro(p, "SYS-6028R-T", "3.90")
			p.redfishVersion, p.oem = "1.0.1", oemSupermicro
			p.media.slots = []slotSpec{{id: "CD1", name: "Virtual CD", types: []string{"CD"}}}
			p.media.insert, p.media.schemes, p.media.systemLink, p.media.keepsImage = insertByOEM, []string{"http"}, false, false
			p.boot.mode = modeAbsent
		}, append([]Oddity{
			{"media by PATCH {Host, Path} of Managers/1/VM1/CfgCD and IsoConfig.Mount, IsoConfig.UnMount; http", "bmclib supermicro provider"},
			{"the slot itself is read at Managers/1/VM1/CD1", "inferred"},
			{"BootSourceOverrideMode is unknown", "field notes"},
		}, common...)...),
		eleven, twelve,
		thirteenAsCaptured(thirteen),
		vary(thirteen, "supermicro-x14", "Supermicro X14", func(p *persona) { p.model, p.firmware = "SYS-622C-TN24R", "01.01.08" }),
		vary(thirteen, "supermicro-h13", "Supermicro H13, AS-1015CS-TNR", func(p *persona) {
			p.model, p.firmware, p.boot.mode, p.boot.downgrade = "AS-1015CS-TNR", "01.02.08", modeWritable, true
		}, Oddity{"a boot change without Mode UEFI is answered with success and leaves Mode Legacy, Enabled Disabled", "bmclib fixtures/supermicro/README.md"}),
		vary(thirteen, "supermicro-ars", "Supermicro ARS-111GL-NHR", func(p *persona) {
			p.model = "ARS-111GL-NHR"
			p.boot.targets = []string{"None", "Pxe", "Cd", "Usb", "Hdd", "BiosSetup"}
		}, Oddity{"here the virtual CD is the boot target Cd", "sushy note supermicro-vmedia-dev-workaround"}),
	}
}

// thirteenAsCaptured is the X13 of which there is a capture.
func thirteenAsCaptured(thirteen persona) persona {
	return vary(thirteen, "supermicro-x13", "Supermicro X13, SYS-821GE-TNHR", func(p *persona) {
		p.model, p.firmware, p.redfishVersion, p.vendor = "SYS-821GE-TNHR", "11.01.01", "1.11.0", ""
		types := []string{"CD", "DVD", "Floppy", "USBStick"}
		p.media.slots = []slotSpec{{id: "VirtualMedia1", name: "Virtual Removable Media", types: types},
			{id: "VirtualMedia2", name: "Virtual Removable Media", types: types}, {id: "VirtualMedia3", name: "Virtual Removable Media",
				types: types}}
		p.media.ejectComes, p.media.keepsImage = true, false
		p.boot.targets = []string{"None", "Pxe", "Floppy", "Cd", "Usb", "Hdd", "BiosSetup", "UsbCd", "UefiBootNext", "UefiHttp"}
		p.power.info = true
	}, Oddity{"an empty slot has the action InsertMedia only, a full one EjectMedia only",
		"capture supermicro-x13 (empty slots); libredfish tests/mockups/supermicro"},
		Oddity{"three slots, each for CD, DVD, floppy and USB stick; image null while empty", "capture supermicro-x13"},
		Oddity{"the service root names no vendor, only Oem.Supermicro", "capture supermicro-x13"},
		Oddity{"reset types in an ActionInfo resource only", "capture supermicro-x13"},
		Oddity{"both Cd and UsbCd are listed", "capture supermicro-x13"},
		Oddity{"both boot from the virtual CD", "inferred"})
}
