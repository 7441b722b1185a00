package linux

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/beskar7/beskar7/pkg/agent/protocol"
)

// tree lays out a sysfs: files by their paths, and links by paths that end in "@".
func tree(t *testing.T, files map[string]string) sysfs {
	t.Helper()
	root := t.TempDir()
	for path, content := range files {
		link, isLink := strings.CutSuffix(path, "@")
		at := filepath.Join(root, link)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		if isLink {
			if err := os.MkdirAll(filepath.Join(root, content), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(filepath.Join(root, content), at); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.WriteFile(at, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return sysfs(root)
}

// device is a block device at a place, with its files.
func device(files map[string]string, name, at string, attributes map[string]string) {
	path := "sys/devices" + at + "/block/" + name
	files["sys/block/"+name+"@"] = path
	base := map[string]string{"size": "1875385008\n", "queue/logical_block_size": "512\n", "queue/physical_block_size": "4096\n",
		"queue/rotational": "0\n",
		"removable":        "0\n", "ro": "0\n"}
	for name, value := range attributes {
		base[name] = value
	}
	for name, value := range base {
		files[path+"/"+name] = value
	}
}

func TestDisks(t *testing.T) {
	files := map[string]string{}
	// As QEMU and servers of makers show them.
	device(files, "nvme0n1", "/pci0000:3a/0000:3a:00.0/0000:3b:00.0/nvme/nvme0",
		map[string]string{"device/model": "SAMSUNG MZQL2960HCJR-00A07             ",
			"device/serial": "S64FNE0R802391      ", "wwid": "eui.36344630528023910025384500000001\n"})
	device(files, "nvme0c0n1", "/pci0000:3a/0000:3a:00.0/0000:3b:00.0/nvme/nvme0/x", map[string]string{"hidden": "1"})
	device(files, "sda", "/pci0000:00/0000:00:17.0/ata1/host0/target0:0:0/0:0:0:0", map[string]string{"device/model": "INTEL SSDSC2KB48",
		"device/vendor":   "ATA     ",
		"device/vpd_pg80": "\x00\x80\x00\x14  BTYF1234567890    ", "device/wwid": "naa.55CD2E414F1A2B3C\n"})
	device(files, "sdb", "/pci0000:00/0000:02:00.0/host1/port-1:0/end_device-1:0/target1:0:0/1:0:0:0",
		map[string]string{"device/vendor": "SEAGATE ",
			"device/model": "ST4000NM0023    ", "queue/rotational": "1", "queue/logical_block_size": "4096"})
	device(files, "sdc", "/pci0000:00/0000:00:14.0/usb1/1-3/1-3:1.0/host5/target5:0:0/5:0:0:0",
		map[string]string{"device/vendor": "AMI     ",
			"device/model": "Virtual HDisk0  ", "removable": "1", "size": "0"})
	device(files, "sdd", "/pci0000:00/0000:00:14.0/usb1/1-4/1-4:1.0/host6/target6:0:0/6:0:0:0",
		map[string]string{"device/vendor": "SanDisk ",
			"device/model": "Ultra           ", "removable": "1", "ro": "1", "holders/md127": ""})
	device(files, "vda", "/pci0000:00/0000:00:04.0/virtio1", map[string]string{"device/vendor": "0x1af4", "serial": "disk0"})
	device(files, "sr0", "/pci0000:00/0000:00:1f.2/ata3/host2/target2:0:0/2:0:0:0", map[string]string{"device/model": "QEMU DVD-ROM",
		"removable": "1"})
	for _, name := range []string{"loop0", "ram0", "dm-0", "md127", "zram0", "mmcblk0boot0"} {
		device(files, name, "/virtual", nil)
	}
	const size, gb4 = 1875385008 * 512, 4096
	want := []protocol.Disk{
		{Name: "nvme0n1", Serial: "S64FNE0R802391", EUI: "36344630528023910025384500000001", Model: "SAMSUNG MZQL2960HCJR-00A07",
			Size: size, BlockSize: 512,
			PhysicalBlockSize: gb4, Type: protocol.DiskNVMe, Transport: protocol.TransportNVMe, PCIPath: "0000:3b:00.0"},
		{Name: "sda", Serial: "BTYF1234567890", WWN: "0x55cd2e414f1a2b3c", Model: "INTEL SSDSC2KB48", Size: size, BlockSize: 512,
			PhysicalBlockSize: gb4,
			Type:              protocol.DiskSSD, Transport: protocol.TransportSATA, PCIPath: "0000:00:17.0"},
		{Name: "sdb", Vendor: "SEAGATE", Model: "ST4000NM0023", Size: size, BlockSize: 4096, PhysicalBlockSize: gb4, Type: protocol.DiskHDD,
			Transport: protocol.TransportSAS, PCIPath: "0000:02:00.0"},
		{Name: "sdc", Vendor: "AMI", Model: "Virtual HDisk0", BlockSize: 512, PhysicalBlockSize: gb4, Type: protocol.DiskSSD,
			Transport: protocol.TransportUSB,
			PCIPath:   "0000:00:14.0", Removable: true, VirtualMedia: true},
		{Name: "sdd", Vendor: "SanDisk", Model: "Ultra", Size: size, BlockSize: 512, PhysicalBlockSize: gb4, Type: protocol.DiskSSD,
			Transport: protocol.TransportUSB, PCIPath: "0000:00:14.0", Removable: true, ReadOnly: true, MemberOf: "md127"},
		{Name: "sr0", Model: "QEMU DVD-ROM", Size: size, BlockSize: 512, PhysicalBlockSize: gb4, Type: protocol.DiskSSD,
			Transport: protocol.TransportSATA,
			PCIPath:   "0000:00:1f.2", Removable: true, VirtualMedia: true},
		{Name: "vda", Serial: "disk0", Size: size, BlockSize: 512, PhysicalBlockSize: gb4, Type: protocol.DiskSSD,
			Transport: protocol.TransportVirtIO,
			PCIPath:   "0000:00:04.0"},
	}
	got := tree(t, files).disks()
	if len(got) != len(want) {
		t.Fatalf("%d disks: %+v", len(got), got)
	}
	for i := range want {
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Errorf("got  %+v\nwant %+v", got[i], want[i])
		}
	}
}

func TestOddSerialsAndNames(t *testing.T) {
	for page, want := range map[string]string{"": "", "\x00\x80\x00": "", "\x00\x80\x00\x00": "", "\x00\x80\xff\xffAB": "AB",
		"\x00\x80\x00\x04\x00\x00\x00\x00": "",
		"\x00\x80\x00\x02ABCD":             "AB"} {
		files := map[string]string{}
		device(files, "sda", "/x/host0", map[string]string{"device/vpd_pg80": page})
		if got := tree(t, files).disks()[0].Serial; got != want {
			t.Errorf("page %q gives %q", page, got)
		}
	}
	for wwid, want := range map[string][2]string{"naa.5000C500A1": {"0x5000c500a1", ""}, "eui.00A0": {"", "00a0"},
		"eui.0000000000000000": {},
		"t10.ATA QEMU":         {}, "nvme.8086-": {}, "": {}} {
		if wwn, eui := names(wwid); wwn != want[0] || eui != want[1] {
			t.Errorf("%q gives %q, %q", wwid, wwn, eui)
		}
	}
}

func TestTransports(t *testing.T) {
	for at, want := range map[string]protocol.Transport{
		"/pci0000:00/0000:00:1d.0/host3/rport-3:0-0/target3:0:0/3:0:0:1": protocol.TransportFC,
		"/platform/host4/session1/target4:0:0/4:0:0:1":                   protocol.TransportISCSI,
		"/pci0000:00/0000:00:1a.0/mmc_host/mmc0/mmc0:0001":               protocol.TransportMMC,
		"/pci0000:00/0000:00:05.0/virtio2/host0/target0:0:0/0:0:0:0":     protocol.TransportOther,
	} {
		if got := transport("sda", at); got != want {
			t.Errorf("%s is %s", at, got)
		}
	}
}

func TestServerAndFirmware(t *testing.T) {
	files := map[string]string{
		"sys/class/dmi/id/product_uuid": "005cb4e7-0989-eb11-8000-7cc255106afe\n", "sys/class/dmi/id/product_serial": "1001\n",
		"sys/class/dmi/id/sys_vendor": "Supermicro\n", "sys/class/dmi/id/product_name": "X11DPT-B\n",
		"sys/class/dmi/id/bios_version": "3.8a\n",
		"proc/meminfo":                  "MemTotal:       65536 kB\nMemFree: 1 kB\n",
	}
	report := tree(t, files).report()
	if report.Server != (protocol.Server{UUID: "005cb4e7-0989-eb11-8000-7cc255106afe", Serial: "1001", Manufacturer: "Supermicro",
		Model: "X11DPT-B"}) ||
		report.Firmware != (protocol.Firmware{Version: "3.8a", BootMode: protocol.BootBIOS}) || report.MemoryBytes != 64<<20 {
		t.Errorf("%+v", report)
	}
	for value, want := range map[string]bool{"\x06\x00\x00\x00\x01": true, "\x06\x00\x00\x00\x00": false, "\x01": false, "": false} {
		files[secureBoot] = value
		if got := tree(t, files).firmware(); got.SecureBoot != want || got.BootMode != protocol.BootUEFI {
			t.Errorf("%q: %+v", value, got)
		}
	}
	if (tree(t, map[string]string{"proc/meminfo": "MemTotal: x kB\n"})).memory() != 0 {
		t.Error("a number is read that is none")
	}
}
