package controllers

import (
	"fmt"
	"math"
	"testing"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/actuator"
	"github.com/beskar7/beskar7/pkg/redfish"
)

// TestTheInventoryIsReportedWithinBounds: what a BMC says of drives and accelerators is shown, and never more than the API takes.
func TestTheInventoryIsReportedWithinBounds(t *testing.T) {
	hw := &redfish.Hardware{Disks: []redfish.Disk{{Name: "d", Bytes: 1 << 40, WWN: "eui.0025389a210108da", BlockBytes: 4096, Protocol: "NVMe", Location: "Box 2:Bay 1"}}}
	for i := range 2000 {
		hw.Disks = append(hw.Disks, redfish.Disk{BlockBytes: math.MaxInt, Bytes: -1})
		hw.Accelerators = append(hw.Accelerators, redfish.Accelerator{Kind: "GPU", Vendor: "NVIDIA", Model: fmt.Sprint(i), Count: math.MaxInt})
	}
	h := &v1beta1.PhysicalHost{}
	reportInventory(h, actuator.Observation{Identity: &redfish.Identity{SystemUUID: "8d6f8fca-4a3c-4f1e-9a6a-5ef1b9f0a001"}, Hardware: hw})
	got := h.Status.Hardware
	if got == nil || len(got.Disks) != 1024 || len(got.Accelerators) != 64 {
		t.Fatalf("%+v", got)
	}
	d := got.Disks[0]
	if d.WWN != "eui.0025389a210108da" || d.BlockSize != 4096 || d.Protocol != "NVMe" || d.Location != "Box 2:Bay 1" {
		t.Errorf("disk %+v", d)
	}
	if got.Disks[1].BlockSize != math.MaxInt32 {
		t.Errorf("block size %d", got.Disks[1].BlockSize)
	}
	if a := got.Accelerators[0]; a != (v1beta1.Accelerator{Kind: "GPU", Vendor: "NVIDIA", Model: "0", Count: math.MaxInt32}) {
		t.Errorf("accelerator %+v", a)
	}
}
