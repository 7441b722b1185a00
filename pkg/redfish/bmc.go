package redfish

import (
	"context"
	"slices"
	"strings"
)

// BMC is everything Beskar7 asks of one server's management controller.
// Implementations are safe for concurrent use.
type BMC interface {
	Power
	Boot
	Media
	Inventory
	// Endpoint is the canonical scheme://host:port, as of EndpointKey.
	Endpoint() string
	// Learned is what was found out so far, without any I/O: see Learned.
	Learned() Learned
}

// Power reads and changes a server's power.
type Power interface {
	// State reads the system once. After the first successful call it costs one
	// GET. A power state the BMC did not give is PowerUnknown, never PowerOff.
	State(ctx context.Context) (State, error)
	// Reset makes one changing request. It picks a type the BMC allows that means
	// the same; where there is none the error is of KindUnsupported. A refusal
	// because the server is already (or not yet) there is KindConflict: read State.
	Reset(ctx context.Context, reset ResetType) error
}

// Boot sets and clears the boot override.
type Boot interface {
	// SetBootOnce asks for the next boot, and only that one, from the device.
	SetBootOnce(ctx context.Context, device BootDevice) error
	// ClearBoot disables the override.
	ClearBoot(ctx context.Context) error
}

// Media is the server's virtual media.
type Media interface {
	// Slots reads every slot: one GET each once the slots are known. Order is the
	// BMC's. An empty list means that the BMC offers no virtual media.
	Slots(ctx context.Context) ([]Slot, error)
	// Slot reads one slot: one GET once it is known, on a BMC that does not need
	// more. One that is not there, or not there any more, is KindNotFound.
	Slot(ctx context.Context, slotID string) (Slot, error)
	// Insert asks the BMC to present the image at url in the slot.
	// It must be empty; the caller ejects first.
	Insert(ctx context.Context, slotID, url string) error
	// Eject empties the slot. A slot that was already empty may be KindConflict.
	Eject(ctx context.Context, slotID string) error
}

// Inventory reads what the BMC and the server are. Slow: tens of requests.
type Inventory interface {
	// Identify reads the BMC's own abilities: the pre-flight report.
	Identify(ctx context.Context) (Identity, error)
	// Hardware reads the server's parts. Parts the BMC does not publish are left out.
	Hardware(ctx context.Context) (Hardware, error)
}

// PowerState is a server's power as the BMC reports it.
type PowerState string

// The power states. PowerUnknown also stands for an answer without one.
const (
	PowerOn          PowerState = "On"
	PowerOff         PowerState = "Off"
	PowerPoweringOn  PowerState = "PoweringOn"
	PowerPoweringOff PowerState = "PoweringOff"
	PowerUnknown     PowerState = "Unknown"
)

// ResetType is a wanted power change, not necessarily the Redfish word sent.
type ResetType string

// The power changes.
const (
	ResetOn               ResetType = "On"
	ResetForceOff         ResetType = "ForceOff"
	ResetGracefulShutdown ResetType = "GracefulShutdown"
)

// BootDevice is what to boot from.
type BootDevice string

// BootCD is the virtual CD, by whatever name the BMC knows it (Cd, UsbCd).
const BootCD BootDevice = "CD"

// OverrideEnabled tells whether and for how long a boot override holds.
type OverrideEnabled string

// The override's states. OverrideUnknown: the BMC did not say.
const (
	OverrideDisabled   OverrideEnabled = "Disabled"
	OverrideOnce       OverrideEnabled = "Once"
	OverrideContinuous OverrideEnabled = "Continuous"
	OverrideUnknown    OverrideEnabled = "Unknown"
)

// BootOverride is the boot override as read.
type BootOverride struct {
	Enabled OverrideEnabled
	// Target is the BMC's word: "Cd", "UsbCd", "Pxe", "None", "".
	Target string
	// Mode is "UEFI", "Legacy" or "" where the BMC does not publish it.
	Mode string
	// Downgraded: the BMC took the override and shows Legacy where UEFI was asked
	// for. Asking again asks in another form.
	Downgraded bool
}

// Armed tells whether the next boot would take another device than usual. Some BMCs
// know no override but a lasting one, and rest with it at the disk (sushy-tools shows
// Continuous whatever was asked; bmcweb on GB200).
func (b BootOverride) Armed() bool {
	switch {
	case b.Target == "" || strings.EqualFold(b.Target, "None"):
		return false
	case b.Enabled == OverrideContinuous:
		return !strings.EqualFold(b.Target, "Hdd")
	}
	return b.Enabled == OverrideOnce
}

// ArmedFrom tells whether the next boot takes the device; Lasting, whether so would
// all after it.
func (b BootOverride) ArmedFrom(device BootDevice) bool {
	return b.Armed() && !b.Downgraded && device == BootCD && slices.ContainsFunc(cdTargets, func(t string) bool {
		return strings.EqualFold(b.Target, t)
	})
}

