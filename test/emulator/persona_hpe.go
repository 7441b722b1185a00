package emulator

import (
	"net/http"
	"time"
)

func iloMessages() map[string]string {
	const r = "iLO.2.15."
	m := map[string]string{"LicenseRequired": r + "LicenseKeyRequired", "ResourceInUse": r + "MaxVirtualMediaConnectionEstablished",
		"NoOperation": r + "NoVirtualMediaConnectionAvailable", "CouldNotEstablishConnection": r + "InvalidVirtualMediaURL"}
	for _, id := range []string{"UnableToModifyDuringSystemPOST", "InvalidOperationForSystemState", "SessionLimitExceeded"} {
		m[id] = r + id
	}
	return m
}

func ilo(p *persona, model, manager, firmware string) {
	p.vendor, p.product, p.manufacturer, p.model = "HPE", model, "HPE", model
	p.managerModel, p.firmware = manager, firmware
	p.errors = errorForm{base: "Base.1.4.", code: "iLO.0.10.ExtendedInfo", ids: iloMessages(), bare: true}
	p.login.limit, p.login.fullStatus = 6, http.StatusBadRequest
	p.media.slots = []slotSpec{
		{id: "1", name: "VirtualMedia", types: []string{"Floppy", "USBStick"}, suffixes: []string{".img", ".iso"}},
		{id: "2", name: "VirtualMedia", types: []string{"CD", "DVD"}},
	}
	p.media.ejectObject, p.media.insertStatus, p.media.ejectStatus = true, http.StatusOK, http.StatusOK
	p.media.ejectEmpty = http.StatusBadRequest
	p.boot.targets = []string{"None", "Cd", "Hdd", "Usb", "SDCard", "Utilities", "Diags", "BiosSetup", "Pxe", "UefiShell", "UefiHttp", "UefiTarget"}
	p.boot.mode, p.boot.duringPOST, p.boot.keepTarget = modeReadOnly, true, true
	p.power.status, p.power.onWhileOn, p.power.offWhileOff = http.StatusOK, http.StatusBadRequest, http.StatusBadRequest
	p.power.whileOff, p.power.unready, p.power.jumps = http.StatusBadRequest, 5*time.Second, true
	p.power.types = []string{"On", "ForceOff", "GracefulShutdown", "ForceRestart", "Nmi", "PushPowerButton", "GracefulRestart"}
}

func hpePersonas() []persona {
	common := []Oddity{
		{"slot 1 is a USB stick or floppy, slot 2 the CD", "python-ilorest-library #7"},
		{"an eject needs an empty JSON object", "sushy note fix-eject-media-empty-dict"},
		{"resets while off: 400 InvalidOperationForSystemState, also just after a power change", "ansible-ilo #1, sushy note retry-ilo-not-ready-error"},
		{"boot changes during POST: UnableToModifyDuringSystemPOST", "launchpad 2136275"},
		{"BootSourceOverrideMode is read only", "HewlettPackard _ilo5_adaptation.md"},
		{"errors have ids and no texts, their code is iLO.0.10.ExtendedInfo", "field notes"},
	}
	newer := append([]Oddity{
		{"URIs end in a slash; without it 308", "HewlettPackard _ilo5_adaptation.md"},
		{"ETags are weak", "field notes"},
		{"Oem.Hpe.BootOnNextServerReset of a slot boots from it once, also when set during POST", "field notes"},
		{"actions of its own beside the standard's: HpeiLOVirtualMedia.InsertVirtualMedia", "field notes"},
	}, common...)
	five := vary(generic(), "hpe-ilo5", "HPE Gen10, iLO 5", func(p *persona) {
		ilo(p, "ProLiant DL360 Gen10", "iLO 5", "iLO 5 v2.72")
		p.redfishVersion, p.oem, p.http.slash, p.http.etag = "1.13.0", oemHpe, true, etagWeak
		p.power.types = []string{"On", "ForceOff", "GracefulRestart", "ForceRestart", "Nmi", "PushPowerButton", "GracefulRestart"}
	}, append([]Oddity{{"reset types list GracefulRestart twice and no GracefulShutdown", "Redfish-Tacklebox #82"}}, newer...)...)
	six := vary(five, "hpe-ilo6", "HPE Gen11, iLO 6", func(p *persona) {
		ilo(p, "ProLiant DL360 Gen11", "iLO 6", "iLO 6 v1.57")
		p.oddities = newer
	})
	return []persona{
		vary(generic(), "hpe-ilo4", "HP Gen9, iLO 4", func(p *persona) {
			ilo(p, "ProLiant DL360 Gen9", "iLO 4", "iLO 4 v2.82")
			p.manufacturer, p.redfishVersion, p.oem, p.media.insert = "HP", "1.0.0", oemHp, insertByOEM
			p.media.refuses = []string{"Inserted", "WriteProtected", "TransferMethod", "TransferProtocolType", "UserName", "Password", "MediaType"}
		}, append([]Oddity{{"media go in and out by vendor actions below Oem.Hp, with Image only", "field notes"}}, common...)...),
		five, six,
		vary(six, "hpe-ilo7", "HPE Gen12, iLO 7", func(p *persona) {
			ilo(p, "ProLiant DL360 Gen12", "iLO 7", "iLO 7 v1.12")
		}),
	}
}
