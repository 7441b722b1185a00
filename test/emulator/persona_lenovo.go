package emulator

import (
	"fmt"
	"net/http"
	"time"
)

func lenovoPersonas() []persona {
	var slots []slotSpec
	for i := range 4 {
		slots = append(slots, slotSpec{id: fmt.Sprintf("EXT%d", i+1), name: "VirtualMedia", types: []string{"CD", "DVD", "USBStick"},
			suffixes: []string{".iso", ".img"}})
	}
	for i := range 2 {
		slots = append(slots, slotSpec{id: fmt.Sprintf("RDOC%d", i+1), name: "VirtualMedia", types: []string{"CD", "DVD"}, local: true})
	}
	common := []Oddity{
		{"no insert action: PATCH {Image, Inserted: true} of Managers/1/VirtualMedia/EXTn; eject is PATCH Image null", "gofish #529, bmclib #437"},
		{"Inserted must be sent", "sushy note fix-virtual-media-fallback"},
		{"RDOC slots are no use for URLs", "inferred"},
		{"sessions end after 300 idle seconds", "pubs.lenovo.com SessionService"},
		{"no PushPowerButton", "metal-operator PR #129"},
		{"If-Match * is accepted", "field notes"},
	}
	xcc := vary(generic(), "lenovo-xcc", "Lenovo ThinkSystem, XCC", func(p *persona) {
		p.vendor, p.product, p.manufacturer, p.model = "Lenovo", "", "Lenovo", "ThinkSystem SR650"
		p.managerModel, p.firmware, p.redfishVersion = "Lenovo XClarity Controller", "CDI392O 9.30", "1.14.0"
		p.errors = errorForm{base: "Base.1.8.", ids: map[string]string{"LicenseRequired": "ExtendedError.1.1.LicenseRequired"}}
		p.media.insert, p.media.slots, p.media.insertStatus, p.media.ejectStatus = insertByPatch, slots, http.StatusOK, http.StatusOK
		p.media.needs = []string{"Inserted"}
		p.login.limit, p.login.timeout = 32, 300*time.Second
		p.power.types = []string{"On", "Nmi", "GracefulShutdown", "GracefulRestart", "ForceOn", "ForceOff", "ForceRestart"}
		p.power.onWhileOn, p.power.offWhileOff, p.power.jumps = http.StatusNoContent, http.StatusNoContent, true
	}, common...)
	return []persona{
		xcc,
		vary(xcc, "lenovo-xcc2", "Lenovo ThinkSystem V3, XCC 2", func(p *persona) {
			p.model, p.managerModel, p.firmware = "ThinkSystem SR650 V3", "Lenovo XClarity Controller 2", "ESX320E 4.10"
			p.media.insertStatus = http.StatusNoContent
		}),
		vary(xcc, "lenovo-xcc3", "Lenovo ThinkSystem V4, XCC 3", func(p *persona) {
			p.model, p.managerModel, p.firmware = "ThinkSystem SR650 V4", "Lenovo XClarity Controller 3", "IHX410A 1.10"
			p.media.home, p.media.insertStatus = mediaUnderBoth, http.StatusCreated
		}, Oddity{"media also under Systems", "python-redfish-lenovo PR #257, #289"}, Oddity{"a PATCH may answer 201", "pubs.lenovo.com xcc3-restapi"}),
	}
}
