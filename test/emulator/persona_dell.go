package emulator

import (
	"net/http"
	"time"
)

// dellMessages are the ids an iDRAC uses where the standard has one.
func dellMessages() map[string]string {
	const r = "IDRAC.2.8."
	return map[string]string{
		"SessionLimitExceeded": r + "RAC0218", "CouldNotEstablishConnection": r + "RAC0904",
		"ServiceTemporarilyUnavailable": r + "SYS518", "NoOperation": r + "VRM0009", "JobRunning": r + "RAC0679",
		"JobPending": r + "LC068", "LicenseRequired": r + "LIC501",
	}
}

// idrac is what the iDRACs have in common.
func idrac(p *persona, model, firmware string) {
	p.vendor, p.product, p.manufacturer, p.model = "Dell", "Integrated Dell Remote Access Controller", "Dell Inc.", model
	p.systemID, p.managerID, p.chassisID = "System.Embedded.1", "iDRAC.Embedded.1", "System.Embedded.1"
	p.firmware, p.oem = firmware, oemDell
	p.errors = errorForm{base: "Base.1.12.", ids: dellMessages()}
	p.tasks = taskForm{location: locationTask, hidden: 5 * time.Second, gone: time.Minute}
	p.media.ejectEmpty = http.StatusInternalServerError
	p.media.settle, p.media.settleStatus = 5*time.Second, http.StatusInternalServerError
	p.power.types = []string{"On", "ForceOff", "ForceRestart", "GracefulShutdown", "PushPowerButton", "Nmi"}
	p.power.jumps = true
	p.boot.targets = []string{"None", "Pxe", "Floppy", "Cd", "Hdd", "BiosSetup", "Utilities", "UefiTarget", "SDCard"}
	p.boot.mode = modeLater
}

func dellPersonas() []persona {
	drives := []slotSpec{
		{id: "CD", name: "Virtual CD", types: []string{"CD", "DVD"}},
		{id: "RemovableDisk", name: "Virtual removable disk", types: []string{"Floppy", "USBStick"}, suffixes: []string{".img"}},
	}
	media := Oddity{"media at Managers/iDRAC.Embedded.1/VirtualMedia/{CD,RemovableDisk}; RemovableDisk takes .img only", "iDRAC-Redfish-Scripting #265, InsertEjectVirtualMediaREDFISH.py"}
	oem := Oddity{"the next boot from the virtual CD is set by attributes ServerBoot.1.FirstBootDevice=VCD-DVD and BootOnce, or by ImportSystemConfiguration", "iDRAC-Redfish-Scripting #90, #116"}
	common := []Oddity{
		{"session table of 8; full: 503 RAC0218", "gofish #75, check_redfish PR #198"},
		{"an insert right after an eject fails with 500", "ironic note fix-redfish-vmedia-insert-retry"},
		{"On while on and ForceOff while off: 409", "field notes"},
		{"new tasks are answered 404 at first", "sushy note fix-dell-bmc-404-race-condition"},
		{"a changed boot mode takes a job and a reboot", "field notes"},
		{"image that cannot be fetched: RAC0904; busy: SYS518 with 30 s", "iDRAC-Redfish-Scripting #265, metal-operator #170"},
	}
	old := append([]Oddity{media, oem}, common...)
	return []persona{
		vary(generic(), "dell-idrac8", "Dell 13G, iDRAC 8 2.75", func(p *persona) {
			idrac(p, "PowerEdge R630", "2.75.75.75")
			p.redfishVersion, p.managerModel, p.media.slots = "1.0.2", "13G Monolithic", drives
			p.power.types = append(p.power.types, "GracefulRestart")
			p.power.hardRestart, p.errors.single = true, true
		}, append(old, Oddity{"GracefulRestart is a hard reset", "iDRAC-Redfish-Scripting #29"},
			Oddity{"ExtendedInfo is one object, not a list", "observed with gofish v0.26.0"})...),
		vary(generic(), "dell-idrac9-fw5", "Dell 14G, iDRAC 9 before 6.00", func(p *persona) {
			idrac(p, "PowerEdge R640", "5.10.50.00")
			p.redfishVersion, p.managerModel, p.media.slots = "1.11.0", "14G Monolithic", drives
			p.boot.foreign = []string{"Cd"}
		}, append(old, Oddity{"the boot target Cd is the physical drive", "field notes"})...),
		vary(generic(), "dell-idrac9", "Dell 15G, iDRAC 9 7.x", func(p *persona) {
			idrac(p, "PowerEdge R650", "7.10.70.00")
			p.managerModel = "15G Monolithic"
			p.media.home = mediaUnderSystem
			p.media.slots = []slotSpec{
				{id: "1", name: "VirtualMedia Instance 1", types: []string{"CD", "DVD", "USBStick"}},
				{id: "2", name: "VirtualMedia Instance 2", types: []string{"CD", "DVD", "USBStick"}},
			}
			p.boot.orderOnly = "Settings"
		}, append([]Oddity{
			{"slots 1 and 2, each for CD, DVD and USB stick", "capture dell-idrac9-7"},
			{"the settings hold a Boot with an order and no override; PropertyUnknown",
				"libredfish dell_multi_dpu, sushy settings-body-bootsourceoverridemode-only"},
			{"media at Systems/System.Embedded.1/VirtualMedia/{1,2} only", "iDRAC-Redfish-Scripting #265"}, oem}, common...)...),
		vary(generic(), "dell-idrac10", "Dell 17G, iDRAC 10", func(p *persona) {
			idrac(p, "PowerEdge R770", "1.20.25.00")
			p.redfishVersion, p.managerModel = "1.20.0", "17G Monolithic"
			p.media.home = mediaUnderSystem
			p.media.slots = []slotSpec{{id: "1", name: "VirtualMedia Instance 1", types: []string{"CD", "DVD", "USBStick"}}}
			p.http.refuseTag = true
			p.power.onRefused = time.Minute
			p.boot.settings, p.boot.settingsID, p.boot.listElsewhere = "Settings", "PropertyNotWritable", true
		}, append([]Oddity{
			{"only Systems/System.Embedded.1/VirtualMedia/1 is there", "ironic drac boot.py, terraform-provider-redfish #331"},
			{"If-Match on an action: 412", "metal-operator 7bc956a5, gofish a1180d3"},
			{"On is refused with 409 for up to a minute after Off", "ironic note redfish-power-on-conflict-retry"},
			{"boot override and its allowable values are at the Settings resource; the system's are read only", "sushy note idrac10-settings-resource, terraform-provider-redfish #324"},
			oem,
		}, common...)...),
	}
}
