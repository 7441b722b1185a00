package machine

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/beskar7/beskar7/test/emulator"
)

// arguments are QEMU's: the hardware as the BMC describes it, and the boot order as its firmware decided.
func (m *Machine) arguments(boot emulator.Boot, media []export, room string) []string {
	o := m.options
	a := []string{
		"-name", boot.Name, "-nodefaults", "-no-user-config", "-display", "none", "-monitor", "none",
		"-machine", "q35,accel=tcg,usb=off,smm=off,vmport=off", "-cpu", "Nehalem", "-smp", strconv.Itoa(o.CPUs), "-m", strconv.Itoa(o.MemoryMiB),
		"-uuid", boot.UUID,
		"-smbios", fmt.Sprintf("type=1,manufacturer=%s,product=%s,serial=%s,uuid=%s", quote(boot.Manufacturer), quote(boot.Model), quote(boot.Serial), boot.UUID),
		"-rtc", "base=utc", "-no-reboot", "-boot", "strict=on",
		"-chardev", "socket,id=monitor,path=" + filepath.Join(room, "monitor"), "-mon", "chardev=monitor,mode=control",
		"-chardev", "file,id=serial,append=on,path=" + quote(m.file("serial.log")), "-serial", "chardev:serial",
		"-device", "virtio-rng-pci",
	}
	if o.Firmware == UEFI {
		a = append(a,
			"-drive", "if=pflash,unit=0,format=raw,readonly=on,file="+uefiCode,
			"-drive", "if=pflash,unit=1,format=raw,file="+quote(m.file("vars.fd")))
	}
	a = append(a,
		"-blockdev", "driver=raw,node-name=disk,discard=unmap,file.driver=file,file.filename="+quote(m.file("disk.img")),
		"-device", "virtio-blk-pci,drive=disk"+order(boot.Device == "Hdd"),
		"-device", "virtio-scsi-pci,id=scsi")
	for i, e := range media {
		node := fmt.Sprintf("cd%d", i)
		a = append(a,
			"-blockdev", fmt.Sprintf("driver=raw,node-name=%s,read-only=on,file.driver=nbd,file.server.type=unix,file.server.path=%s,file.export=%s",
				node, quote(filepath.Join(room, "media")), quote(e.name)),
			"-device", fmt.Sprintf("%s,bus=scsi.0,scsi-id=%d,drive=%s%s", m.drive(e.name), i, node, order(e.name == boot.Slot)))
	}
	for i, mac := range boot.MACs {
		if i > 0 {
			break // one cable is in
		}
		a = append(a, "-netdev", "user,id=net0,ipv6=off", "-device", "virtio-net-pci,netdev=net0,romfile=,mac="+mac)
	}
	return a
}

// drive is what the system sees of a slot: a CD, or a stick, which is a disk that can be pulled.
func (m *Machine) drive(slot string) string {
	if slices.Contains(m.options.Sticks, slot) {
		return "scsi-hd,removable=on"
	}
	return "scsi-cd"
}

// order is the place in the boot order: what the BMC's firmware chose, and nothing else.
func order(first bool) string {
	if first {
		return ",bootindex=0"
	}
	return ""
}

// quote doubles commas, which separate QEMU's options.
func quote(s string) string { return strings.ReplaceAll(s, ",", ",,") }
