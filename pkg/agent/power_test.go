package agent_test

import (
	"math"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/beskar7/beskar7/pkg/agent/block"
	"github.com/beskar7/beskar7/pkg/agent/filedisk"
	"github.com/beskar7/beskar7/pkg/agent/gpt"
	"github.com/beskar7/beskar7/pkg/agent/imagetest"
	"github.com/beskar7/beskar7/pkg/agent/protocol"
)

// powered runs a deployment whose power fails after some changes of the disk, and says how many changes there were.
func powered(t *testing.T, changes int64) (g *rig, made int64) {
	t.Helper()
	g = newRig(t)
	g.replace(imagetest.Typical(8*mib, 512).Bytes())
	g.image = imagetest.Typical(8*mib, 512).Bytes()
	g.manager.plan.Erase = &protocol.Erase{Method: protocol.MethodMetadata, RootOnly: true}
	power := &atomic.Int64{}
	power.Store(changes)
	g.server.Model = func(d *filedisk.Disk, _ protocol.Disk) { d.Power = power }
	err := g.run()
	left := power.Load()
	if (err == nil) != (left >= 0) {
		t.Fatalf("after %d changes: %v", changes, err)
	}
	return g, changes - left
}

// Whenever the power fails, the disk does not boot, or has all that it is to have: image, partitions and configuration.
func TestThePowerFails(t *testing.T) {
	_, all := powered(t, math.MaxInt64/2)
	var after []int64
	for n := range int64(5) {
		after = append(after, all*n/5, all-1-n)
	}
	whole := 0
	for _, n := range after {
		g, _ := powered(t, n)
		disk := g.contents("nvme0n1")
		if block.Zeroes(disk[:512]) {
			continue // nothing boots
		}
		table, err := gpt.Read(disk[:mib])
		if err != nil {
			t.Errorf("after %d of %d changes the disk boots with %v", n, all, err)
			continue
		}
		if n < all/4 && len(table.Partitions) == 2 {
			continue // that is still the former system
		}
		whole++
		own := table.Partitions[len(table.Partitions)-1]
		if own.Name != "cidata" || !strings.Contains(string(disk[own.Start:own.Start+own.Size]), "s3cr3t") ||
			string(disk[mib:7*mib]) != string(g.image[mib:7*mib]) {
			t.Errorf("after %d of %d changes the disk boots and is not whole", n, all)
		}
	}
	if whole == 0 || whole > 2 {
		t.Errorf("%d of %d disks boot: the beginning does not come last", whole, len(after))
	}
}
