package emulator_test

import (
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/beskar7/beskar7/test/emulator"
)

// kind is a box of some persona with its paths, and images it can fetch.
type kind struct {
	*box
	sys, mgr     string
	plain, https string // base URLs of /boot.iso and others
}

// step is one request of a recipe; IMG in a text is the image's URL without its
// name, HOST the same without its scheme.
type step struct {
	method, path string
	body         obj
}

// lab is a fleet whose BMCs trust the image server.
type lab struct {
	fleet        *emulator.Fleet
	plain, https string
}

func newLab(t *testing.T, scale float64) *lab {
	t.Helper()
	files := map[string][]byte{"/boot.iso": isoBytes(40 << 10), "/boot.img": isoBytes(40 << 10), "/a=b.iso": isoBytes(40 << 10)}
	timings := quick
	timings.Scale = scale
	l := &lab{fleet: newFleet(t, emulator.Options{Timings: timings})}
	l.plain = serveImages(t, httptest.NewServer, files).URL
	secure := serveImages(t, httptest.NewTLSServer, files)
	l.https = secure.URL
	pool := x509.NewCertPool()
	pool.AddCert(secure.Certificate())
	l.fleet.SetMediaTrust(pool)
	return l
}

func (l *lab) add(t *testing.T, persona string) *kind {
	t.Helper()
	x := newBox(t, l.fleet, emulator.Spec{Name: t.Name(), Persona: persona})
	k := &kind{box: x, plain: l.plain, https: l.https, sys: "/redfish/v1/Systems/" + x.SystemID()}
	members := x.want(200, "GET", "/redfish/v1/Managers/", nil).body["Members"].([]any)
	k.mgr = strings.TrimSuffix(members[0].(obj)["@odata.id"].(string), "/")
	return k
}

// run does a step; it is repeated while the BMC says that it is not ready.
func (k *kind) run(s step, image string) answer {
	k.t.Helper()
	fill := strings.NewReplacer("SYS", k.sys, "MGR", k.mgr, "IMG", image, "HOST", image[strings.Index(image, "://")+3:])
	path, body := fill.Replace(s.path), obj{}
	for name, v := range s.body {
		if text, ok := v.(string); ok {
			v = fill.Replace(text)
		}
		body[name] = v
	}
	var a answer
	k.eventually(s.method+" "+path, func() bool {
		var header []string
		if s.method == "PATCH" {
			header = []string{"If-Match", "*"}
		}
		a = k.do(s.method, path, body, header...)
		return a.status < 300
	}, &a)
	return a
}

// eventually polls; the answer is for the message of a failure.
func (x *box) eventually(what string, ok func() bool, a *answer) {
	x.t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			if a == nil {
				a = &answer{}
			}
			x.t.Fatalf("%s: still %d %v", what, a.status, a.body)
		}
	}
}

func boot(target string, more ...string) obj {
	b := obj{"BootSourceOverrideTarget": target, "BootSourceOverrideEnabled": "Once"}
	for i := 0; i+1 < len(more); i += 2 {
		b[more[i]] = more[i+1]
	}
	return obj{"Boot": b}
}

const (
	uefi     = "BootSourceOverrideMode"
	insertMe = "/Actions/VirtualMedia.InsertMedia"
	ejectMe  = "/Actions/VirtualMedia.EjectMedia"
)

// recipe is how a server of a persona is booted from a CD once, by the facts.
type recipe struct {
	persona             string
	before              []step
	slot                string
	insert, eject, boot step
	http                bool
	// lasting: the override is there until it is changed.
	lasting bool
}

func action(persona, slot string, insert obj, where string, how obj) recipe {
	return recipe{persona: persona, slot: slot, insert: step{"POST", slot + insertMe, insert},
		eject: step{"POST", slot + ejectMe, obj{}}, boot: step{"PATCH", where, how}}
}