// Lasting tells whether the override holds for more than the next boot.
func (b BootOverride) Lasting() bool { return b.Armed() && b.Enabled == OverrideContinuous }

// State is one reading of the system resource.
type State struct {
	Power PowerState
	Boot  BootOverride
	// Health is the BMC's word: "OK", "Warning", "Critical", or "".
	Health string
	// SystemUUID is in the BMC's spelling, Serial trimmed; "" where absent.
	SystemUUID, Serial string
}

// Slot is one virtual media device.
type Slot struct {
	// ID names the slot within this BMC, stable between calls.
	ID string
	// Types are the Redfish media types: CD, DVD, USBStick, Floppy.
	Types []string
	// Inserted is what the BMC says; some keep saying it when nothing is there.
	Inserted bool
	// Image is the URL in the slot, ImageName its short name.
	Image, ImageName string
	// ConnectedVia is URI, Applet, NotConnected, Oem or "".
	ConnectedVia string
	// CanInsert is false where the slot can only be fed from a browser.
	CanInsert bool
	// Stick: what Types calls a USBStick is known to be a USB disk to the server.
	// Elsewhere it may be a floppy.
	Stick bool
	// Mounting: the BMC took an image and is still fetching it. Problem says in
	// words why the last insert came to nothing, where the BMC told.
	Mounting bool
	Problem  string
}

// Bootable tells whether a server can boot an ISO from the slot: CD or DVD. A slot
// that names no types takes them until it refuses (MegaRAC: gigabyte-h262).
func (s Slot) Bootable() bool {
	return len(s.Types) == 0 || slices.ContainsFunc(s.Types, func(t string) bool {
		return strings.EqualFold(t, "CD") || strings.EqualFold(t, "DVD")
	})
}

// Empty tells whether nothing is in the slot by any of its fields: a BMC that
// clears one of them late must not look empty.
func (s Slot) Empty() bool {
	return !s.Inserted && s.Image == "" && s.ImageName == ""
}

// Identity is what enrolment learns of a BMC.
type Identity struct {
	// Vendor is the row of the vendor table: "generic" where none matched.
	Vendor string
	// Product is the BMC's product name, FirmwareVersion the BMC's.
	Product, FirmwareVersion, RedfishVersion string
	// Manufacturer, Model, SerialNumber and SystemUUID are the server's.
	Manufacturer, Model, SerialNumber, SystemUUID string
	// SystemID and ManagerID are the resources' Ids.
	SystemID, ManagerID string
	// ResetTypes and BootTargets are what the BMC says it allows.
	ResetTypes, BootTargets []string
	MediaSlots              []Slot
	// Capabilities are the words of the Capability constants, sorted.
	Capabilities []string
	// Problems says in words what is missing and what to do about it.
	Problems []string
}

// The capabilities Identify reports.
const (
	CapabilitySessions          = "Sessions"
	CapabilityBasicAuth         = "BasicAuth"
	CapabilityBootOnceCD        = "BootOnceCD"
	CapabilityInsertMediaAction = "InsertMediaAction"
	CapabilityInsertMediaPatch  = "InsertMediaPatch"
	CapabilityGracefulShutdown  = "GracefulShutdown"
	CapabilitySecondMedium      = "SecondMedium"
	// CapabilityHTTPSMediaOnly: BMCs of this kind fetch images over https only.
	CapabilityHTTPSMediaOnly = "HTTPSMediaOnly"
	// CapabilityEjectWhileRunning: taking the medium out under a running system is
	// known to be harmless.
	CapabilityEjectWhileRunning = "EjectWhileRunning"
)

// Hardware is a server's parts.
type Hardware struct {
	CPU         CPU
	MemoryBytes int64
	Disks       []Disk
	NICs        []NIC
	// Accelerators are those that the BMC lists among the system's processors, alike
	// ones together.
	Accelerators []Accelerator
}

// CPU sums up the sockets. Zero where the BMC does not tell.
type CPU struct {
	Cores, Threads, Sockets int
	// Architecture is Go's word: amd64, arm64, or "".
	Architecture string
	Model        string
}

// Disk is one drive.
type Disk struct {
	Name, Model, Serial string
	// Type is HDD, SSD, NVMe or "".
	Type  string
	Bytes int64
	// WWN is the drive's durable name in the form of Linux's by-id links: lower case,
	// "0x5..." for an NAA, "eui...." for an EUI; "" where the BMC does not tell.
	WWN string
	// BlockBytes is the logical block's size, Protocol the BMC's word for the bus
	// (NVMe, SATA, SAS, PCIe), Location its label of the bay.
	BlockBytes         int
	Protocol, Location string
}

// Accelerator is one kind of accelerator and how many of it there are.
type Accelerator struct {
	// Kind is the BMC's word: GPU, FPGA, Accelerator, DSP.
	Kind          string
	Vendor, Model string
	Count         int
}

// NIC is one network port. MAC is lower case with colons.
type NIC struct {
	Name, MAC string
	SpeedMbps int
	// LinkUp is nil where the BMC does not tell.
	LinkUp *bool
}
