package linux

import (
	"cmp"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/beskar7/beskar7/pkg/agent/protocol"
)

// noDisks are block devices that hold nothing of their own: they are made of others, or of memory. The boot partitions of an eMMC are
// firmware's.
var noDisks = regexp.MustCompile(`^(loop|ram|zram|dm-|md|nbd|drbd|bcache|rbd|nullb|pmem.*s$|mmcblk[0-9]+(boot|rpmb|gp))`)

var pciAddress = regexp.MustCompile(`[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]`)

// disks are the block devices of the server.
func (s sysfs) disks() []protocol.Disk {
	var out []protocol.Disk
	for _, name := range s.names("sys/block") {
		// A path of an NVMe namespace that has several is hidden: the namespace stands for it.
		if noDisks.MatchString(name) || s.is("sys/block", name, "hidden") {
			continue
		}
		out = append(out, s.disk(name))
	}
	return out
}

func (s sysfs) disk(name string) protocol.Disk {
	block := func(parts ...string) []string { return append([]string{"sys/block", name}, parts...) }
	at := s.device("sys/block", name)
	d := protocol.Disk{
		Name:  name,
		Model: s.word(block("device/model")...),
		// Vendor is the word ATA for all disks behind libata, which says nothing.
		Vendor: strings.TrimSuffix(s.word(block("device/vendor")...), "ATA"),
		// Whatever the block size is, this is in units of 512 bytes.
		Size:              s.number(block("size")...) * 512,
		BlockSize:         int(s.number(block("queue/logical_block_size")...)),
		PhysicalBlockSize: int(s.number(block("queue/physical_block_size")...)),
		Transport:         transport(name, at),
		Removable:         s.is(block("removable")...),
		ReadOnly:          s.is(block("ro")...),
		MemberOf:          strings.Join(first(s.names(block("holders")...)), ""),
	}
	if all := pciAddress.FindAllString(at, -1); len(all) > 0 {
		d.PCIPath = all[len(all)-1]
	}
	if strings.HasPrefix(d.Vendor, "0x") { // virtio: a number in place of a name
		d.Vendor = ""
	}
	d.Serial = s.serial(name)
	d.WWN, d.EUI = names(cmp.Or(s.word(block("wwid")...), s.word(block("device/wwid")...)))
	d.Type = diskType(d.Transport, s.is(block("queue/rotational")...))
	d.VirtualMedia = virtualMedia(d)
	return d
}

func first(names []string) []string { return names[:min(1, len(names))] }

func diskType(t protocol.Transport, rotational bool) protocol.DiskType {
	switch {
	case t == protocol.TransportNVMe:
		return protocol.DiskNVMe
	case rotational:
		return protocol.DiskHDD
	}
	return protocol.DiskSSD
}

// serial: NVMe and virtio have files for it; SCSI disks tell it only in their page 80h of vital product data (SPC-5, 7.7.18), which
// begins with four bytes of which the last two are its length.
func (s sysfs) serial(name string) string {
	if serial := cmp.Or(s.word("sys/block", name, "device/serial"), s.word("sys/block", name, "serial")); serial != "" {
		return serial
	}
	page, err := os.ReadFile(s.path("sys/block", name, "device/vpd_pg80"))
	if err != nil || len(page) < 4 {
		return ""
	}
	length := int(page[2])<<8 | int(page[3])
	return protocol.Clean(string(page[4:min(4+length, len(page))]))
}

// names are the World Wide Name and the EUI in the kernel's wwid: naa.5000c500a1b2c3d4, eui.0025385b71b0a1b2. Of other kinds (t10.,
// nvme.) it is made of vendor and serial number, and may be shared where those are empty.
func names(wwid string) (wwn, eui string) {
	wwid = strings.ToLower(wwid)
	if rest, ok := strings.CutPrefix(wwid, "naa."); ok {
		return "0x" + rest, ""
	}
	if rest, ok := strings.CutPrefix(wwid, "eui."); ok && strings.Trim(rest, "0") != "" {
		return "", rest
	}
	return "", ""
}

// transport is told by the devices on the way to a disk.
func transport(name, at string) protocol.Transport {
	if strings.HasPrefix(name, "nvme") {
		return protocol.TransportNVMe
	}
	if strings.HasPrefix(name, "vd") {
		return protocol.TransportVirtIO
	}
	for _, way := range []struct {
		part string
		is   protocol.Transport
	}{
		{"/usb", protocol.TransportUSB}, {"/rport-", protocol.TransportFC}, {"/session", protocol.TransportISCSI},
		{"/end_device-", protocol.TransportSAS}, {"/ata", protocol.TransportSATA}, {"/mmc", protocol.TransportMMC},
	} {
		if strings.Contains(at, way.part) {
			return way.is
		}
	}
	return protocol.TransportOther
}

// virtualWords are in the names of the drives that BMCs present, and of the partitions of their own flash that they show as disks.
var virtualWords = []string{"virtual", "idrac", "lcdrive", "oemdrv", "ilo", "xclarity", "vkvm", "vmdisk", "kvm", "megarac", "openbmc"}

func virtualMedia(d protocol.Disk) bool {
	if strings.HasPrefix(d.Name, "sr") || strings.HasPrefix(d.Name, "fd") {
		return true
	}
	name := strings.ToLower(d.Vendor + " " + d.Model)
	return d.Transport == protocol.TransportUSB && slices.ContainsFunc(virtualWords, func(w string) bool {
		return strings.Contains(name,
			w)
	})
}
