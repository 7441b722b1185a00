package replay

import (
	"context"
	"fmt"
	"strings"

	"github.com/beskar7/beskar7/pkg/redfish"
)

// Medium is the URL that is asked to be inserted.
const Medium = "https://media.example/m/boot.iso"

const unknown = "unknown"

// Target leads to a served capture.
func (s *Server) Target(system string) redfish.Target {
	return redfish.Target{
		Address: s.URL, Username: "replay", Password: "replay", InsecureSkipVerify: true, SystemID: system,
		Timeouts: redfish.Timeouts{MaxRetries: -1},
	}
}

// Observe is what the driver makes of a served capture, in the words of an Expectation. The problem that nothing can be
// told from a capture of, reset types that are listed in a document that was not captured, is left out.
func Observe(ctx context.Context, b redfish.BMC, s *Server) (Expectation, error) {
	id, err := b.Identify(ctx)
	if err != nil {
		return Expectation{}, err
	}
	hw, err := b.Hardware(ctx)
	if err != nil {
		return Expectation{}, err
	}
	state, err := b.State(ctx)
	if err != nil {
		return Expectation{}, err
	}
	slots, err := b.Slots(ctx)
	if err != nil {
		return Expectation{}, err
	}
	out := Expectation{
		Server: or(strings.TrimSpace(id.Manufacturer+" "+id.Model), unknown), Row: id.Vendor, BMC: id.FirmwareVersion,
		Power: string(state.Power), CPU: cpu(hw.CPU), MemoryMiB: hw.MemoryBytes >> 20, Disks: disks(hw.Disks), Ports: ports(hw.NICs),
		Accelerators: accelerators(hw.Accelerators), Targets: id.BootTargets, Problems: id.Problems,
		Override: strings.Join([]string{string(state.Boot.Enabled), or(state.Boot.Target, "-"), or(state.Boot.Mode, "-")}, " "),
	}
	s.Sent()
	_ = b.SetBootOnce(ctx, redfish.BootCD) // a capture refuses it: what was sent is what counts
	out.Boot = first(s.Sent())
	for _, slot := range slots {
		way := "takes none"
		if slot.CanInsert {
			_ = b.Insert(ctx, slot.ID, Medium) // as above
			sent := first(s.Sent())
			way = wayOf(sent)
			if out.Insert == "" && slot.Bootable() {
				out.Insert = sent
			}
		}
		in := "empty"
		if !slot.Empty() {
			in = or(slot.Image, slot.ImageName)
		}
		out.Slots = append(out.Slots, fmt.Sprintf("%s: %s, %s, %s", slot.ID, or(strings.Join(slot.Types, " "), unknown), in, way))
	}
	return out, nil
}

// wayOf puts the request into a word.
func wayOf(sent string) string {
	switch {
	case strings.Contains(sent, ".InsertMedia "):
		return "InsertMedia"
	case strings.Contains(sent, ".EnableRMedia "):
		return "appears once remote media are switched on"
	}
	word, _, _ := strings.Cut(sent, " ")
	return word
}

func cpu(c redfish.CPU) string {
	if c.Cores == 0 && c.Sockets == 0 && c.Model == "" {
		return unknown
	}
	return fmt.Sprintf("%d sockets, %d cores, %d threads, %s, %s", c.Sockets, c.Cores, c.Threads, or(c.Architecture, unknown), or(c.Model, unknown))
}

func disks(in []redfish.Disk) []string {
	var out []string
	for _, d := range in {
		out = append(out, fmt.Sprintf("%s %d %s", or(d.Type, unknown), d.Bytes, d.Model))
	}
	return together(out)
}

func accelerators(in []redfish.Accelerator) []string {
	var out []string
	for _, a := range in {
		for range a.Count {
			out = append(out, strings.TrimSpace(a.Kind+" "+a.Vendor+" "+a.Model))
		}
	}
	return together(out)
}

func ports(in []redfish.NIC) []string {
	var out []string
	for _, n := range in {
		link := unknown
		if n.LinkUp != nil {
			link = map[bool]string{true: "up", false: "down"}[*n.LinkUp]
		}
		out = append(out, n.Name+" "+or(n.MAC, unknown)+" "+link)
	}
	return out
}

// together counts alike ones, in the order of the first of each.
func together(in []string) []string {
	count := map[string]int{}
	var order []string
	for _, s := range in {
		if count[s]++; count[s] == 1 {
			order = append(order, s)
		}
	}
	for i, s := range order {
		order[i] = fmt.Sprintf("%d × %s", count[s], s)
	}
	return order
}

func first(sent []string) string {
	if len(sent) == 0 {
		return ""
	}
	return sent[0]
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
