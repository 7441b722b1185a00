package emulator

import "net/http"

// openbmc is upstream bmcweb.
func openbmc() persona {
	return vary(generic(), "openbmc", "OpenBMC, bmcweb", func(p *persona) {
		p.vendor, p.product, p.manufacturer, p.model = "OpenBMC", "", "OpenBMC", "Emulated reference board"
		p.systemID, p.managerID, p.chassisID, p.managerModel, p.firmware = "system", "bmc", "chassis", "OpenBmc", "2.18.0"
		p.errors = errorForm{base: "Base.1.19."}
		p.login.limit = 64
		p.media.slots = []slotSpec{
			{id: "Slot_0", name: "Virtual Removable Media", types: []string{"CD", "USBStick"}, local: true},
			{id: "Slot_2", name: "Virtual Removable Media", types: []string{"CD", "USBStick"}},
		}
		p.media.schemes, p.media.suffixes, p.media.schemeless = []string{"https"}, nil, true
		p.boot.targets = []string{"None", "Pxe", "Hdd", "Cd", "Diags", "BiosSetup", "Usb"}
		p.boot.status = http.StatusNoContent
		p.power.info = true
		p.power.onWhileOn, p.power.offWhileOff = http.StatusNoContent, http.StatusNoContent
		p.power.types = []string{"On", "ForceOff", "ForceOn", "ForceRestart", "GracefulRestart", "GracefulShutdown", "PowerCycle", "Nmi"}
	},
		Oddity{"Systems/system, Managers/bmc", "bmcweb redfish-core/lib/systems.hpp"},
		Oddity{"images over https only; the scheme may be in TransferProtocolType instead, and must agree", "bmcweb redfish-core/lib/virtual_media.hpp"},
		Oddity{"Inserted false is refused", "bmcweb redfish-core/lib/virtual_media.hpp"},
		Oddity{"the first slot is for the browser only and has no insert action", "bmcweb redfish-core/lib/virtual_media.hpp"},
		Oddity{"boot targets without UefiHttp", "bmcweb redfish-core/lib/systems.hpp"},
		Oddity{"reset types in an ActionInfo resource only", "observed with gofish v0.26.0"},
		Oddity{"PoweringOn and PoweringOff are shown", "ibm-openbmc/dev #2619"},
		Oddity{"If-Match is compared as a string", "bmcweb include/query.hpp"})
}

func openbmcPersonas() []persona {
	nvidia := vary(openbmc(), "nvidia-bmc", "NVIDIA boards on bmcweb", func(p *persona) {
		p.vendor, p.manufacturer, p.model, p.systemID, p.managerID = "NVIDIA", "NVIDIA", "GB200 NVL", "System_0", "BMC_0"
		p.media.needs, p.media.vague = []string{"UserName", "Password"}, true
		p.power.cycleOff = true
	}, Oddity{"an insert needs a user name and a password that are not empty, and says so in plain text", "launchpad 2071945"},
		Oddity{"PowerCycle leaves the server off", "infra-controller PR #5589"},
		Oddity{"images over https only, as upstream", "inferred from bmcweb"})
	return []persona{
		openbmc(), nvidia,
		vary(nvidia, "nvidia-gb200", "NVIDIA GB200 NVL", func(p *persona) {
			p.product, p.managerModel, p.firmware, p.baseboard = "GB200 NVL", "OpenBmc", "GB200Nvl-24.12-8", "HGX_Baseboard_0"
			types := []string{"CD", "USBStick"}
			p.media.slots = []slotSpec{{id: "USB2", name: "Virtual Removable Media", types: types}, {id: "USB1",
				name: "Virtual Removable Media", types: types}}
			p.boot.mode = modeAbsent
		}, Oddity{"another system HGX_Baseboard_0 beside System_0: the board with the GPUs", "capture nvidia-gb200"},
			Oddity{"slots USB2 and USB1, both with actions", "capture nvidia-gb200"},
			Oddity{"no boot mode", "capture nvidia-gb200"}),
		vary(nvidia, "nvidia-gh200", "NVIDIA GH200 and GB300", func(p *persona) {
			p.product, p.model = "GH200", "GH200"
			p.boot.rest = Override{Target: "Hdd", Enabled: "Continuous", Mode: "UEFI"}
		}, Oddity{"the override rests at Continuous, Hdd", "inferred: reported of GH200 and GB300, and not so in the capture of a GB200"}),
		vary(generic(), "huawei-openubmc", "openUBMC, Huawei lineage", func(p *persona) {
			p.vendor, p.product, p.manufacturer, p.model = "openUBMC", "openUBMC", "Huawei", "1288H V7"
			p.managerModel, p.firmware = "openUBMC", "25.09"
			p.media.slots = []slotSpec{{id: "CD", name: "VirtualMedia", types: []string{"CD", "DVD"}},
				{id: "USBStick", name: "VirtualMedia", types: []string{"USBStick"}, suffixes: []string{".iso", ".img"}}}
			p.media.schemes, p.media.needs = []string{"https"}, []string{"TransferProtocolType", "TransferMethod"}
			p.login.maxCount, p.noManagedBy = true, true
		}, Oddity{"images over https only; TransferProtocolType and TransferMethod Stream are needed", "openubmc.cn VirtualMediaCD"},
			Oddity{"the size of the session table is published", "field notes"},
			Oddity{"the system has no Links.ManagedBy", "sushy note retry-on-missing-managedby"}),
	}
}
