package redfishfake

import (
	"context"
	"fmt"
	"path"
	"slices"
	"sync"

	"github.com/beskar7/beskar7/pkg/endpoint"
	"github.com/beskar7/beskar7/pkg/redfish"
)

// Op names an operation for hooks and counts.
type Op string

// The operations, one per method of redfish.BMC.
const (
	OpState       Op = "State"
	OpReset       Op = "Reset"
	OpSetBootOnce Op = "SetBootOnce"
	OpClearBoot   Op = "ClearBoot"
	OpSlots       Op = "Slots"
	OpSlot        Op = "Slot"
	OpInsert      Op = "Insert"
	OpEject       Op = "Eject"
	OpIdentify    Op = "Identify"
	OpHardware    Op = "Hardware"
)

// Options describe the server. Zero fields take a plain server's values.
type Options struct {
	// Endpoint is what Endpoint returns: https://bmc.invalid:443.
	Endpoint string
	// Power is PowerOff or PowerOn at the start: PowerOff.
	Power redfish.PowerState
	// Steps is how many Step calls a power transition takes; 0: none, at once.
	Steps int
	// Slots at the start: "1" (CD, DVD) and "2" (CD, USBStick), empty.
	Slots []redfish.Slot
	// Identity and Hardware are what the methods of that name return; the
	// identity's MediaSlots are the present ones.
	Identity redfish.Identity
	Hardware *redfish.Hardware
}

// BMC is the fake. It is safe for concurrent use.
type BMC struct {
	endpoint string
	steps    int
	hardware redfish.Hardware

	mu       sync.Mutex
	identity redfish.Identity
	power    redfish.PowerState
	left     int // steps until the transition ends
	boot     redfish.BootOverride
	slots    []redfish.Slot
	osUp     bool
	booted   string // what the last power-on booted from
	fault    func(context.Context, Op) error
	lie      func(Op) bool
	calls    map[Op]int
	changes  []Op
	learned  redfish.Learned
}

var _ redfish.BMC = (*BMC)(nil)

// New makes a fake.
func New(o Options) *BMC {
	b := &BMC{
		endpoint: "https://bmc.invalid:443", steps: o.Steps, power: redfish.PowerOff, hardware: plainHardware(),
		identity: o.Identity, slots: slices.Clone(o.Slots), calls: map[Op]int{},
		boot: redfish.BootOverride{Enabled: redfish.OverrideDisabled, Target: "None", Mode: "UEFI"},
	}
	if o.Endpoint != "" {
		b.endpoint = o.Endpoint
	}
	if o.Power != "" {
		b.power = o.Power
	}
	if o.Hardware != nil {
		b.hardware = *o.Hardware
	}
	if o.Slots == nil {
		b.slots = []redfish.Slot{
			{ID: "1", Types: []string{"CD", "DVD"}, CanInsert: true, ConnectedVia: "NotConnected"},
			{ID: "2", Types: []string{"CD", "USBStick"}, CanInsert: true, ConnectedVia: "NotConnected"},
		}
	}
	if b.identity.SystemUUID == "" {
		b.identity = plainIdentity()
	}
	return b
}

func plainIdentity() redfish.Identity {
	return redfish.Identity{
		Vendor: "generic", Product: "Fake BMC", FirmwareVersion: "1.0.0", RedfishVersion: "1.20.0",
		Manufacturer: "Beskar7", Model: "Fake", SerialNumber: "FAKE0001", SystemUUID: "00000000-0000-4000-8000-000000000001",
		SystemID: "1", ManagerID: "1",
		ResetTypes:  []string{"On", "ForceOff", "GracefulShutdown"},
		BootTargets: []string{"None", "Pxe", "Hdd", "Cd"},
		Capabilities: []string{
			redfish.CapabilityBootOnceCD, redfish.CapabilityGracefulShutdown, redfish.CapabilityInsertMediaAction,
			redfish.CapabilitySecondMedium, redfish.CapabilitySessions,
		},
	}
}

