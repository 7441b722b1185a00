package hostselection

import (
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/beskar7/beskar7/api/v1beta1"
)

func sized(cores int32, memory, disk string) func(*v1beta1.PhysicalHost) {
	return func(h *v1beta1.PhysicalHost) {
		h.Status.Hardware.CPU.Cores, h.Status.Hardware.Memory = cores, resource.MustParse(memory)
		h.Status.Hardware.Disks = []v1beta1.Disk{{Size: resource.MustParse("1Gi")}, {Size: resource.MustParse(disk)}}
	}
}

func scored(score int32) func(*v1beta1.PhysicalHost) {
	return func(h *v1beta1.PhysicalHost) { h.Status.HealthScore = &score }
}

func ranked(priority int32) func(*v1beta1.PhysicalHost) {
	return func(h *v1beta1.PhysicalHost) { h.Spec.Priority = priority }
}

// Each factor decides between two hosts that differ in nothing else, whatever their hashes say.
func TestEachFactorDecides(t *testing.T) {
	exact := sized(8, "32Gi", "1Ti")
	cases := map[string]struct{ better, worse func(*v1beta1.PhysicalHost) }{
		"host priority":               {ranked(1), ranked(0)},
		"health":                      {scored(100), scored(90)},
		"fit of cores":                {exact, sized(12, "32Gi", "1Ti")},
		"fit of memory":               {exact, sized(8, "48Gi", "1Ti")},
		"fit of disk":                 {exact, sized(8, "32Gi", "2Ti")},
		"spread over failure domains": {in("rack-2"), in("rack-1")},
	}
	for _, f := range factors {
		c, found := cases[f.name]
		if !found {
			t.Errorf("no case for %q", f.name)
			continue
		}
		for _, machine := range []string{"m-0", "m-1", "m-2", "m-3", "m-4", "m-5"} {
			req := plain(func(r *Request) {
				r.Machine, r.Cluster, r.Owner = machine, "c", workers
				r.Requirements.MinCores, r.Requirements.MinMemory, r.Requirements.MinDisk = 8, resource.MustParse("32Gi"), resource.MustParse("1Ti")
			})
			pool := NewPool("ns", free("a", exact, c.worse), free("b", exact, c.better), free("held", in("rack-1"), heldBy(workers)))
			if got := names(pool.Rank(Priority, req).Candidates); !slices.Equal(got, []string{"b", "a"}) {
				t.Errorf("%s: %s takes %v", f.name, machine, got)
			}
			explained := pool.Explain(Priority, req)
			for i, share := range explained[0].Shares[:len(factors)] {
				differs := share.Points != explained[1].Shares[i].Points
				if differs != (share.Factor == f.name) || differs && share.Points < explained[1].Shares[i].Points {
					t.Errorf("%s: explained as %+v against %+v", f.name, share, explained[1].Shares[i])
				}
			}
		}
	}
}

// One step of the owner's priority outweighs everything else, and points stay within what the weights were made for.
func TestOneStepOfHostPriorityOutweighsTheRest(t *testing.T) {
	if factors[0].name != "host priority" || factors[0].weight <= restAtMost {
		t.Fatalf("%+v does not outweigh %d", factors[0], restAtMost)
	}
	poor := free("poor", ranked(1), scored(50), sized(512, "8Ti", "100Ti"), in(""))
	good := free("good", sized(8, "32Gi", "1Ti"), in("rack-2"))
	req := plain(func(r *Request) { r.Cluster, r.Owner, r.Requirements.MinCores = "c", workers, 8 })
	if got := names(Rank(Priority, req, []*v1beta1.PhysicalHost{good, poor}).Candidates); got[0] != "poor" {
		t.Fatalf("%v", got)
	}
	pool := NewPool("ns", poor, good, free("bare", func(h *v1beta1.PhysicalHost) { h.Status.Hardware = nil }))
	for _, e := range pool.Explain(Priority, plain(func(r *Request) { r.Cluster, r.Owner = "c", workers })) {
		for _, share := range e.Shares[1:len(factors)] {
			if share.Points < 0 || share.Points > 1000 {
				t.Errorf("%s: %+v", e.Host, share)
			}
		}
	}
}
