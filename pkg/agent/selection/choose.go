package selection

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/beskar7/beskar7/pkg/agent/protocol"
	"github.com/beskar7/beskar7/pkg/serverid"
)

// Choice is what a plan comes to.
type Choice struct {
	// Root is written; nil if the plan writes none.
	Root *protocol.Disk
	// Erase are erased, in this order: the root disk first, as the one without which nothing goes on.
	Erase []Target
	// Left are not touched.
	Left []Left
}

// Target is a disk to erase.
type Target struct {
	Disk protocol.Disk
	// Neighbours are the names of disks on the same NVMe controller that are not erased. While there are any, no command may be
	// used that works on the controller as a whole.
	Neighbours []string
}

// Left is a disk that is not touched.
type Left struct {
	Disk protocol.Disk
	Why  string
}

// Choose says which disks of a server a plan is about. It refuses with words that say what to do; then nothing may be changed.
func Choose(plan *protocol.Plan, report *protocol.Report) (*Choice, *protocol.Failure) {
	if failure := rightServer(plan, report); failure != nil {
		return nil, failure
	}
	c := chooser{plan: plan, devices: fold(report.Disks)}
	out := &Choice{}
	var root *device
	if plan.Deploy != nil {
		var failure *protocol.Failure
		if root, failure = c.root(); failure != nil {
			return nil, failure
		}
		disk := root.disk()
		out.Root = &disk
	}
	if failure := c.erasures(out, root); failure != nil {
		return nil, failure
	}
	return out, nil
}

// rightServer: the agent may have come up on another server than the one whose medium this is, by a cable or by two BMCs that
// share an address.
func rightServer(plan *protocol.Plan, report *protocol.Report) *protocol.Failure {
	want := serverid.Identity{UUID: plan.Server, Serial: plan.Serial}
	have := serverid.Identity{UUID: report.Server.UUID, Serial: report.Server.Serial}
	if want.Compare(have) == serverid.Same {
		return nil
	}
	return failure(protocol.ReasonWrongServer, "the plan is for the server with %s, and this one has %s: nothing was changed. "+
		"See which server's BMC presents this medium, and whether the mainboard was replaced", want, have)
}

type chooser struct {
	plan    *protocol.Plan
	devices []*device
}

func (c *chooser) kept(d *device) bool {
	return slices.ContainsFunc(c.plan.Keep, d.fits)
}

// root is the one disk that the selector leaves.
func (c *chooser) root() (*device, *protocol.Failure) {
	deploy := c.plan.Deploy
	var fit []*device
	var others []string
	for _, d := range c.devices {
		why := c.unfit(d)
		if why == "" {
			fit = append(fit, d)
			continue
		}
		others = append(others, fmt.Sprintf("%s %s", Describe(d.disk()), why))
	}
	switch {
	case len(fit) == 1:
		return fit[0], nil
	case len(fit) == 0 && len(others) == 0:
		return nil, failure(protocol.ReasonNoDisk,
			"this server shows no disks: see whether their controller is on and whether the agent has its driver")
	case len(fit) == 0:
		return nil, failure(protocol.ReasonNoDisk, "no disk fits rootDisk (%s): change it, or the disks. %s", describe(deploy.Root),
			list(others))
	case deploy.IfSeveral != protocol.IfSeveralSmallest:
		return nil, failure(protocol.ReasonSeveralDisks,
			"%d disks fit rootDisk (%s), and one is to: name one by its serial or wwn, or take the smallest "+
				"with ifSeveral: Smallest. %s", len(fit), describe(deploy.Root), list(names(fit)))
	}
	slices.SortStableFunc(fit, func(a, b *device) int { return bySize(a.disk(), b.disk()) })
	if bySize(fit[0].disk(), fit[1].disk()) == 0 {
		return nil, failure(protocol.ReasonSeveralDisks,
			"several disks are the smallest that fit rootDisk (%s), and have nothing by which the next start "+
				"would tell them apart: say more in rootDisk, such as pciPath. %s", describe(deploy.Root), list(names(fit)))
	}
	return fit[0], nil
}

// bySize puts the smaller disk first, and orders those of one size by what stays with a disk: never by the kernel's name.
func bySize(a, b protocol.Disk) int {
	return cmp.Or(cmp.Compare(a.Size, b.Size), cmp.Compare(a.Serial, b.Serial), cmp.Compare(a.WWN, b.WWN), cmp.Compare(a.EUI, b.EUI),
		cmp.Compare(a.PCIPath, b.PCIPath))
}