func recipes() []recipe {
	image := obj{"Image": "IMG/boot.iso"}
	typed := obj{"Image": "IMG/boot.iso", "TransferProtocolType": "HTTPS"}
	patch := func(persona, slot string) recipe {
		return recipe{persona: persona, slot: slot, insert: step{"PATCH", slot, obj{"Image": "IMG/boot.iso", "Inserted": true}},
			eject: step{"PATCH", slot, obj{"Image": nil}}, boot: step{"PATCH", "SYS", boot("Cd")}}
	}
	oem := step{"PATCH", "MGR/Oem/Dell/DellAttributes/iDRAC.Embedded.1", obj{"Attributes": obj{
		"ServerBoot.1.FirstBootDevice": "VCD-DVD", "ServerBoot.1.BootOnce": "Enabled"}}}
	old := action("dell-idrac9-fw5", "MGR/VirtualMedia/CD", image, "SYS", nil)
	old.boot = oem
	ami := action("ami-megarac", "MGR/VirtualMedia/CD1", typed, "SYS/SD", boot("Cd", uefi, "UEFI"))
	ami.before = []step{{"POST", "MGR/Actions/Oem/AMIVirtualMedia.EnableRMedia", obj{"RMediaState": "Enable"}},
		{"POST", "MGR/Actions/Oem/AMIVirtualMedia.ConfigureCDInstance", obj{"CDInstance": 1}}}
	dgx := action("nvidia-dgx", "MGR/VirtualMedia/CD1", obj{"Image": "IMG/boot.iso", "TransferProtocolType": "HTTPS",
		"UserName": "none", "Password": "none"},
		"SYS/SD", boot("Cd", uefi, "UEFI"))
	dgx.before = ami.before
	sushy := action("sushy-tools", "SYS/VirtualMedia/Cd", image, "SYS", boot("Cd"))
	sushy.lasting = true
	named := obj{"Image": "IMG/boot.iso", "UserName": "none", "Password": "none"}
	hp := "MGR/VirtualMedia/2/Actions/Oem/Hp/HpiLOVirtualMedia."
	cfg := "MGR/VM1/CfgCD"
	return []recipe{
		action("generic", "MGR/VirtualMedia/CD1", image, "SYS", boot("Cd")),
		action("dell-idrac8", "MGR/VirtualMedia/CD", image, "SYS", boot("Cd")), old,
		action("dell-idrac9", "SYS/VirtualMedia/1", image, "SYS", boot("Cd")),
		action("dell-idrac10", "SYS/VirtualMedia/1", image, "SYS/Settings", boot("Cd")),
		{persona: "hpe-ilo4", slot: "MGR/VirtualMedia/2", insert: step{"POST", hp + "InsertVirtualMedia", image},
			eject: step{"POST", hp + "EjectVirtualMedia", obj{}}, boot: step{"PATCH", "SYS", boot("Cd")}},
		action("hpe-ilo5", "MGR/VirtualMedia/2", image, "SYS/", boot("Cd")),
		action("hpe-ilo6", "MGR/VirtualMedia/2", image, "MGR/VirtualMedia/2/", obj{"Oem": obj{"Hpe": obj{"BootOnNextServerReset": true}}}),
		action("hpe-ilo7", "MGR/VirtualMedia/2", image, "SYS/", boot("Cd")),
		{persona: "supermicro-x10", slot: "MGR/VM1/CD1", http: true, before: []step{{"PATCH", cfg, obj{"Host": "IMG", "Path": `\boot.iso`}}},
			insert: step{"POST", cfg + "/Actions/IsoConfig.Mount", obj{}}, eject: step{"POST", cfg + "/Actions/IsoConfig.UnMount", obj{}},
			boot: step{"PATCH", "SYS", boot("UsbCd")}},
		action("supermicro-x11", "MGR/VirtualMedia/VirtualMedia1", image, "SYS", boot("UsbCd")),
		action("supermicro-x12", "MGR/VirtualMedia/VirtualMedia1", image, "SYS", boot("UsbCd")),
		action("supermicro-x13", "MGR/VirtualMedia/VirtualMedia1", image, "SYS", boot("UsbCd", uefi, "UEFI")),
		action("supermicro-x14", "MGR/VirtualMedia/CD1", image, "SYS", boot("UsbCd", uefi, "UEFI")),
		action("supermicro-h13", "MGR/VirtualMedia/CD1", image, "SYS", boot("UsbCd", uefi, "UEFI")),
		action("supermicro-ars", "MGR/VirtualMedia/CD1", image, "SYS", boot("Cd", uefi, "UEFI")),
		patch("lenovo-xcc", "MGR/VirtualMedia/EXT1"), patch("lenovo-xcc2", "MGR/VirtualMedia/EXT2"), patch("lenovo-xcc3", "SYS/VirtualMedia/EXT1"),
		action("openbmc", "MGR/VirtualMedia/Slot_2", image, "SYS", boot("Cd")),
		action("nvidia-bmc", "MGR/VirtualMedia/Slot_2", named, "SYS", boot("Cd")), action("nvidia-gh200", "MGR/VirtualMedia/Slot_2",
			named, "SYS", boot("Cd")),
		action("nvidia-gb200", "MGR/VirtualMedia/USB2", named, "SYS", boot("Cd")), dgx, sushy,
		action("ami-megarac-12", "MGR/VirtualMedia/CD1", typed, "SYS", boot("Cd")),
		action("huawei-openubmc", "MGR/VirtualMedia/CD", obj{"Image": "IMG/boot.iso", "TransferProtocolType": "HTTPS", "TransferMethod": "Stream"}, "SYS", boot("Cd")),
		ami, action("asrockrack", "MGR/VirtualMedia/CD1", typed, "SYS", boot("Cd", uefi, "UEFI")),
		action("fujitsu-irmc", "MGR/VirtualMedia/0", typed, "SYS", boot("Cd")),
		action("cisco-imc", "MGR/VirtualMedia/1", image, "SYS", boot("Cd")),
		action("cisco-c845a", "MGR/VirtualMedia/Slot_2", image, "SYS", boot("Cd")),
		action("nokia", "MGR/VirtualMedia/CD1", typed, "SYS/Settings", boot("Cd")),
	}
}

