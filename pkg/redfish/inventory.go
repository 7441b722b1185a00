package redfish

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/stmcginnis/gofish/schemas"
)

// Hardware reads system, processors, drives and network interfaces. A part that
// is missing or unreadable is left out; a BMC that cannot be reached or is busy
// ends the whole reading.
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
	return hw, nil
}

func (c *client) readProcessors(ctx context.Context, op string, system *systemDoc, hw *Hardware) error {
	processors, err := parts[schemas.Processor](ctx, c, op, system.Processors, processorShape)
	for _, p := range processors {
		if absent(p.Status) || p.ProcessorType != "" && p.ProcessorType != schemas.CPUProcessorType {
			continue
		}
		hw.CPU.Sockets++
		hw.CPU.Cores += size(p.TotalCores)
		hw.CPU.Threads += size(p.TotalThreads)
		if hw.CPU.Model == "" {
			hw.CPU.Model = p.Model
		}
		if hw.CPU.Architecture == "" {
			hw.CPU.Architecture = architecture(p.InstructionSet, p.ProcessorArchitecture)
		}
	}
	sum := system.ProcessorSummary.v
	hw.CPU.Sockets = orElse(hw.CPU.Sockets, sum.Count.count())
	hw.CPU.Cores = orElse(hw.CPU.Cores, sum.CoreCount.count())
	hw.CPU.Threads = max(orElse(hw.CPU.Threads, sum.LogicalProcessorCount.count()), hw.CPU.Cores)
	if hw.CPU.Model == "" {
		hw.CPU.Model = string(sum.Model)
	}
	if hw.CPU.Architecture == "" {
		hw.CPU.Architecture = architectureOfModel(hw.CPU.Model)
	}
	return err
}

// readMemory adds up the modules where the system gives no sum.
func (c *client) readMemory(ctx context.Context, op string, system *systemDoc, hw *Hardware) error {
	if hw.MemoryBytes > 0 {
		return nil
	}
	hw.MemoryBytes = 0
	modules, err := parts[schemas.Memory](ctx, c, op, system.Memory, memoryShape)
	for _, m := range modules {
		if !absent(m.Status) {
			hw.MemoryBytes += int64(size(m.CapacityMiB)) << 20
		}
	}
	return err
}

// readDisks reads the drives of every storage controller, and the devices of
// SimpleStorage where there is no Storage.
func (c *client) readDisks(ctx context.Context, op string, system *systemDoc, hw *Hardware) error {
	if system.Storage == "" {
		return c.readSimpleDisks(ctx, op, system, hw)
	}
	controllers, _, err := c.members(ctx, op, string(system.Storage))
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, path := range controllers {
		var controller struct{ Drives list[link] }
		if _, err := c.conn.get(ctx, op, path, &controller); err != nil {
			if leftOut(err) {
				continue
			}
			return err
		}
		for _, drive := range controller.Drives {
			if drive == "" || seen[string(drive)] || len(seen) >= maxMembers {
				continue
			}
			seen[string(drive)] = true
			d, err := part[schemas.Drive](ctx, c, op, string(drive), driveShape)
			if err != nil {
				if leftOut(err) {
					continue
				}
				return err
			}
			if !absent(d.Status) {
				hw.Disks = append(hw.Disks, disk(d))
			}
		}
	}
	return nil
}

func disk(d *schemas.Drive) Disk {
	kind := string(d.MediaType)
	if d.Protocol == schemas.NVMeProtocol {
		kind = "NVMe"
	}
	return Disk{
		Name: orText(d.Name, d.ID), Model: strings.TrimSpace(d.Model), Serial: strings.TrimSpace(d.SerialNumber),
		Type: kind, Bytes: int64(size(d.CapacityBytes)),
	}
}

func (c *client) readSimpleDisks(ctx context.Context, op string, system *systemDoc, hw *Hardware) error {
	if system.SimpleStorage == "" {
		return nil
	}
	paths, _, err := c.members(ctx, op, string(system.SimpleStorage))
	if err != nil {
		return err
	}
	for _, path := range paths {
		var doc struct {
			Devices list[struct {
				Name, Model   text
				CapacityBytes number
				Status        object[struct{ State text }]
			}]
		}
		if _, err := c.conn.get(ctx, op, path, &doc); err != nil && !leftOut(err) {
			return err
		}
		for _, d := range doc.Devices {
			if d.Status.v.State != text(schemas.AbsentState) && d.CapacityBytes > 0 {
				hw.Disks = append(hw.Disks, Disk{Name: string(d.Name), Model: string(d.Model), Bytes: int64(d.CapacityBytes)})
			}
		}
	}
	return nil
}

