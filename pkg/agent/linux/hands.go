package linux

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/u-root/u-root/pkg/efivarfs"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/beskar7/beskar7/pkg/agent"
	"github.com/beskar7/beskar7/pkg/agent/erase"
	"github.com/beskar7/beskar7/pkg/agent/protocol"
)

// Hands are the server that this program runs on. They implement agent.Hands.
type Hands struct {
	sysfs
	// medium is the device that the agent was started from.
	medium string

	mu         sync.Mutex
	neighbours map[string]*protocol.Neighbour // by the names of ports
	listening  map[string]bool
}

// New looks at the server whose kernel's files are below root, which is / but in tests. medium is the name of the device that the
// agent was started from, and "" if that was none.
func New(root, medium string) *Hands {
	return &Hands{sysfs: sysfs(root), medium: medium, neighbours: map[string]*protocol.Neighbour{}, listening: map[string]bool{}}
}

var _ agent.Hands = (*Hands)(nil)

// Report implements agent.Hands. Switches speak every 30 seconds, so that a report knows the neighbours that were heard until then.
func (h *Hands) Report(ctx context.Context) (*protocol.Report, error) {
	out := h.report()
	for i := range out.Disks {
		if d := &out.Disks[i]; d.Name == h.medium {
			d.VirtualMedia = true
		}
	}
	links, err := netlink.LinkList()
	if err != nil {
		return nil, err
	}
	for _, l := range links {
		if mac := permanent(l); mac != "" && h.exists("sys/class/net", l.Attrs().Name, "device") {
			h.look(l)
			h.listen(ctx, l)
			out.Ports = append(out.Ports, h.port(l, mac))
		}
	}
	return out, nil
}

// look takes up a port that nobody uses, to see its carrier and its neighbour. It must get no routes by that.
func (h *Hands) look(l netlink.Link) {
	if l.Attrs().Flags&net.FlagUp != 0 {
		return
	}
	_ = os.WriteFile(h.path("proc/sys/net/ipv6/conf", l.Attrs().Name, "accept_ra"), []byte("0"), 0o600)
	_ = netlink.LinkSetUp(l) // a port that stays down has no neighbour
}

func (h *Hands) port(l netlink.Link, mac string) protocol.Port {
	name := l.Attrs().Name
	p := protocol.Port{Name: name, MAC: mac, Carrier: h.is("sys/class/net", name, "carrier"), SpeedMbps: h.number("sys/class/net", name,
		"speed")}
	if driver := h.device("sys/class/net", name, "device/driver"); driver != "" {
		p.Driver = driver[strings.LastIndexByte(driver, '/')+1:]
	}
	if all := pciAddress.FindAllString(h.device("sys/class/net", name, "device"), -1); len(all) > 0 {
		p.PCIPath = all[len(all)-1]
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	p.Neighbour = h.neighbours[name]
	return p
}

// listen hears what is at the other end of a port, for as long as the program runs.
func (h *Hands) listen(ctx context.Context, l netlink.Link) {
	name, index := l.Attrs().Name, l.Attrs().Index
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.listening[name] {
		return
	}
	h.listening[name] = true
	go hear(ctx, index, func(n *protocol.Neighbour) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.neighbours[name] = n
	})
}

// Open implements agent.Hands.
func (h *Hands) Open(d protocol.Disk) (erase.Disk, error) {
	if d.Name == h.medium || strings.ContainsAny(d.Name, "/.") {
		return nil, errors.New("that is no disk to write to")
	}
	return openDisk(context.Background(), h.path("dev", d.Name), d)
}

// Boot implements agent.Hands.
func (h *Hands) Boot(e agent.Entry) (string, error) {
	fs, err := efivarfs.NewPath(h.path("sys/firmware/efi/efivars"))
	if err != nil {
		return "", err
	}
	return nvram{fs}.boot(e)
}

// SetClock implements agent.Hands.
func (h *Hands) SetClock(t time.Time) error {
	now := unix.NsecToTimeval(t.UnixNano())
	return unix.Settimeofday(&now)
}

// Connect configures the network, and waits for what it needs. Without one it asks for leases at all ports with a carrier.
func (h *Hands) Connect(ctx context.Context, wanted *protocol.Network, say func(format string, args ...any)) error {
	handle, err := netlink.NewHandle()
	if err != nil {
		return err
	}
	defer handle.Close()
	n := &network{netlinks: handle, partner: h.partner, request: request, say: say, ports: portsFor, carrier: carrierFor, lacp: lacpFor,
		every: linkEvery}
	servers, err := n.configure(ctx, wanted)
	if err != nil {
		return err
	}
	return h.resolve(servers)
}

// partner: a bond without a partner shows an address of zeroes for it.
func (h *Hands) partner(bond string) bool {
	mac := h.word("sys/class/net", bond, "bonding/ad_partner_mac")
	return mac != "" && mac != "00:00:00:00:00:00"
}

func (h *Hands) resolve(servers []string) error {
	var text strings.Builder
	for _, s := range servers {
		text.WriteString("nameserver " + s + "\n")
	}
	if err := os.MkdirAll(h.path("etc"), 0o755); err != nil {
		return err
	}
	return os.WriteFile(h.path("etc/resolv.conf"), []byte(text.String()), 0o600)
}

// extra are modules that no device asks for, and that are needed nevertheless.
var extra = []string{"sd_mod", "sr_mod", "isofs", "vfat", "nls_ascii", "nls_cp437", "nls_utf8", "nls_iso8859_1", "efivarfs", "bonding",
	"8021q", "ipv6",
	"af_packet"}

const (
	// turns bounds how often devices are looked at again, settle is the time that they are given in between, and quiet how many
	// times nothing new may be there until all are taken to have come. Controllers look at their disks one after the other.
	turns  = 60
	quiet  = 5
	settle = 500 * time.Millisecond
)

// LoadModules loads the modules of all devices, until no new ones turn up. Those that fail are told, and are no reason to stop.
func (h *Hands) LoadModules(ctx context.Context, say func(format string, args ...any)) error {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return err
	}
	m, err := openModules(h.sysfs, unix.ByteSliceToString(name.Release[:]))
	if err != nil {
		return err
	}
	for _, name := range extra {
		if err := m.load(name); err != nil && !errors.Is(err, errNoModule) {
			say("load a module: %v", err)
		}
	}
	devices := 0
	for turn, still := 0, 0; turn < turns && still < quiet; turn++ {
		fresh, err := m.coldplug()
		if err != nil {
			say("load a module: %v", err)
		}
		now := len(h.names("sys/block"))
		if still++; fresh > 0 || now != devices {
			still, devices = 0, now
		}
		if err := wait(ctx, settle); err != nil {
			return err
		}
	}
	return nil
}