func plainHardware() redfish.Hardware {
	up := true
	return redfish.Hardware{
		CPU:         redfish.CPU{Cores: 16, Threads: 32, Sockets: 1, Architecture: "amd64", Model: "Fake 16-core"},
		MemoryBytes: 64 << 30,
		Disks:       []redfish.Disk{{Name: "disk0", Model: "Fake", Serial: "D0", Type: "NVMe", Bytes: 960e9}},
		NICs:        []redfish.NIC{{Name: "nic0", MAC: "02:00:00:00:00:01", SpeedMbps: 25000, LinkUp: &up}},
	}
}

// enter counts the call, asks the fault hook and says whether to lie.
func (b *BMC) enter(ctx context.Context, op Op) (lie bool, err error) {
	b.mu.Lock()
	b.calls[op]++
	fault, lies := b.fault, b.lie
	b.mu.Unlock()
	if ctx.Err() == nil && fault != nil {
		if err := fault(ctx, op); err != nil {
			return false, err
		}
	}
	if ctx.Err() != nil {
		return false, b.fail(op, redfish.KindCanceled, "given up by the caller", ctx.Err())
	}
	return lies != nil && lies(op), nil
}

func (b *BMC) fail(op Op, kind redfish.Kind, message string, cause error) error {
	return &redfish.Error{Kind: kind, Op: string(op), Endpoint: b.endpoint, Message: message, Err: cause}
}

// Endpoint is Options.Endpoint.
func (b *BMC) Endpoint() string { return b.endpoint }

// Learned is what SetLearned put in.
func (b *BMC) Learned() redfish.Learned {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.learned
}

