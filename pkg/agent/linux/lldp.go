package linux

import (
	"encoding/binary"
	"net"
	"strings"

	"github.com/beskar7/beskar7/pkg/agent/protocol"
)

// etherLLDP is the Ethernet type of LLDP frames (IEEE 802.1AB-2016, 8.3).
const etherLLDP = 0x88CC

// Types of what a frame holds (clause 8.4).
const (
	lldpEnd             = 0
	lldpChassis         = 1
	lldpPort            = 2
	lldpPortDescription = 4
	lldpSystemName      = 5
	lldpOrganization    = 127
)

// neighbour reads an Ethernet frame; nil is none of LLDP. The frame is a stranger's.
func neighbour(frame []byte) *protocol.Neighbour {
	const header = 14
	if len(frame) < header || binary.BigEndian.Uint16(frame[12:]) != etherLLDP {
		return nil
	}
	out, rest := &protocol.Neighbour{}, frame[header:]
	for len(rest) >= 2 {
		head := binary.BigEndian.Uint16(rest)
		kind, length := head>>9, int(head&0x1FF)
		if kind == lldpEnd || len(rest) < 2+length {
			break
		}
		field(out, kind, rest[2:2+length])
		rest = rest[2+length:]
	}
	if out.ChassisID == "" || out.PortID == "" { // both are mandatory
		return nil
	}
	return out
}

func field(out *protocol.Neighbour, kind uint16, value []byte) {
	switch kind {
	case lldpChassis:
		out.ChassisID = identifier(value, 4) // subtype 4 is a MAC address
	case lldpPort:
		out.PortID = identifier(value, 3) // here it is 3
	case lldpPortDescription:
		out.PortDescription = protocol.Clean(string(value))
	case lldpSystemName:
		out.SystemName = protocol.Clean(string(value))
	case lldpOrganization:
		// Port VLAN ID of IEEE 802.1 (annex D.2.1).
		if len(value) == 6 && strings.HasPrefix(string(value), "\x00\x80\xc2\x01") {
			out.VLAN = int(binary.BigEndian.Uint16(value[4:]) & 0xFFF)
		}
	}
}

// identifier is a MAC address if its subtype says so, and else a text.
func identifier(value []byte, mac byte) string {
	if len(value) < 2 {
		return ""
	}
	if value[0] == mac && len(value) == 7 {
		return net.HardwareAddr(value[1:]).String()
	}
	return protocol.Clean(string(value[1:]))
}
