package protocol

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
)

const (
	serverUUID = "4c4c4544-0042-3510-8052-b3c04f4b4e32"
	digest     = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	ca         = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"
)

func report() *Call {
	return &Call{Run: "r1", Report: &Report{
		Agent: "v1", Server: Server{UUID: serverUUID, Serial: "1001"}, Firmware: Firmware{BootMode: BootUEFI, SecureBoot: true},
		Ports: []Port{{Name: "eno1", MAC: "52:54:00:00:00:01", Neighbour: &Neighbour{ChassisID: "leaf1", PortID: "Ethernet1", VLAN: 10}}},
		Disks: []Disk{{Name: "nvme0n1", Serial: "S1", Size: 960e9, BlockSize: 512, Type: DiskNVMe, Transport: TransportNVMe}},
	}}
}

func progress() *Call {
	disk := Disk{Name: "sda", Size: 1 << 40, BlockSize: 512}
	return &Call{Run: "r1", Progress: &Progress{Plan: "p", Generation: 1, Step: StepWrite, Bytes: 1, Total: 2, Rate: 3,
		Error:    &Failure{ReasonImage, "no"},
		Erased:   []Evidence{{Disk: disk, Method: MethodSecure, How: "NVMe Format", Bytes: 1, Samples: 2}},
		Deployed: &Deployed{Disk: disk, Digest: digest, Contents: digest, Bytes: 5},
	}}
}

func answer() *Answer {
	return &Answer{Verdict: VerdictContinue, Time: time.Unix(1e9, 0).UTC(), NextSeconds: 5, Plan: &Plan{
		ID: "p", Generation: 1, Server: serverUUID,
		Keep:  []Selector{{Serial: "K"}},
		Erase: &Erase{Method: MethodDiscard},
		Deploy: &Deploy{Root: Selector{Type: DiskNVMe, MinSize: 1, MaxSize: 2}, IfSeveral: IfSeveralSmallest, BootEntry: "node",
			Image: Image{URLs: []string{"https://images.example/a.zst"}, Digest: digest, Format: FormatRawZstd, CA: ca},
			Data:  &Data{Label: "cidata", Files: []File{{"user-data", []byte("secret")}, {"openstack/latest/meta_data.json", nil}}}},
	}}
}

func seed() *Seed {
	return &Seed{Endpoint: "https://manager.example:8443", Capability: strings.Repeat("a", 32), CA: ca, Network: &Network{
		Nameservers: []string{"2001:db8::53"},
		Interfaces: []Interface{
			{Name: "p1", MAC: "52:54:00:00:00:01"}, {Name: "p2", MAC: "52:54:00:00:00:02", MTU: 9000},
			{Name: "bond0", Bond: &Bond{"802.3ad", []string{"p1", "p2"}}},
			{Name: "v7", VLAN: &VLAN{7, "bond0"}, Addresses: []string{"192.0.2.1/24", "2001:db8::1/64"}, Routes: []Route{{"0.0.0.0/0",
				"192.0.2.254"}}},
		}}}
}

func TestMessagesComeBackAsTheyWereSent(t *testing.T) {
	for name, call := range map[string]*Call{"report": report(), "progress": progress()} {
		data, err := call.Encode()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if back, err := DecodeCall(bytes.NewReader(data)); err != nil || !reflect.DeepEqual(back, call) {
			t.Errorf("%s: %+v, %v", name, back, err)
		}
	}
	data, err := answer().Encode()
	if err != nil {
		t.Fatal(err)
	}
	want := answer()
	if back, err := DecodeAnswer(bytes.NewReader(data)); err != nil || !bytes.Equal(back.Plan.Deploy.Data.Files[0].Content,
		[]byte("secret")) || back.Plan.Server != want.Plan.Server {
		t.Errorf("answer: %+v, %v", back, err)
	}
	if data, err = seed().Encode(); err != nil {
		t.Fatal(err)
	}
	if back, err := DecodeSeed(bytes.NewReader(data)); err != nil || !reflect.DeepEqual(back, seed()) {
		t.Errorf("seed: %+v, %v", back, err)
	}
}

