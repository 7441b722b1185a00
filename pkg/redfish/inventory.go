package redfish

import (
	"context"
	"encoding/hex"
	"regexp"
	"strings"

	"github.com/stmcginnis/gofish/schemas"
)

// Hardware reads system, processors, drives and network interfaces. A part that
// is missing or unreadable is left out; a BMC that cannot be reached or is busy
// ends the whole reading, and the next call goes on where it ended.
func (c *client) Hardware(ctx context.Context) (Hardware, error) {
	const op = "read inventory"
	system, err := c.readSystem(ctx, op)
	if err != nil {
		return Hardware{}, err
	}
	hw := Hardware{MemoryBytes: int64(float64(system.MemorySummary.v.TotalSystemMemoryGiB) * (1 << 30))}
	for _, read := range []func(context.Context, string, *systemDoc, *Hardware) error{
		c.readProcessors, c.readMemory, c.readDisks, c.readNICs,
	} {
		if err := read(ctx, op, system, &hw); err != nil && !leftOut(err) {
			return Hardware{}, err
		}
	}
	c.endReading()
	return hw, nil
}

// readProcessors reads the processors even where the summary says all of them: it counts
// sockets that are empty (dmtf-rackmount1), and knows no accelerators (dell-idrac9-7).
func (c *client) readProcessors(ctx context.Context, op string, system *systemDoc, hw *Hardware) error {
	processors, err := parts(ctx, c, op, system.Processors, typed[schemas.Processor](processorShape))
	for _, p := range processors {
		switch {
		case absent(p.Status):
		case p.ProcessorType != "" && p.ProcessorType != schemas.CPUProcessorType:
			hw.addAccelerator(p)
		default:
			hw.CPU.add(p)
		}
	}
	sum := system.ProcessorSummary.v
	hw.CPU.Sockets = orElse(hw.CPU.Sockets, sum.Count.count())
	hw.CPU.Cores = max(hw.CPU.Cores, sum.CoreCount.count()) // a processor may have been unreadable
	hw.CPU.Threads = max(hw.CPU.Threads, sum.LogicalProcessorCount.count(), hw.CPU.Cores)
	hw.CPU.Model = orText(hw.CPU.Model, string(sum.Model))
	hw.CPU.Architecture = orText(hw.CPU.Architecture, architectureOfModel(hw.CPU.Model))
	return err
}

func (c *CPU) add(p *schemas.Processor) {
	c.Sockets++
	c.Cores += size(p.TotalCores)
	c.Threads += size(p.TotalThreads)
	c.Model = orText(c.Model, p.Model)
	c.Architecture = orText(c.Architecture, orText(architecture(p.InstructionSet, p.ProcessorArchitecture), architectureOfModel(p.Model)))
}

// addAccelerator counts what computes and is no CPU. Other kinds, such as cores and
// threads that some BMCs list beside their processor, are parts of one.
func (hw *Hardware) addAccelerator(p *schemas.Processor) {
	switch p.ProcessorType {
	case schemas.GPUProcessorType, schemas.FPGAProcessorType, schemas.AcceleratorProcessorType, schemas.DSPProcessorType:
	default:
		return
	}
	one := Accelerator{Kind: string(p.ProcessorType), Vendor: p.Manufacturer, Model: p.Model}
	for i, have := range hw.Accelerators {
		one.Count = have.Count
		if have == one {
			hw.Accelerators[i].Count++
			return
		}
	}
	one.Count = 1
	hw.Accelerators = append(hw.Accelerators, one)
}

// readMemory adds up the modules where the system gives no sum, or one that no modules
// have: some count in units of ten (PowerEdge: 59.6 for 64 GiB), some round
// down (gigabyte-h262: 244 for 250000 MiB).
func (c *client) readMemory(ctx context.Context, op string, system *systemDoc, hw *Hardware) error {
	if hw.MemoryBytes > 0 && hw.MemoryBytes%moduleUnit == 0 {
		return nil
	}
	hw.MemoryBytes = max(hw.MemoryBytes, 0)
	modules, err := parts(ctx, c, op, system.Memory, typed[schemas.Memory](memoryShape))
	var sum int64
	for _, m := range modules {
		if !absent(m.Status) {
			sum += int64(size(m.CapacityMiB)) << 20
		}
	}
	hw.MemoryBytes = max(hw.MemoryBytes, sum)
	return err
}

// moduleUnit: servers have modules of 8 GiB and more.
const moduleUnit = 8 << 30

// readDisks reads the drives of every storage controller, and the devices of
// SimpleStorage where Storage is missing or says nothing (nvidia-dgx-h100; HPE servers
// that are off).
func (c *client) readDisks(ctx context.Context, op string, system *systemDoc, hw *Hardware) error {
	if system.Storage != "" {
		if err := c.readDrives(ctx, op, system, hw); err != nil && !leftOut(err) {
			return err
		}
	}
	if len(hw.Disks) > 0 {
		return nil
	}
	return c.readSimpleDisks(ctx, op, system, hw)
}

func (c *client) readDrives(ctx context.Context, op string, system *systemDoc, hw *Hardware) error {
	controllers, err := c.listed(ctx, op, string(system.Storage))
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, path := range controllers {
		drives, err := remembered(c, path, func() (list[link], error) {
			var controller struct{ Drives list[link] }
			_, err := c.conn.get(ctx, op, path, &controller)
			return controller.Drives, err
		})
		if err != nil {
			if leftOut(err) {
				continue
			}
			return err
		}
		for _, drive := range drives {
			if drive == "" || seen[string(drive)] || len(seen) >= maxMembers {
				continue
			}
			seen[string(drive)] = true
			d, err := part(ctx, c, op, string(drive), typed[schemas.Drive](driveShape))
			if err != nil {
				if leftOut(err) {
					continue
				}
				return err
			}
			if !deadBay(d) {
				hw.Disks = append(hw.Disks, disk(string(drive), d))
			}
		}
	}
	return nil
}