// TestEveryPersonaBootsFromItsCD: each can be driven, by the facts about it.
func TestEveryPersonaBootsFromItsCD(t *testing.T) {
	l := newLab(t, 0.001)
	var names []string
	for _, r := range recipes() {
		names = append(names, r.persona)
		t.Run(r.persona, func(t *testing.T) {
			k := l.add(t, r.persona)
			image := k.https
			if r.http {
				image = k.plain
			}
			for _, s := range r.before {
				k.run(s, image)
			}
			in := func(s emulator.State) bool {
				return slices.ContainsFunc(s.Slots, func(s emulator.SlotState) bool { return s.Inserted })
			}
			k.run(r.insert, image)
			k.until("medium in", in)
			slot := strings.NewReplacer("SYS", k.sys, "MGR", k.mgr).Replace(r.slot) + "/"
			equal(t, "Inserted", k.want(200, "GET", slot, nil).body["Inserted"], true)
			k.run(r.boot, image)
			reset := "SYS/Actions/ComputerSystem.Reset"
			k.run(step{"POST", reset, obj{"ResetType": "On"}}, image)
			k.untilBooted("Cd")
			k.run(step{"POST", reset, obj{"ResetType": "ForceOff"}}, image)
			k.untilPower(emulator.Off)
			equal(t, "override after the boot", k.State().Override.Enabled, map[bool]string{true: "Continuous", false: "Disabled"}[r.lasting])
			k.run(r.eject, image)
			k.until("medium out", func(s emulator.State) bool { return !in(s) })
			equal(t, "empty", k.want(200, "GET", slot, nil).body["Inserted"], false)
			k.run(step{"POST", reset, obj{"ResetType": "On"}}, image)
			k.untilBooted("Hdd") // once was once
		})
	}
	slices.Sort(names)
	equal(t, "personas with a recipe", names, emulator.Personas())
	for _, p := range emulator.PersonaInfos() {
		if p.About == "" || len(p.Oddities) == 0 && p.Name != "generic" {
			t.Errorf("%s is not described", p.Name)
		}
		for _, o := range p.Oddities {
			if o.What == "" || o.Source == "" {
				t.Errorf("%s: %+v", p.Name, o)
			}
		}
	}
}

// TestEveryLinkOfEveryPersona walks all resources of all personas.
func TestEveryLinkOfEveryPersona(t *testing.T) {
	l := newLab(t, 1)
	for _, persona := range emulator.Personas() {
		t.Run(persona, func(t *testing.T) {
			k, seen := l.add(t, persona), map[string]bool{}
			k.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
			var walk func(v any)
			walk = func(v any) {
				switch v := v.(type) {
				case map[string]any:
					if id, ok := v["@odata.id"].(string); ok && !seen[id] {
						seen[id] = true
						if persona == "sushy-tools" && strings.HasSuffix(id, "/Memory") {
							k.want(404, "GET", id, nil)
							return
						}
						walk(k.want(200, "GET", id, nil).body)
					}
					for _, m := range v {
						walk(m)
					}
				case []any:
					for _, m := range v {
						walk(m)
					}
				}
			}
			walk(obj{"@odata.id": "/redfish/v1/"})
			if len(seen) < 15 {
				t.Errorf("only %d resources", len(seen))
			}
		})
	}
}
