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
		vary(megarac, "asrockrack", "ASRock Rack on AMI MegaRAC", func(p *persona) {
			p.vendor, p.manufacturer, p.model, p.firmware = "ASRockRack", "ASRockRack", "1U4LW-B650", "3.07.00"
			p.media.hidden, p.boot.pending = false, false
			p.boot.settings, p.boot.settingsID = "", ""
		}, Oddity{"slots are there from the start; the system takes the override", "inferred: only the full payload is reported (ironic note redfish-full-boot-payload-asrockrack)"}),
	}
}