// unfit says why a disk is not the one to write; "" if it may be.
func (c *chooser) unfit(d *device) string {
	deploy, disk := c.plan.Deploy, d.disk()
	byName := deploy.Root.Serial != "" || deploy.Root.WWN != "" || deploy.Root.EUI != "" || deploy.Root.Model != ""
	switch {
	case disk.VirtualMedia:
		return "is a medium that the BMC presents"
	case c.kept(d):
		return "is to be kept"
	case disk.Size == 0:
		return "shows no size: it is an empty slot, locked, or broken"
	case disk.Removable:
		return "is removable"
	case disk.ReadOnly:
		return "is read-only"
	case disk.MemberOf != "":
		return "is held by " + disk.MemberOf
	case !d.fits(deploy.Root):
		return "does not fit"
	case networked(disk) && !byName:
		return "is reached over a network, where only a disk is written that rootDisk names by serial, wwn, eui or model"
	case disk.Transport == protocol.TransportUSB && !byName:
		return "is on USB, where only a disk is written that rootDisk names by serial, wwn or model"
	case disk.BlockSize != 512 && disk.BlockSize != 4096:
		return fmt.Sprintf("has blocks of %d bytes: format it to 512 or 4096", disk.BlockSize)
	case disk.Size < deploy.Image.UnpackedSize:
		return fmt.Sprintf("is smaller than the image, which has %s", size(deploy.Image.UnpackedSize))
	}
	return ""
}

// erasures fills in what is erased and what is left.
func (c *chooser) erasures(out *Choice, root *device) *protocol.Failure {
	var cannot []string
	var erase []*device
	for _, d := range c.devices {
		disk := d.disk()
		why, refuse := c.notErased(d, root)
		switch {
		case refuse:
			cannot = append(cannot, Describe(disk)+" "+why)
		case why == "":
			erase = append(erase, d)
		case d != root:
			out.Left = append(out.Left, Left{disk, why})
		}
	}
	if len(cannot) > 0 {
		return failure(protocol.ReasonErase,
			"not all disks can be erased, and nothing was: mend or pull them, or list them under erase.keep. %s", list(cannot))
	}
	slices.SortStableFunc(erase, func(a, b *device) int { return cmp.Compare(first(a == root), first(b == root)) })
	for _, d := range erase {
		out.Erase = append(out.Erase, Target{d.disk(), c.neighbours(d, erase)})
	}
	return nil
}

func first(is bool) int {
	if is {
		return 0
	}
	return 1
}

// notErased says why a disk is not erased, and whether that makes the whole erasure impossible: a disk with a tenant's data that
// is passed over in silence would be read by the next tenant (I13).
func (c *chooser) notErased(d, root *device) (why string, refuse bool) {
	disk, erase := d.disk(), c.plan.Erase
	switch {
	case c.kept(d):
		return "is to be kept", false
	case erase == nil:
		return "the plan erases nothing", false
	case disk.VirtualMedia:
		return "is a medium that the BMC presents", false
	case erase.RootOnly && d != root:
		return "the plan erases the root disk only", false
	case networked(disk) && d != root:
		return "is reached over a network, and may be other servers' too: take it away from this server if it is not", true
	case disk.Size == 0 && disk.Removable:
		return "is an empty slot", false
	case disk.Size == 0:
		return "shows no size: it is locked or broken", true
	case disk.ReadOnly:
		return "is read-only", true
	case disk.MemberOf != "":
		return "is held by " + disk.MemberOf, true
	}
	return "", false
}

// networked: a disk of a storage network, which other servers may use at this moment.
func networked(d protocol.Disk) bool {
	return d.Transport == protocol.TransportFC || d.Transport == protocol.TransportISCSI
}

// neighbours are the namespaces of a disk's NVMe controller that stay.
func (c *chooser) neighbours(d *device, erase []*device) []string {
	var out []string
	for _, other := range c.devices {
		if other != d && !slices.Contains(erase, other) && oneController(d.disk(), other.disk()) {
			out = append(out, other.disk().Name)
		}
	}
	return out
}

// oneController: the serial number of a namespace is that of its subsystem, and the address in PCI that of its controller.
func oneController(a, b protocol.Disk) bool {
	if a.Transport != protocol.TransportNVMe || b.Transport != protocol.TransportNVMe {
		return false
	}
	return a.Serial != "" && strings.EqualFold(a.Serial, b.Serial) || a.PCIPath != "" && a.PCIPath == b.PCIPath
}

func failure(reason protocol.Reason, format string, args ...any) *protocol.Failure {
	return &protocol.Failure{Reason: reason, Message: protocol.CleanMessage(fmt.Sprintf(format, args...))}
}