func disk(path string, d *schemas.Drive) Disk {
	return Disk{
		Name: orText(d.Name, d.ID), Model: strings.TrimSpace(d.Model), Serial: strings.TrimSpace(d.SerialNumber),
		Type: diskType(path, d), Bytes: int64(size(d.CapacityBytes)),
		WWN: wwn(d.Identifiers), BlockBytes: size(d.BlockSizeBytes), Protocol: string(d.Protocol), Location: d.PhysicalLocation.PartLocation.ServiceLabel,
	}
}

// diskType: BMCs call NVMe by its bus (dell-idrac9-7: PCIe), by the name of the bay
// (supermicro-x13), or not at all.
func diskType(path string, d *schemas.Drive) string {
	switch {
	case d.Protocol == schemas.NVMeProtocol, d.Protocol == schemas.PCIeProtocol,
		strings.Contains(strings.ToLower(d.Model+d.Name+path), "nvme"):
		return "NVMe"
	}
	return string(d.MediaType)
}

// deadBay: a slot without a drive that is listed all the same.
func deadBay(d *schemas.Drive) bool {
	return absent(d.Status) || size(d.CapacityBytes) == 0 && d.Model == "" && d.SerialNumber == "" && d.MediaType == ""
}

func (c *client) readSimpleDisks(ctx context.Context, op string, system *systemDoc, hw *Hardware) error {
	if system.SimpleStorage == "" {
		return nil
	}
	paths, err := c.listed(ctx, op, string(system.SimpleStorage))
	if err != nil {
		return err
	}
	for _, path := range paths {
		var doc struct {
			Devices list[simpleDevice]
		}
		if _, err := c.conn.get(ctx, op, path, &doc); err != nil && !leftOut(err) {
			return err
		}
		for _, d := range doc.Devices {
			if d.isDisk() {
				hw.Disks = append(hw.Disks, d.disk(path))
			}
		}
	}
	return nil
}

// simpleDevice is a device of a SimpleStorage.
type simpleDevice struct {
	Name, Model, Manufacturer text
	CapacityBytes             number
	Status                    object[struct{ State text }]
}

// leastDisk: no server has a drive below it. What is listed with less is a medium
// (sushy-tools-libvirt: the image in a slot; nvidia-dgx-h100: the BMC's virtual CDs).
const leastDisk = 1 << 30

// isDisk: a bay without a drive, the BMC's own virtual devices (nvidia-dgx-h100: "Virtual
// HDisk Device" of a bit more than 1 GiB) and media are none.
func (d *simpleDevice) isDisk() bool {
	virtual := virtualDevice.MatchString(string(d.Model)) || virtualDevice.MatchString(string(d.Name))
	return !virtual && d.Status.v.State != text(schemas.AbsentState) && d.CapacityBytes >= leastDisk
}

var virtualDevice = regexp.MustCompile(`(?i)^virtual[ _-]?(cd|hd|hdisk|floppy|disk|media|dvd|usb)`)

func (d *simpleDevice) disk(path string) Disk {
	bare := schemas.Drive{Model: string(d.Model)}
	bare.Name = string(d.Name)
	return Disk{Name: string(d.Name), Model: string(d.Model), Bytes: int64(d.CapacityBytes), Type: diskType(path, &bare)}
}

// wwn is the first durable name that is one, as Linux writes it.
func wwn(identifiers []schemas.Identifier) string {
	for _, i := range identifiers {
		name := strings.ToLower(strings.NewReplacer(":", "", "-", "", " ", "").Replace(i.DurableName))
		name = strings.TrimPrefix(strings.TrimPrefix(strings.TrimPrefix(name, "0x"), "naa."), "eui.")
		if _, err := hex.DecodeString(name); err != nil || len(name) < 16 || strings.Trim(name, "0") == "" {
			continue
		}
		if i.DurableNameFormat == schemas.NAADurableNameFormat {
			return "0x" + name
		}
		if i.DurableNameFormat == schemas.EUIDurableNameFormat || i.DurableNameFormat == schemas.NGUIDDurableNameFormat {
			return "eui." + name
		}
	}
	return ""
}

func absent(s schemas.Status) bool { return s.State == schemas.AbsentState }

func size[N int | uint](n *N) int {
	if n == nil {
		return 0
	}
	return int(*n)
}

func orElse(a, b int) int {
	if a > 0 {
		return a
	}
	return b
}

func orText(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// architecture is Go's word for the instruction set.
func architecture(set schemas.InstructionSet, family schemas.ProcessorArchitecture) string {
	switch {
	case set == schemas.X8664InstructionSet:
		return "amd64"
	case set == schemas.ARMA64InstructionSet:
		return "arm64"
	case set == "" && family == schemas.X86ProcessorArchitecture, set == schemas.X86InstructionSet:
		return "amd64" // BMCs write x86 for every server made this century
	case set == "" && family == schemas.ARMProcessorArchitecture:
		return "arm64"
	}
	return ""
}

// architectureOfModel reads it from a processor's name.
func architectureOfModel(model string) string {
	model = strings.ToLower(model)
	for word, arch := range map[string]string{
		"intel": "amd64", "xeon": "amd64", "amd": "amd64", "epyc": "amd64",
		"ampere": "arm64", "altra": "arm64", "neoverse": "arm64", "grace": "arm64", "kunpeng": "arm64",
		"armv8": "arm64", "armv9": "arm64", "aarch64": "arm64", // nvidia-gb200 says ARMv9
	} {
		if strings.Contains(model, word) {
			return arch
		}
	}
	return ""
}