// State reads the model.
func (b *BMC) State(ctx context.Context) (redfish.State, error) {
	if _, err := b.enter(ctx, OpState); err != nil {
		return redfish.State{}, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return redfish.State{
		Power: b.power, Boot: b.boot, Health: "OK",
		SystemUUID: b.identity.SystemUUID, Serial: b.identity.SerialNumber,
	}, nil
}

// Reset starts a power transition, or refuses one that makes no sense now.
func (b *BMC) Reset(ctx context.Context, reset redfish.ResetType) error {
	lie, err := b.enter(ctx, OpReset)
	if err != nil || lie {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	on := b.power == redfish.PowerOn || b.power == redfish.PowerPoweringOn
	switch reset {
	case redfish.ResetOn:
		if on {
			return b.fail(OpReset, redfish.KindConflict, "already on", nil)
		}
		b.change(OpReset)
		b.begin(redfish.PowerPoweringOn)
	case redfish.ResetForceOff:
		if b.power == redfish.PowerOff {
			return b.fail(OpReset, redfish.KindConflict, "already off", nil)
		}
		b.change(OpReset)
		b.begin(redfish.PowerPoweringOff)
	case redfish.ResetGracefulShutdown:
		if b.power != redfish.PowerOn {
			return b.fail(OpReset, redfish.KindConflict, "not on", nil)
		}
		b.change(OpReset)
		if b.osUp {
			b.begin(redfish.PowerPoweringOff)
		}
	default:
		return b.fail(OpReset, redfish.KindUnsupported, "unknown reset type", nil)
	}
	return nil
}

// begin starts a transition; without steps it ends at once. Needs b.mu.
func (b *BMC) begin(to redfish.PowerState) {
	b.power, b.left = to, b.steps
	if b.left == 0 {
		b.finish()
	}
}

// finish ends a transition. A boot uses up an override for one boot. Needs b.mu.
func (b *BMC) finish() {
	switch b.power {
	case redfish.PowerPoweringOff:
		b.power, b.osUp, b.booted = redfish.PowerOff, false, ""
	case redfish.PowerPoweringOn:
		b.power, b.booted = redfish.PowerOn, "disk"
		if b.boot.ArmedFrom(redfish.BootCD) {
			if i := slices.IndexFunc(b.slots, func(s redfish.Slot) bool { return s.Bootable() && s.Inserted }); i >= 0 {
				b.booted = b.slots[i].Image
			}
		}
		if b.boot.Enabled == redfish.OverrideOnce {
			b.boot.Enabled, b.boot.Target = redfish.OverrideDisabled, "None"
		}
	case redfish.PowerOn, redfish.PowerOff, redfish.PowerUnknown:
	}
}

// SetBootOnce sets the override.
func (b *BMC) SetBootOnce(ctx context.Context, device redfish.BootDevice) error {
	lie, err := b.enter(ctx, OpSetBootOnce)
	if err != nil || lie {
		return err
	}
	if device != redfish.BootCD {
		return b.fail(OpSetBootOnce, redfish.KindUnsupported, "unknown boot device", nil)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.change(OpSetBootOnce)
	b.boot.Enabled, b.boot.Target = redfish.OverrideOnce, "Cd"
	return nil
}

// ClearBoot disables the override.
func (b *BMC) ClearBoot(ctx context.Context) error {
	lie, err := b.enter(ctx, OpClearBoot)
	if err != nil || lie {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.change(OpClearBoot)
	b.boot.Enabled, b.boot.Target = redfish.OverrideDisabled, "None"
	return nil
}

// Slots copies the slots.
func (b *BMC) Slots(ctx context.Context) ([]redfish.Slot, error) {
	if _, err := b.enter(ctx, OpSlots); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.slots), nil
}

// Slot copies one slot.
func (b *BMC) Slot(ctx context.Context, slotID string) (redfish.Slot, error) {
	if _, err := b.enter(ctx, OpSlot); err != nil {
		return redfish.Slot{}, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	s, err := b.slot(OpSlot, slotID)
	if err != nil {
		return redfish.Slot{}, err
	}
	return *s, nil
}

func (b *BMC) slot(op Op, id string) (*redfish.Slot, error) {
	for i := range b.slots {
		if b.slots[i].ID == id {
			return &b.slots[i], nil
		}
	}
	return nil, b.fail(op, redfish.KindNotFound, fmt.Sprintf("no slot %q", id), nil)
}

func isURL(text string) bool {
	_, err := endpoint.Parse(text)
	return err == nil
}

// Insert puts the image in; a full slot is a conflict.
func (b *BMC) Insert(ctx context.Context, slotID, url string) error {
	lie, err := b.enter(ctx, OpInsert)
	if err != nil || lie {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	s, err := b.slot(OpInsert, slotID)
	if err != nil {
		return err
	}
	switch {
	case !s.CanInsert:
		return b.fail(OpInsert, redfish.KindUnsupported, "the slot takes no image", nil)
	case !isURL(url):
		return b.fail(OpInsert, redfish.KindUnsupported, "the image is no http or https URL", nil)
	case !s.Empty():
		return b.fail(OpInsert, redfish.KindConflict, "the slot is full", nil)
	}
	b.change(OpInsert)
	s.Inserted, s.Image, s.ImageName, s.ConnectedVia = true, url, path.Base(url), "URI"
	return nil
}

// Eject empties the slot; an empty one is a conflict.
func (b *BMC) Eject(ctx context.Context, slotID string) error {
	lie, err := b.enter(ctx, OpEject)
	if err != nil || lie {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	s, err := b.slot(OpEject, slotID)
	if err != nil {
		return err
	}
	if s.Empty() {
		return b.fail(OpEject, redfish.KindConflict, "the slot is empty", nil)
	}
	b.change(OpEject)
	s.Inserted, s.Image, s.ImageName, s.ConnectedVia = false, "", "", "NotConnected"
	return nil
}

// Identify returns the identity.
func (b *BMC) Identify(ctx context.Context) (redfish.Identity, error) {
	if _, err := b.enter(ctx, OpIdentify); err != nil {
		return redfish.Identity{}, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	id := b.identity
	id.MediaSlots = slices.Clone(b.slots)
	return id, nil
}

// Hardware returns the hardware.
func (b *BMC) Hardware(ctx context.Context) (redfish.Hardware, error) {
	if _, err := b.enter(ctx, OpHardware); err != nil {
		return redfish.Hardware{}, err
	}
	return b.hardware, nil
}

func (b *BMC) change(op Op) { b.changes = append(b.changes, op) }
