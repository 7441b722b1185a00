package main

import (
	"os"
	"strings"
	"testing"

	"github.com/beskar7/beskar7/pkg/redfish"
	"github.com/beskar7/beskar7/test/emulator"
)

// TestThePageKnowsAllNames fails when docs/hardware.md was not written anew after a row, a persona or a fault came or went.
func TestThePageKnowsAllNames(t *testing.T) {
	page, err := os.ReadFile("../../docs/hardware.md")
	if err != nil {
		t.Fatal(err)
	}
	names := emulator.Personas()
	for _, r := range redfish.Vendors() {
		names = append(names, r.Name)
	}
	for _, f := range emulator.Faults() {
		names = append(names, f.Name)
	}
	for _, name := range names {
		if !strings.Contains(string(page), "| `"+name+"` |") {
			t.Errorf("docs/hardware.md does not know %s: make conformance", name)
		}
	}
	if strings.Contains(string(page), "**failed**") {
		t.Error("docs/hardware.md shows cells that failed")
	}
}

// TestThePageSaysWhatIsKnown fails when the page does not say any more what the tables do.
func TestThePageSaysWhatIsKnown(t *testing.T) {
	page, err := os.ReadFile("../../docs/hardware.md")
	if err != nil {
		t.Fatal(err)
	}
	have, _, _ := strings.Cut(string(page), "\n"+measured)
	if have != facts() {
		t.Error("docs/hardware.md says otherwise: go run ./conformance -facts")
	}
}

// TestAHarnessStands: a persona answers the driver through what the runner builds.
func TestAHarnessStands(t *testing.T) {
	s, err := newSite()
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	h, closed, err := s.harness("one", "dell-idrac9", trial{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := closed(); err != nil {
			t.Error(err)
		}
	}()
	if slots, err := h.BMC.Slots(t.Context()); err != nil || len(slots) == 0 {
		t.Errorf("%d slots, %v", len(slots), err)
	}
}
