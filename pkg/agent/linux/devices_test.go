package linux

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"github.com/beskar7/beskar7/pkg/agent/erase"
	"github.com/beskar7/beskar7/pkg/agent/protocol"
)

// frame is one of a switch, as lldpd sends it.
func frame(parts ...string) []byte {
	out := append([]byte("\x01\x80\xc2\x00\x00\x0e\x52\x54\x00\x00\x00\x01\x88\xcc"), strings.Join(parts, "")...)
	return append(out, 0, 0)
}

func tlv(kind int, value string) string {
	return string(binary.BigEndian.AppendUint16(nil, uint16(kind<<9|len(value)))) + value
}

func TestNeighbours(t *testing.T) {
	whole := frame(tlv(1, "\x04\x52\x54\x00\xab\xcd\xef"), tlv(2, "\x05Ethernet1/7"), tlv(3, "\x00\x78"), tlv(4, "to rack 7"), tlv(5,
		"leaf1\x00\x1b[2J"),
		tlv(127, "\x00\x80\xc2\x01\x00\x0a"), tlv(127, "\x00\x12\x0f\x01"))
	want := protocol.Neighbour{ChassisID: "52:54:00:ab:cd:ef", PortID: "Ethernet1/7", PortDescription: "to rack 7",
		SystemName: "leaf1[2J", VLAN: 10}
	if got := neighbour(whole); got == nil || *got != want {
		t.Errorf("%+v", got)
	}
	if got := neighbour(frame(tlv(1, "\x07leaf1"), tlv(2, "\x03\x52\x54\x00\x00\x00\x02"))); got == nil || got.ChassisID != "leaf1" ||
		got.PortID != "52:54:00:00:00:02" {
		t.Errorf("%+v", got)
	}
	for name, data := range map[string][]byte{
		"nothing": nil, "another type": append([]byte("\x01\x80\xc2\x00\x00\x0e\x52\x54\x00\x00\x00\x01\x08\x00"), whole[14:]...),
		"no port":   frame(tlv(1, "\x07leaf1")),
		"cut short": whole[:20], "a length beyond its end": frame("\x02\xff\x04"), "empty identifiers": frame(tlv(1, ""), tlv(2, "")),
	} {
		if got := neighbour(data); got != nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func FuzzNeighbour(f *testing.F) {
	f.Add(frame(tlv(1, "\x04\x52\x54\x00\xab\xcd\xef"), tlv(2, "\x05Ethernet1/7"), tlv(5, "leaf1")))
	f.Fuzz(func(t *testing.T, data []byte) {
		if n := neighbour(data); n != nil {
			call := &protocol.Call{Run: "r", Report: &protocol.Report{Agent: "a", Firmware: protocol.Firmware{BootMode: protocol.BootUEFI},
				Ports: []protocol.Port{{Name: "eth0", Neighbour: n}}}}
			if _, err := call.Encode(); err != nil {
				t.Errorf("what is heard cannot be reported: %v", err)
			}
		}
	})
}

func TestWhatAControllerSays(t *testing.T) {
	data := make([]byte, identifySize)
	if got := abilities(data); got != (erase.Abilities{}) {
		t.Errorf("%+v", got)
	}
	data[256], data[328], data[524] = 0x02, 0x03, 0x05
	if got := abilities(data); got != (erase.Abilities{CryptoErase: true, BlockErase: true, Format: true, FormatCrypto: true,
		FormatsAll: true}) {
		t.Errorf("%+v", got)
	}
	data[328], data[524] = 0x04, 0x02
	if got := abilities(data); got != (erase.Abilities{Overwrite: true, Format: true, FormatsAll: true}) {
		t.Errorf("%+v", got)
	}
	if got := sanitizeLog([]byte{0x34, 0x12, 0x02, 0x00}); got != (erase.SanitizeLog{State: erase.SanitizeRuns, Progress: 0x1234, Raw: 2}) {
		t.Errorf("%+v", got)
	}
	if got := sanitizeLog([]byte{0xFF, 0xFF, 0x01, 0x01}); got.State != erase.SanitizeDone {
		t.Errorf("%+v", got)
	}
}

func TestFormatKeepsTheFormat(t *testing.T) {
	data := make([]byte, identifySize)
	for _, c := range []struct {
		flbas, dps byte
		setting    erase.Setting
		want       uint32
	}{
		{0, 0, erase.SettingUserData, 0x200},
		{1, 0, erase.SettingCrypto, 0x401},
		{0x11, 0x09, erase.SettingUserData, 0x200 | 1 | 1<<4 | 1<<5 | 1<<8},
		{0x21, 0, erase.SettingUserData, 0x200 | 1 | 1<<12},
	} {
		data[26], data[29] = c.flbas, c.dps
		if got := formatWord(data, c.setting); got != c.want {
			t.Errorf("FLBAS %#x, DPS %#x: %#x, not %#x", c.flbas, c.dps, got, c.want)
		}
	}
	if sanitizeWord(erase.ActionCryptoErase) != 4 || sanitizeWord(erase.ActionBlockErase) != 2 ||
		sanitizeWord(erase.ActionOverwrite) != 0x13 {
		t.Error("another sanitize action is asked for")
	}
}

func TestModules(t *testing.T) {
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{
		"lib/modules/6.1/modules.dep": "kernel/a/nvme-core.ko:\nkernel/a/nvme.ko.zst: kernel/a/nvme-core.ko\n" +
			"kernel/b/bonding.ko: kernel/b/tls.ko kernel/b/deep.ko\n" +
			"kernel/b/tls.ko: kernel/b/deep.ko\nkernel/b/deep.ko:\nkernel/c/bad.ko:\n",
		"lib/modules/6.1/modules.alias": "# comment\nalias pci:v*d*sv*sd*bc01sc08i02* nvme\n" +
			"alias scsi:t-0x00* sd_mod\nalias acpi:BAD0001:* bad\n",
		"lib/modules/6.1/kernel/a/nvme-core.ko":         "nvme-core",
		"lib/modules/6.1/kernel/a/nvme.ko.zst":          string(z.EncodeAll([]byte("nvme"), nil)),
		"lib/modules/6.1/kernel/b/bonding.ko":           "bonding",
		"lib/modules/6.1/kernel/b/tls.ko":               "tls",
		"lib/modules/6.1/kernel/b/deep.ko":              "deep",
		"lib/modules/6.1/kernel/c/bad.ko":               "bad",
		"sys/devices/pci0/0000:01:00.0/modalias":        "pci:v0000144Dd0000A80Asv0000144Dsd0000A813bc01sc08i02\n",
		"sys/devices/pci0/0000:02:00.0/scsi/1/modalias": "scsi:t-0x00\n",
		"sys/devices/pci0/0000:03:00.0/modalias":        "acpi:BAD0001:\n",
	}
	m, err := openModules(tree(t, files), "6.1")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	m.insert = func(text []byte, parameters string) error {
		got = append(got, string(text)+parameters)
		switch string(text) {
		case "bad":
			return unix.ENODEV
		case "nvme-core":
			return unix.EEXIST // it is there already
		}
		return nil
	}
	if fresh, err := m.coldplug(); fresh != 3 || err == nil || !strings.Contains(err.Error(), "bad.ko") || strings.Join(got,
		" ") != "nvme-core nvme bad" {
		t.Errorf("%d new ones of %v, %v", fresh, got, err)
	}
	if fresh, err := m.coldplug(); fresh != 0 || err != nil {
		t.Errorf("again: %d new ones, %v", fresh, err)
	}
	got = nil
	if err := m.load("bonding"); err != nil || strings.Join(got, " ") != "deep tls bondingmax_bonds=0" {
		t.Errorf("%v, %v", got, err)
	}
	if err := m.load("8021q"); !errors.Is(err, errNoModule) {
		t.Errorf("%v", err)
	}
}

func TestTheCommandLine(t *testing.T) {
	const sum = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	seed, err := commandLine("quiet beskar7.endpoint=https://m.example:8443 " +
		"beskar7.capability=0123456789abcdef0123 beskar7.ca=" + sum + " panic=5\n")
	if err != nil || seed.Endpoint != "https://m.example:8443" || seed.Capability != "0123456789abcdef0123" || seed.CADigest != sum {
		t.Errorf("%+v, %v", seed, err)
	}
	for line, says := range map[string]string{
		"quiet": "beskar7/agent.json",
		"beskar7.endpoint=http://m.example beskar7.capability=0123456789abcdef0123 beskar7.ca=" + sum: "https",
		"beskar7.endpoint=https://m.example beskar7.capability=0123456789abcdef0123":                  "ca",
	} {
		if _, err := commandLine(line); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", line, err)
		}
	}
}

func TestTheSeedOfTheInitramfs(t *testing.T) {
	const text = `{"endpoint":"https://m.example","capability":"0123456789abcdef0123",` +
		`"caDigest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}`
	seed, medium, err := FindSeed(string(tree(t, map[string]string{protocol.SeedFile: text,
		"proc/cmdline": "beskar7.endpoint=https://other.example"})))
	if err != nil || medium != "" || seed.Endpoint != "https://m.example" {
		t.Errorf("%+v, %q, %v", seed, medium, err)
	}
	if _, _, err := FindSeed(string(tree(t, map[string]string{protocol.SeedFile: "{}"}))); err == nil {
		t.Error("a seed is found that is none")
	}
	if _, _, err := FindSeed(string(tree(t, map[string]string{"proc/cmdline": "quiet"}))); err == nil || !strings.Contains(err.Error(),
		"beskar7.endpoint") {
		t.Errorf("%v", err)
	}
}
