package linux

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"github.com/beskar7/beskar7/pkg/agent/protocol"
)

// group is where switches send to, and what they do not pass on (IEEE 802.1AB, 7.1).
var group = [8]byte{0x01, 0x80, 0xC2, 0x00, 0x00, 0x0E}

// hear tells of LLDP frames that come in at a port, until the context ends. A kernel that does not let it listen is no failure:
// neighbours are for people.
func hear(ctx context.Context, index int, told func(*protocol.Neighbour)) {
	kind := uint16(etherLLDP>>8 | etherLLDP&0xFF<<8) // in the order of bytes of the network
	socket, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(kind))
	if err != nil {
		return
	}
	defer unix.Close(socket) //nolint:errcheck // it was only read from
	request := unix.PacketMreq{Ifindex: int32(index), Type: unix.PACKET_MR_MULTICAST, Alen: 6,
		Address: group} //nolint:gosec // the kernel's number
	second := unix.NsecToTimeval(int64(time.Second))
	if errors.Join(unix.Bind(socket, &unix.SockaddrLinklayer{Protocol: kind, Ifindex: index}),
		unix.SetsockoptPacketMreq(socket, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &request),
		unix.SetsockoptTimeval(socket, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &second)) != nil {
		return
	}
	frame := make([]byte, 2048)
	for ctx.Err() == nil {
		n, _, err := unix.Recvfrom(socket, frame, 0)
		switch {
		case errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR):
		case err != nil:
			return
		default:
			if found := neighbour(frame[:n]); found != nil {
				told(found)
			}
		}
	}
}
