package emulator

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// digest derives stable bytes from a server's name for one purpose.
func digest(purpose, name string) [32]byte { return sha256.Sum256([]byte(purpose + "\x00" + name)) }

func derivedUUID(name string) string {
	d := digest("uuid", name)
	u := d[:16]
	u[6] = u[6]&0x0f | 0x80 // version 8: made up by the vendor
	u[8] = u[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[0:4], u[4:6], u[6:8], u[8:10], u[10:16])
}

func derivedMAC(name string, i int) string {
	d := digest(fmt.Sprintf("mac %d", i), name)
	return fmt.Sprintf("02:%02x:%02x:%02x:%02x:%02x", d[0], d[1], d[2], d[3], d[4])
}

func derivedSerial(purpose, name string, n int) string {
	d := digest(purpose, name)
	return strings.ToUpper(hex.EncodeToString(d[:]))[:n]
}

// withDefaults fills what the spec leaves open.
func (s Spec) withDefaults(p *persona) Spec {
	s.Persona = p.name
	s.Username = cmp.Or(s.Username, "admin")
	s.Password = cmp.Or(s.Password, "Pw-"+strings.ToLower(derivedSerial("password", s.Name, 16)))
	s.InitialPower = cmp.Or(s.InitialPower, string(Off))
	s.Hardware.Manufacturer = cmp.Or(s.Hardware.Manufacturer, p.manufacturer)
	s.Hardware.Model = cmp.Or(s.Hardware.Model, p.model)
	s.Hardware = s.Hardware.withDefaults(s.Name)
	if p.serialAsSystemID {
		s.SystemID = cmp.Or(s.SystemID, s.Hardware.Serial)
	}
	if p.uuidAsSystemID {
		s.SystemID = cmp.Or(s.SystemID, s.Hardware.UUID)
	}
	s.SystemID = cmp.Or(s.SystemID, p.systemID)
	return s
}

func (h Hardware) withDefaults(name string) Hardware {
	h.Serial = cmp.Or(h.Serial, "ES"+derivedSerial("serial", name, 10))
	h.UUID = strings.ToLower(cmp.Or(h.UUID, derivedUUID(name)))
	if h.Cores == 0 {
		h.Sockets, h.Cores = cmp.Or(h.Sockets, 2), 16*cmp.Or(h.Sockets, 2)
	}
	h.Sockets = cmp.Or(h.Sockets, 1)
	h.Threads = cmp.Or(h.Threads, 2*h.Cores)
	h.Architecture = cmp.Or(h.Architecture, "x86")
	h.ProcessorModel = cmp.Or(h.ProcessorModel, "Emulated Processor 6416")
	h.MemoryGiB = cmp.Or(h.MemoryGiB, 256)
	h.Disks = append([]DiskSpec(nil), h.Disks...)
	if len(h.Disks) == 0 {
		h.Disks = []DiskSpec{
			{MediaType: "SSD", Protocol: "NVMe", Bytes: 960197124096},
			{MediaType: "HDD", Protocol: "SAS", Bytes: 4000787030016},
		}
	}
	for i := range h.Disks {
		d := &h.Disks[i]
		d.Name = cmp.Or(d.Name, fmt.Sprintf("Disk %d", i))
		d.MediaType, d.Protocol = cmp.Or(d.MediaType, "SSD"), cmp.Or(d.Protocol, "NVMe")
		d.Model = cmp.Or(d.Model, "Emulated "+d.MediaType)
		d.Serial = cmp.Or(d.Serial, derivedSerial(fmt.Sprintf("disk %d", i), name, 12))
	}
	h.NICs = append([]NICSpec(nil), h.NICs...)
	if len(h.NICs) == 0 {
		h.NICs = make([]NICSpec, 2)
	}
	for i := range h.NICs {
		n := &h.NICs[i]
		n.Name = cmp.Or(n.Name, fmt.Sprintf("NIC %d", i+1))
		n.MAC = strings.ToLower(cmp.Or(n.MAC, derivedMAC(name, i)))
		n.SpeedMbps = cmp.Or(n.SpeedMbps, 25000)
	}
	return h
}

func (s Spec) identity() Identity {
	id := Identity{Name: s.Name, UUID: s.Hardware.UUID, Serial: s.Hardware.Serial,
		Manufacturer: s.Hardware.Manufacturer, Model: s.Hardware.Model}
	for _, n := range s.Hardware.NICs {
		id.MACs = append(id.MACs, n.MAC)
	}
	return id
}