func TestCallsThatAreRefused(t *testing.T) {
	long := strings.Repeat("x", 5000)
	for wrong, c := range map[string]struct {
		change func(*Call)
		call   *Call
	}{
		"either a report or progress":       {func(c *Call) { c.Report = nil }, report()},
		"run is missing":                    {func(c *Call) { c.Run = "" }, report()},
		"agent is missing":                  {func(c *Call) { c.Report.Agent = "" }, report()},
		"server.serial has more than":       {func(c *Call) { c.Report.Server.Serial = long }, report()},
		"server.uuid has characters":        {func(c *Call) { c.Report.Server.UUID = "a\nb" }, report()},
		"firmware.bootMode must be one of":  {func(c *Call) { c.Report.Firmware.BootMode = "x" }, report()},
		"disks[0].size must be":             {func(c *Call) { c.Report.Disks[0].Size = -1 }, report()},
		"disks[0].type must be one of":      {func(c *Call) { c.Report.Disks[0].Type = "Tape" }, report()},
		"disks has more than":               {func(c *Call) { c.Report.Disks = make([]Disk, maxDisks+1) }, report()},
		"ports[0].vlan must be":             {func(c *Call) { c.Report.Ports[0].Neighbour.VLAN = 4095 }, report()},
		"generation must be":                {func(c *Call) { c.Progress.Generation = 0 }, progress()},
		"step must be one of":               {func(c *Call) { c.Progress.Step = "Dance" }, progress()},
		"bytes must be":                     {func(c *Call) { c.Progress.Bytes = -1 }, progress()},
		"error.reason must be one of":       {func(c *Call) { c.Progress.Error.Reason = "x" }, progress()},
		"error.message must be text":        {func(c *Call) { c.Progress.Error.Message = long }, progress()},
		"erased[0].method must be one of":   {func(c *Call) { c.Progress.Erased[0].Method = "x" }, progress()},
		"deployed.digest must be sha256":    {func(c *Call) { c.Progress.Deployed.Digest = "md5:1" }, progress()},
		"deployed.contents must be sha256":  {func(c *Call) { c.Progress.Deployed.Contents = "" }, progress()},
		"message must be text":              {func(c *Call) { c.Progress.Message = "\x1b[2J" }, progress()},
		"erased has more than":              {func(c *Call) { c.Progress.Erased = make([]Evidence, maxDisks+1) }, progress()},
		"disk has characters that cannot":   {func(c *Call) { c.Progress.Disk = "\a" }, progress()},
		"erased[0].log must be text":        {func(c *Call) { c.Progress.Erased[0].Log = long }, progress()},
		"deployed.bootEntry has more than":  {func(c *Call) { c.Progress.Deployed.BootEntry = long }, progress()},
		"disks[0].transport must be one of": {func(c *Call) { c.Report.Disks[0].Transport = "x" }, report()},
		"ports[0].mac has characters":       {func(c *Call) { c.Report.Ports[0].MAC = "\x00" }, report()},
		"disks[0].name is missing":          {func(c *Call) { c.Report.Disks[0].Name = "" }, report()},
		"erased[0].samples must be":         {func(c *Call) { c.Progress.Erased[0].Samples = -1 }, progress()},
		"deployed.bytes must be":            {func(c *Call) { c.Progress.Deployed.Bytes = -1 }, progress()},
		"ports[0].portDescription has more": {func(c *Call) { c.Report.Ports[0].Neighbour.PortDescription = long }, report()},
	} {
		c.change(c.call)
		refused(t, wrong, func() error { _, err := c.call.Encode(); return err }, func() error {
			data, _ := json.Marshal(c.call)
			_, err := DecodeCall(bytes.NewReader(data))
			return err
		})
	}
}

