package redfish

import (
	"context"
	"slices"
	"strings"

	"github.com/stmcginnis/gofish/schemas"

	"github.com/beskar7/beskar7/pkg/endpoint"
)

// Identify is the pre-flight report: who the BMC is, what it can do, and what
// is missing for Beskar7 in words.
func (c *client) Identify(ctx context.Context) (Identity, error) {
	const op = "identify"
	system, err := c.readSystem(ctx, op)
	if err != nil {
		return Identity{}, err
	}
	manager, err := c.readManager(ctx, op) // first: it settles the row
	if err != nil && !leftOut(err) {
		return Identity{}, err
	}
	slots, refs, err := c.readSlots(ctx, op)
	if err != nil {
		return Identity{}, err
	}
	if _, err := c.bootPlace(ctx, op, c.row()); err != nil { // the targets may be listed there
		return Identity{}, err
	}
	facts, path, err := c.systemFacts(ctx, op)
	if err != nil {
		return Identity{}, err
	}
	resetTypes, err := c.resetTypes(ctx, op, facts)
	if err != nil {
		return Identity{}, err
	}
	root, rootErr := c.conn.serviceRoot(ctx)
	if rootErr != nil {
		return Identity{}, c.conn.fail(op, rootErr)
	}
	id := Identity{
		Vendor: c.row().name, Product: string(root.Product), RedfishVersion: string(root.RedfishVersion),
		Manufacturer: string(system.Manufacturer), Model: string(system.Model),
		SerialNumber: string(system.SerialNumber), SystemUUID: string(system.UUID), SystemID: lastSegment(path),
		ResetTypes: resetTypes, BootTargets: facts.bootTargets, MediaSlots: slots,
	}
	if manager != nil {
		id.ManagerID, id.FirmwareVersion = string(manager.ID), string(manager.FirmwareVersion)
		id.Product = orText(id.Product, string(manager.Model))
	}
	id.Capabilities = c.capabilities(facts, resetTypes, slots, refs)
	id.Problems = c.problems(&id)
	if strings.EqualFold(string(system.Boot.v.Mode.text), "Legacy") && c.row().bootMode == modeOmitted {
		id.Problems = append(id.Problems, "the firmware boots in Legacy mode: images that boot by UEFI only will not start; switch the server to UEFI")
	}
	return id, nil
}

func (c *client) capabilities(facts *systemFacts, resetTypes []string, slots []Slot, refs []slotRef) []string {
	row := c.row()
	have := map[string]bool{CapabilityBasicAuth: !c.conn.inSession(), CapabilitySessions: c.conn.inSession(), CapabilityHTTPSMediaOnly: row.httpsOnly}
	have[CapabilityEjectWhileRunning] = row.tuning.EjectWhileRunning
	for _, word := range row.targets() {
		if _, ok := pick([]schemas.BootSource{schemas.BootSource(word)}, facts.bootTargets); ok {
			have[CapabilityBootOnceCD] = true
		}
	}
	_, have[CapabilityGracefulShutdown] = pick(resetWords[ResetGracefulShutdown], resetTypes)
	usable := 0
	for i, slot := range slots {
		if slot.CanInsert {
			usable++
		}
		switch refs[i].form {
		case insertAction, insertHP, insertIsoConfig, insertEnable:
			have[CapabilityInsertMediaAction] = true
		case insertPatch:
			have[CapabilityInsertMediaPatch] = true
		case insertNone:
		}
	}
	have[CapabilitySecondMedium] = usable > 1
	var out []string
	for name, yes := range have {
		if yes {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// problems says what stands in the way, and what to do.
func (c *client) problems(id *Identity) []string {
	var out []string
	if c.vendorName != "" && !knownVendor(c.vendorName) {
		out = append(out, "vendor "+named([]string{c.vendorName})+" is not known: what was detected is used; correct or remove it")
	}
	out = append(out, c.mediaProblems(id)...)
	if !slices.Contains(id.Capabilities, CapabilityBootOnceCD) {
		out = append(out, "no boot override to CD, only "+named(id.BootTargets)+": update the BMC's firmware")
	}
	for _, want := range []ResetType{ResetOn, ResetForceOff} {
		if _, ok := pick(resetWords[want], id.ResetTypes); !ok {
			out = append(out, "reset type "+string(want)+" is not offered, only "+named(id.ResetTypes)+": update the BMC's firmware")
		}
	}
	if id.SystemUUID == "" && id.SerialNumber == "" {
		out = append(out, "neither system UUID nor serial number: duplicates of this server cannot be told")
	}
	if !endpoint.Secure(c.Endpoint()) {
		out = append(out, "plain http: user name and password travel unencrypted; use https if the BMC can")
	}
	return out
}

func (c *client) mediaProblems(id *Identity) []string {
	licence := "its licence"
	if l := c.row().licence; l != "" {
		licence = "its licence (" + l + ")"
	}
	switch {
	case len(id.MediaSlots) == 0:
		return []string{"no virtual media: install " + licence + ", or switch remote media on at the BMC"}
	case !slices.ContainsFunc(id.MediaSlots, Slot.Bootable):
		return []string{"no virtual CD or DVD among the media slots: the server cannot be booted from an ISO"}
	case !slices.ContainsFunc(id.MediaSlots, func(s Slot) bool { return s.Bootable() && s.CanInsert }):
		return []string{"the virtual CD takes no image over Redfish: update the BMC's firmware or install " + licence}
	}
	return nil
}

// inSession tells whether requests carry a session token.
func (c *conn) inSession() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.auth.token != ""
}
