package emulator

import (
	"net/http"
	"time"
)

// sushyPersonas are the emulator of virtual machines that OpenStack's and Metal3's developers use.
func sushyPersonas() []persona {
	const capture = "capture sushy-tools-libvirt"
	const seen = "observed with the running program, " + capture
	return []persona{
		vary(generic(), "sushy-tools", "sushy-tools, emulator of virtual machines", func(p *persona) {
			p.vendor, p.product, p.redfishVersion, p.manufacturer, p.model = "", "", "1.5.0", "Sushy Emulator", ""
			p.managerModel, p.firmware = "Joo Janta 200", "1.00"
			p.uuidAsSystemID, p.byName, p.deadMemory = true, true, true
			p.login.off = true
			p.http.etag = etagNone
			p.media.home = mediaUnderSystem
			p.media.slots = []slotSpec{{id: "Cd", name: "Virtual CD", types: []string{"CD", "DVD"}}, {id: "Floppy",
				name: "Virtual Removable Media", types: []string{"Floppy", "USBStick"}}}
			p.media.suffixes, p.media.plainURL, p.media.replaces = nil, false, true
			p.errors = errorForm{base: "Base.1.0.", ids: map[string]string{"CouldNotEstablishConnection": "Base.1.0.GeneralError"}}
			p.media.whole, p.media.fetchStatus = true, http.StatusBadGateway
			p.boot.targets = []string{"Pxe", "Cd", "Hdd", "UefiHttp"}
			p.boot.lasting, p.boot.rest, p.boot.uri = true, Override{Target: "Hdd", Enabled: "Continuous", Mode: "UEFI"}, "None"
			p.boot.status = http.StatusNoContent
			p.power.types = []string{"On", "ForceOff", "GracefulShutdown", "GracefulRestart", "ForceRestart", "Nmi", "ForceOn"}
			p.power.onWhileOn, p.power.offWhileOff, p.power.whileOff = http.StatusNoContent, http.StatusNoContent, http.StatusNoContent
			p.power.jumps, p.power.lag = true, 6*time.Second
		},
			Oddity{"no sessions: basic auth only, and the service root stays open", capture},
			Oddity{"the system's id is its UUID; asked for by its name it is answered 307", seen},
			Oddity{"several systems behind one endpoint, each with a manager and media of its own", capture},
			Oddity{"the override is Continuous, whatever was asked; Disabled alone is answered 400, the target None is unknown", seen},
			Oddity{"HttpBootUri is the string None; the link to memory leads nowhere", capture},
			Oddity{"a change of power takes 1 to 11 s, until then the former state is shown", "observed with the running program; 6 s here"},
			Oddity{"an image is fetched whole before the insert is answered; one that cannot be: 502", "observed with the running program"},
			Oddity{"inserting over inserted, ejecting twice and changes of power that change nothing are taken",
				"observed with the running program"},
			Oddity{"the slot of type Floppy, USBStick is taken and not seen by the firmware",
				"observed with the running program; here it is seen as a stick"},
			Oddity{"no ETags", "inferred"}),
	}
}
