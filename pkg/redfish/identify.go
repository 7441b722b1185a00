package redfish

import (
	"context"
	"slices"
	"strings"
)

// Identify is the pre-flight report: who the BMC is, what it can do, and what
// is missing for Beskar7 in words.
func (c *client) Identify(ctx context.Context) (Identity, error) {
	const op = "identify"
	system, err := c.readSystem(ctx, op)
	if err != nil {
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
	slots, refs, err := c.readSlots(ctx, op)
	if err != nil {
		return Identity{}, err
	}
	root, rootErr := c.conn.serviceRoot(ctx)
	if rootErr != nil {
		return Identity{}, c.conn.fail(op, rootErr)
	}
	id := Identity{
		Vendor: facts.row.name, Product: string(root.Product), RedfishVersion: string(root.RedfishVersion),
		Manufacturer: string(system.Manufacturer), Model: string(system.Model),
		SerialNumber: string(system.SerialNumber), SystemUUID: string(system.UUID), SystemID: lastSegment(path),
		ResetTypes: resetTypes, BootTargets: facts.bootTargets, MediaSlots: slots,
	}
	manager, err := c.readManager(ctx, op)
	switch {
	case err == nil:
		id.ManagerID, id.FirmwareVersion = string(manager.ID), string(manager.FirmwareVersion)
		id.Product = orText(id.Product, string(manager.Model))
	case !leftOut(err):
		return Identity{}, err
	}
	id.Capabilities = c.capabilities(facts, resetTypes, slots, refs)
	id.Problems = c.problems(&id)
	return id, nil
}

func (c *client) capabilities(facts *systemFacts, resetTypes []string, slots []Slot, refs []slotRef) []string {
	have := map[string]bool{CapabilityBasicAuth: !c.conn.inSession(), CapabilitySessions: c.conn.inSession()}
	_, have[CapabilityBootOnceCD] = pick(facts.row.cdTargets, facts.bootTargets)
	_, have[CapabilityGracefulShutdown] = pick(resetWords[ResetGracefulShutdown], resetTypes)
	usable := 0
	for i, slot := range slots {
		if slot.CanInsert {
			usable++
		}
		have[CapabilityInsertMediaAction] = have[CapabilityInsertMediaAction] || refs[i].insert != ""
		have[CapabilityInsertMediaPatch] = have[CapabilityInsertMediaPatch] || refs[i].patch
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
		out = append(out, "vendor "+named([]string{c.vendorName})+" is not known: the generic behaviour is used; correct or remove it")
	}
	switch {
	case len(id.MediaSlots) == 0:
		out = append(out, "no virtual media: many BMCs want a licence or a setting for it; enable remote media on the BMC")
	case !slices.ContainsFunc(id.MediaSlots, Slot.Bootable):
		out = append(out, "no virtual CD or DVD among the media slots: the server cannot be booted from an ISO")
	case !slices.ContainsFunc(id.MediaSlots, func(s Slot) bool { return s.Bootable() && s.CanInsert }):
		out = append(out, "the virtual CD takes no image over Redfish: update the BMC's firmware or install its licence")
	}
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
	if strings.HasPrefix(c.Endpoint(), "http://") {
		out = append(out, "plain http: user name and password travel unencrypted; use https if the BMC can")
	}
	return out
}

// inSession tells whether requests carry a session token.
func (c *conn) inSession() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.auth.token != ""
}