func (c *client) readNICs(ctx context.Context, op string, system *systemDoc, hw *Hardware) error {
	ports, err := parts[schemas.EthernetInterface](ctx, c, op, system.EthernetInterfaces, nicShape)
	for _, p := range ports {
		mac, macErr := net.ParseMAC(orText(p.PermanentMACAddress, p.MACAddress))
		if macErr != nil || absent(p.Status) {
			continue // VLANs and disabled ports carry no address
		}
		nic := NIC{Name: orText(p.ID, p.Name), MAC: mac.String(), SpeedMbps: size(p.SpeedMbps)}
		if p.LinkStatus != "" {
			up := p.LinkStatus == schemas.LinkUpLinkStatus
			nic.LinkUp = &up
		}
		hw.NICs = append(hw.NICs, nic)
	}
	return err
}

// shape names the properties of a resource that are read, by the type the
// schema gives them.
type shape struct{ texts, numbers, objects []string }

var (
	processorShape = shape{
		texts:   []string{"Id", "Name", "Model", "InstructionSet", "ProcessorArchitecture", "ProcessorType"},
		numbers: []string{"TotalCores", "TotalThreads"}, objects: []string{"Status"},
	}
	memoryShape = shape{texts: []string{"Id"}, numbers: []string{"CapacityMiB"}, objects: []string{"Status"}}
	driveShape  = shape{
		texts:   []string{"Id", "Name", "Model", "SerialNumber", "MediaType", "Protocol"},
		numbers: []string{"CapacityBytes"}, objects: []string{"Status"},
	}
	nicShape = shape{
		texts:   []string{"Id", "Name", "MACAddress", "PermanentMACAddress", "LinkStatus"},
		numbers: []string{"SpeedMbps"}, objects: []string{"Status"},
	}
)

// repair keeps the properties of the shape and brings them to their type, so
// that one wrongly typed field does not spoil gofish's typed decoding.
func (s shape) repair(body []byte) ([]byte, error) {
	var raw map[string]json.RawMessage
	if err := decode(body, &raw); err != nil {
		return nil, err
	}
	clean := map[string]any{}
	for _, name := range s.texts {
		if v := raw[name]; len(v) > 0 {
			var t text
			_ = t.UnmarshalJSON(v) // never fails
			clean[name] = string(t)
		}
	}
	for _, name := range s.numbers {
		if v := raw[name]; len(v) > 0 {
			var n number
			_ = n.UnmarshalJSON(v) // never fails
			if n > 0 && n < 1<<53 {
				clean[name] = int64(n)
			}
		}
	}
	for _, name := range s.objects {
		var o object[map[string]json.RawMessage]
		if v := raw[name]; len(v) > 0 && o.UnmarshalJSON(v) == nil {
			var state text
			if inner := o.v["State"]; len(inner) > 0 {
				_ = state.UnmarshalJSON(inner) // never fails
			}
			clean[name] = map[string]any{"State": string(state)}
		}
	}
	return json.Marshal(clean)
}

// decodePart is gofish's typed decoding of a repaired body.
func decodePart[T any, P schemas.GenericSchemaObjectPointer[T]](body []byte, s shape) (*T, error) {
	clean, err := s.repair(body)
	if err != nil {
		return nil, err
	}
	v, err := schemas.DecodeGenericEntity[T, P](nil, &http.Response{Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(clean))})
	if err != nil {
		return nil, errors.New("the part cannot be decoded")
	}
	return v, nil
}

// part reads one resource.
func part[T any, P schemas.GenericSchemaObjectPointer[T]](ctx context.Context, c *client, op, path string, s shape) (*T, error) {
	resp, err := c.conn.do(ctx, request{op: op, method: http.MethodGet, link: path})
	if err != nil {
		return nil, err
	}
	v, err := decodePart[T, P](resp.body, s)
	if err != nil {
		return nil, c.conn.fail(op, &Error{Kind: KindProtocol, Message: err.Error()})
	}
	return v, nil
}

// parts reads every member of a collection; unreadable ones are left out.
func parts[T any, P schemas.GenericSchemaObjectPointer[T]](ctx context.Context, c *client, op string, collection link, s shape) ([]*T, error) {
	if collection == "" {
		return nil, nil
	}
	paths, _, err := c.members(ctx, op, string(collection))
	if err != nil {
		return nil, err
	}
	var out []*T
	for _, path := range paths {
		v, err := part[T, P](ctx, c, op, path, s)
		if err != nil {
			if leftOut(err) {
				continue
			}
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
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
	} {
		if strings.Contains(model, word) {
			return arch
		}
	}
	return ""
}
