package emulator

import (
	"net/http"
	"time"
)

func amiPersonas() []persona {
	megarac := vary(generic(), "ami-megarac", "AMI MegaRAC", func(p *persona) {
		p.vendor, p.product, p.manufacturer, p.model = "AMI", "AMI Redfish Server", "AMI", "MegaRAC SP-X"
		p.systemID, p.managerID, p.chassisID, p.managerModel, p.firmware = "Self", "Self", "Self", "MegaRAC", "13.05"
		p.errors = errorForm{base: "Base.1.12.", ids: map[string]string{"OperationSupportedInFutureStateURI": "Ami.1.0.OperationSupportedInFutureStateURI"}}
		p.oem, p.http.needTag = oemAMI, true
		p.media.slots = []slotSpec{{id: "CD1", name: "CD1", types: []string{"CD", "DVD"}},
			{id: "HD1", name: "HD1", types: []string{"USBStick"}, suffixes: []string{".img", ".iso"}}}
		p.media.hidden, p.media.needs, p.media.mount = true, []string{"TransferProtocolType"}, 30*time.Second
		p.media.insertStatus, p.media.ejectEmpty = http.StatusAccepted, http.StatusBadRequest
		p.boot.full, p.boot.settings, p.boot.settingsID, p.boot.pending = true, "SD", "OperationSupportedInFutureStateURI", true
		p.boot.status = http.StatusNoContent
	},
		Oddity{"no slots until AMIVirtualMedia.EnableRMedia and ConfigureCDInstance", "bmclib AMI, field notes"},
		Oddity{"an insert is accepted at once and mounted up to a minute later: Oem.Ami.RedirectionStatus", "bmclib AMI"},
		Oddity{"TransferProtocolType is needed", "field notes"},
		Oddity{"the boot override is at Systems/Self/SD; elsewhere Ami.1.0.OperationSupportedInFutureStateURI", "omni redfish.go, launchpad 2073518"},
		Oddity{"the system shows the override only after the next boot", "inferred from the pending object"},
		Oddity{"target, mode and enabled must be sent together", "ironic note fix-redfish-boot-device-full-request"},
		Oddity{"a PATCH without If-Match: 428", "field notes"})
	return []persona{
		megarac,
		vary(generic(), "ami-megarac-12", "AMI MegaRAC 12, Gigabyte H262", func(p *persona) {
			p.vendor, p.product, p.manufacturer, p.model, p.redfishVersion = "AMI", "AMI Redfish Server", "GIGABYTE", "H262-Z63-00", "1.7.0"
			p.systemID, p.managerID, p.chassisID, p.managerModel, p.firmware = "Self", "Self", "Self", "410810600", "12.84.13"
			p.errors, p.oem, p.http.etag, p.http.needTag = megarac.errors, oemAMI, etagWeak, true
			p.media.slots = []slotSpec{{id: "CD1", name: "CD1", types: []string{"CD", "DVD"}}}
			p.media.none, p.media.untyped, p.media.needs = "None", true, []string{"TransferProtocolType"}
			p.boot.targets = []string{"None", "Pxe", "Floppy", "Cd", "Usb", "Hdd", "BiosSetup", "Utilities", "UefiShell", "UefiTarget",
				"SDCard", "UefiHttp", "RemoteDrive", "UefiBootNext"}
			p.power.info = true
		}, Oddity{"an empty slot has Image and ImageName None, and no MediaTypes", "capture gigabyte-h262"},
			Oddity{"one slot, there from the start, though the manager offers EnableRMedia", "capture gigabyte-h262"},
			Oddity{"the system takes the override; no pending settings", "capture gigabyte-h262"},
			Oddity{"ETags are weak; reset types in an ActionInfo resource only", "capture gigabyte-h262"},
			Oddity{"TransferProtocolType is needed; a PATCH without If-Match: 428", "inferred from other MegaRAC"}),
		vary(megarac, "nvidia-dgx", "NVIDIA DGX H100 on AMI MegaRAC", func(p *persona) {
			p.manufacturer, p.model, p.redfishVersion = "NVIDIA", "DGXH100", "1.11.0"
			p.systemID, p.managerID, p.chassisID, p.managerModel, p.firmware = "DGX", "BMC", "DGX", "77171220", "23.11.20"
			p.baseboard, p.boot.listElsewhere, p.power.info = "HGX_Baseboard_0", true, true
			p.boot.targets = []string{"None", "Pxe", "Floppy", "Cd", "Usb", "Hdd", "BiosSetup", "Utilities", "Diags", "UefiShell",
				"UefiTarget", "SDCard", "UefiHttp", "RemoteDrive", "UefiBootNext"}
			p.media.needs = append([]string{"UserName", "Password"}, p.media.needs...)
		}, Oddity{"another system HGX_Baseboard_0 beside DGX: the board with the GPUs", "capture nvidia-dgx-h100"},
			Oddity{"no slots at first; EnableRMedia and ConfigureCDInstance at Managers/BMC", "capture nvidia-dgx-h100"},
			Oddity{"boot targets are listed at Systems/DGX/SD only", "capture nvidia-dgx-h100"},
			Oddity{"an insert needs a user name and a password that are not empty", "launchpad 2071945"}),
		vary(megarac, "asrockrack", "ASRock Rack on AMI MegaRAC", func(p *persona) {
			p.vendor, p.manufacturer, p.model, p.firmware = "ASRockRack", "ASRockRack", "1U4LW-B650", "3.07.00"
			p.media.hidden, p.boot.pending = false, false
			p.boot.settings, p.boot.settingsID = "", ""
		}, Oddity{"slots are there from the start; the system takes the override", "inferred: only the full payload is reported (ironic note redfish-full-boot-payload-asrockrack)"}),
	}
}