func TestAnswersThatAreRefused(t *testing.T) {
	for wrong, change := range map[string]func(*Answer){
		"verdict must be one of":                    func(a *Answer) { a.Verdict = "" },
		"nextSeconds must be":                       func(a *Answer) { a.NextSeconds = 0 },
		"time is missing":                           func(a *Answer) { a.Time = time.Time{} },
		"comes only with the verdict":               func(a *Answer) { a.Verdict = VerdictAbort },
		"plan.id is missing":                        func(a *Answer) { a.Plan.ID = "" },
		"plan.server is missing":                    func(a *Answer) { a.Plan.Server = "" },
		"plan.keep[0] selects every disk":           func(a *Answer) { a.Plan.Keep[0] = Selector{} },
		"plan.erase.method must be one of":          func(a *Answer) { a.Plan.Erase.Method = "Never" },
		"plan.erase.rootOnly needs a disk":          func(a *Answer) { a.Plan.Erase.RootOnly, a.Plan.Deploy = true, nil },
		"plan.deploy.root.minSize is more":          func(a *Answer) { a.Plan.Deploy.Root.MinSize = 3 },
		"plan.deploy.ifSeveral must be one of":      func(a *Answer) { a.Plan.Deploy.IfSeveral = "Any" },
		"plan.deploy.image.urls must be 1 to":       func(a *Answer) { a.Plan.Deploy.Image.URLs = nil },
		"plan.deploy.image.urls must be http":       func(a *Answer) { a.Plan.Deploy.Image.URLs = []string{"file:///etc/shadow"} },
		"image.urls must be http or https, without": func(a *Answer) { a.Plan.Deploy.Image.URLs = []string{"https://a:b@images.example/"} },
		"plan.deploy.image.digest must be sha256":   func(a *Answer) { a.Plan.Deploy.Image.Digest = "" },
		"plan.deploy.image.format must be one of":   func(a *Answer) { a.Plan.Deploy.Image.Format = "qcow2" },
		"plan.deploy.image.ca must be certificates": func(a *Answer) { a.Plan.Deploy.Image.CA = "x" },
		"plan.deploy.image.ca holds something else": func(a *Answer) {
			a.Plan.Deploy.Image.CA = strings.ReplaceAll(ca, "CERTIFICATE",
				"PRIVATE KEY")
		},
		"plan.deploy.data.label must be":                func(a *Answer) { a.Plan.Deploy.Data.Label = "much too long" },
		"plan.deploy.data.type must be a GUID":          func(a *Answer) { a.Plan.Deploy.Data.Type = "linux" },
		"plan.deploy.data.files must be 1 to":           func(a *Answer) { a.Plan.Deploy.Data.Files = nil },
		"plan.deploy.data.files[0].path must be a":      func(a *Answer) { a.Plan.Deploy.Data.Files[0].Path = "/etc/passwd" },
		"plan.deploy.data.files[0].path must not":       func(a *Answer) { a.Plan.Deploy.Data.Files[0].Path = "a/../b" },
		"plan.deploy.data.files[1].path is there twice": func(a *Answer) { a.Plan.Deploy.Data.Files[1].Path = "USER-DATA" },
		"data.files[0].content must be": func(a *Answer) {
			a.Plan.Deploy.Data.Files[0].Content = make([]byte,
				maxFileSize+1)
		},
		"plan.generation must be":              func(a *Answer) { a.Plan.Generation = 0 },
		"plan.deploy.bootEntry has characters": func(a *Answer) { a.Plan.Deploy.BootEntry = "a\x00" },
		"plan.keep has more than":              func(a *Answer) { a.Plan.Keep = make([]Selector, maxKeep+1) },
	} {
		a := answer()
		change(a)
		refused(t, wrong, func() error { _, err := a.Encode(); return err }, func() error {
			data, _ := json.Marshal(a)
			_, err := DecodeAnswer(bytes.NewReader(data))
			return err
		})
	}
}

