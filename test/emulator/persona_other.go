package emulator

import (
	"net/http"
	"time"
)

// otherPersonas are vendors of which little is known.
func otherPersonas() []persona {
	return []persona{
		vary(generic(), "fujitsu-irmc", "Fujitsu PRIMERGY, iRMC S6", func(p *persona) {
			p.vendor, p.product, p.manufacturer, p.model = "Fujitsu", "iRMC S6", "FUJITSU", "PRIMERGY RX2540 M7"
			p.systemID, p.managerID, p.chassisID, p.managerModel, p.firmware = "0", "iRMC", "0", "iRMC S6", "2.30S"
			p.media.slots = []slotSpec{{id: "0", name: "Virtual CD", types: []string{"CD", "DVD"}},
				{id: "1", name: "Virtual HD", types: []string{"USBStick"}, suffixes: []string{".img"}}}
			p.media.schemes, p.media.needs = []string{"https"}, []string{"TransferProtocolType"}
			p.media.mount, p.media.settle, p.media.settleStatus = 10*time.Second, 2*time.Second, http.StatusServiceUnavailable
			p.media.insertStatus = http.StatusAccepted
			p.tasks.location = locationNone
		}, Oddity{"images over https only, with TransferProtocolType, named .iso (CD) or .img (HD)", "terraform-provider-irmc-redfish resource_virtual_media.go"},
			Oddity{"up to 20 s until Inserted, 2 s after an eject", "terraform-provider-irmc-redfish resource_virtual_media.go"},
			Oddity{"202 without Location", "inferred"}),
		vary(generic(), "cisco-imc", "Cisco UCS C-Series, CIMC", func(p *persona) {
			p.vendor, p.product, p.manufacturer, p.model = "Cisco Systems Inc.", "UCS C220 M6", "Cisco Systems Inc", "UCSC-C220-M6S"
			p.serialAsSystemID, p.managerID, p.managerModel, p.firmware = true, "CIMC", "Cisco IMC", "4.3(2.230270)"
			p.media.slots = []slotSpec{{id: "0", name: "vKVM Media", types: []string{"DVD"}, local: true, listed: true},
				{id: "1", name: "CIMC-Mapped vDVD", types: []string{"DVD"}}, {id: "2", name: "CIMC-Mapped vHDD", types: []string{"USBStick"}, suffixes: []string{".img"}}}
			p.media.prose = true
		}, Oddity{"the system's id is its serial number", "field notes, from memory"},
			Oddity{"the first slot is for vKVM only and refuses images with 400", "launchpad 2031595, 2039042"},
			Oddity{"media types say DVD, not CD", "ironic note handle-dvd-only-vmedia"},
			Oddity{"allowable values are prose", "field notes"}),
		vary(openbmc(), "cisco-c845a", "Cisco UCS C845A M8, OpenBMC-based", func(p *persona) {
			p.vendor, p.manufacturer, p.model = "Cisco Systems Inc.", "Cisco Systems Inc", "UCSC-845A-M8"
			p.media.schemes = []string{"http", "https"}
		}, Oddity{"slots without the action answer 405", "ironic note cisco-c845a-vmedia-fix"}, Oddity{"http images too", "inferred"}),
		vary(generic(), "nokia", "Nokia AirFrame", func(p *persona) {
			p.vendor, p.product, p.manufacturer, p.model = "Nokia", "", "Nokia Solutions and Networks", "AirFrame RM20"
			p.media.needs = []string{"TransferProtocolType"}
			p.boot.settings, p.boot.settingsID = "Settings", "PropertyNotWritable"
		}, Oddity{"TransferProtocolType is needed", "sushy note retry-if-transferprototype-missing"},
			Oddity{"the boot override is at the settings resource, PropertyNotWritable at the system", "sushy note use-settingsobject-if-supported"}),
	}
}
