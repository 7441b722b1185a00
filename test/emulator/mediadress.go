package emulator

import "context"

// dress is what a persona makes of the plain document of a slot; shown says that it shows a medium.
func (m *mediaForm) dress(d doc, shown bool) {
	if m.none != "" {
		d["Image"], d["ImageName"] = m.none, m.none
	}
	if m.untyped {
		delete(d, "MediaTypes")
	}
	if actions, ok := d["Actions"].(doc); ok && m.ejectComes {
		delete(actions, map[bool]string{true: "#VirtualMedia.InsertMedia", false: "#VirtualMedia.EjectMedia"}[shown])
	}
}

// reach checks that the BMC gets the image.
func (b *BMC) reach(ctx context.Context, image string) error {
	b.mu.Lock()
	blind := b.faultLocked("fetch-fails") != nil
	b.mu.Unlock()
	if blind {
		return errUnreachable
	}
	if b.kind().media.whole {
		return b.fetchWhole(ctx, image)
	}
	_, _, err := b.stat(ctx, image)
	return err
}