func TestSeedsThatAreRefused(t *testing.T) {
	for wrong, change := range map[string]func(*Seed){
		"endpoint must be an https":                           func(s *Seed) { s.Endpoint = "http://manager.example" },
		"capability must be":                                  func(s *Seed) { s.Capability = "../../x" },
		"ca and caDigest: exactly one":                        func(s *Seed) { s.CADigest = digest },
		"network.interfaces must be 1":                        func(s *Seed) { s.Network.Interfaces = nil },
		"network.nameservers must be an IP":                   func(s *Seed) { s.Network.Nameservers[0] = "dns" },
		"network.interfaces[0].mac bond and vlan":             func(s *Seed) { s.Network.Interfaces[0].Bond = &Bond{} },
		"network.interfaces[0].mac must be":                   func(s *Seed) { s.Network.Interfaces[0].MAC = "x" },
		"network.interfaces[1].name is there twice":           func(s *Seed) { s.Network.Interfaces[1].Name = "p1" },
		"network.interfaces[1].mtu must be":                   func(s *Seed) { s.Network.Interfaces[1].MTU = 1 },
		"network.interfaces[2].bond.mode must be":             func(s *Seed) { s.Network.Interfaces[2].Bond.Mode = "fast" },
		"network.interfaces[2].bond.interfaces must be ports": func(s *Seed) { s.Network.Interfaces[2].Bond.Interfaces[0] = "p3" },
		"network.interfaces[3].vlan.id must be":               func(s *Seed) { s.Network.Interfaces[3].VLAN.ID = 0 },
		"network.interfaces[3].vlan.link must be":             func(s *Seed) { s.Network.Interfaces[3].VLAN.Link = "v7" },
		"network.interfaces[3].addresses must be":             func(s *Seed) { s.Network.Interfaces[3].Addresses[0] = "192.0.2.1" },
		"network.interfaces[3].routes.to must be":             func(s *Seed) { s.Network.Interfaces[3].Routes[0].To = "default" },
		"network.interfaces[3].routes.via must be":            func(s *Seed) { s.Network.Interfaces[3].Routes[0].Via = "gw" },
		"network.interfaces[0].name is none":                  func(s *Seed) { s.Network.Interfaces[0].Name = "a b" },
	} {
		s := seed()
		change(s)
		refused(t, wrong, func() error { _, err := s.Encode(); return err }, func() error {
			data, _ := json.Marshal(s)
			_, err := DecodeSeed(bytes.NewReader(data))
			return err
		})
	}
}

func refused(t *testing.T, wrong string, sides ...func() error) {
	t.Helper()
	for _, side := range sides {
		if err := side(); err == nil || !strings.Contains(err.Error(), wrong) || len(err.Error()) > 2000 {
			t.Errorf("%q is refused with %v", wrong, err)
		}
	}
}

func TestWhatIsNotUnderstoodIsRefusedAsAWhole(t *testing.T) {
	good, err := answer().Encode()
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"an unknown field":    strings.Replace(string(good), `"erase":`, `"wipe":true,"erase":`, 1),
		"of another type":     strings.Replace(string(good), `"generation":1`, `"generation":"s3cr3t"`, 1),
		"something behind it": string(good) + "{}",
		"cut short":           string(good[:len(good)-2]),
		"too long":            string(good) + strings.Repeat(" ", MaxAnswer),
		"nothing":             "",
	} {
		if a, err := DecodeAnswer(strings.NewReader(text)); err == nil || a != nil || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%s: %v, %v", name, a, err)
		}
	}
}

func TestAPathIsOneElement(t *testing.T) {
	if got := Path("a/../b?c"); got != Prefix+"a%2F..%2Fb%3Fc" {
		t.Errorf("a capability leads to %s", got)
	}
}

func TestWhatDevicesSayIsCleaned(t *testing.T) {
	for text, want := range map[string]string{
		"  S1 \x00\x00": "S1", "a\x1b[2Jb": "a[2Jb", "\xff\xfeA": "A", strings.Repeat("ä", maxWord): strings.Repeat("ä", maxWord/2),
	} {
		if got := Clean(text); got != want {
			t.Errorf("%q is cleaned to %q", text, got)
		}
	}
	if got := CleanMessage("a\n\x00b" + strings.Repeat("x", maxMessage)); !strings.HasPrefix(got, "a\nbx") || len(got) != maxMessage {
		t.Errorf("a message is cleaned to %q", got)
	}
}

func FuzzDecodeAnswer(f *testing.F) {
	good, _ := answer().Encode()
	f.Add(good)
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := DecodeAnswer(bytes.NewReader(data))
		if err != nil {
			if len(err.Error()) > 4096 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
			return
		}
		again, err := a.Encode()
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		if _, err := DecodeAnswer(bytes.NewReader(again)); err != nil {
			t.Errorf("what was written cannot be read: %v", err)
		}
	})
}

func FuzzDecodeCall(f *testing.F) {
	for _, c := range []*Call{report(), progress()} {
		data, _ := c.Encode()
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := DecodeCall(bytes.NewReader(data))
		if err != nil {
			if len(err.Error()) > 4096 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
			return
		}
		if _, err := c.Encode(); err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
	})
}

func FuzzDecodeSeed(f *testing.F) {
	good, _ := seed().Encode()
	f.Add(good)
	f.Fuzz(func(t *testing.T, data []byte) {
		if s, err := DecodeSeed(bytes.NewReader(data)); err == nil && s.Check() != nil {
			t.Error("a seed is read that is wrong")
		}
	})
}
