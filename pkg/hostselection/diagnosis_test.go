package hostselection

import (
	"testing"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/beskar7/beskar7/api/v1beta1"
)

func claimed(h *v1beta1.PhysicalHost) { h.Spec.Claim = &v1beta1.Claim{} }

func quarantined(h *v1beta1.PhysicalHost) { h.Spec.Quarantine = &v1beta1.Quarantine{} }

// many returns n hosts that are alike.
func many(n int, name string, edits ...func(*v1beta1.PhysicalHost)) []*v1beta1.PhysicalHost {
	hosts := make([]*v1beta1.PhysicalHost, n)
	for i := range hosts {
		hosts[i] = free(name+string(rune('a'+i)), edits...)
	}
	return hosts
}

func together(groups ...[]*v1beta1.PhysicalHost) []*v1beta1.PhysicalHost {
	var all []*v1beta1.PhysicalHost
	for _, group := range groups {
		all = append(all, group...)
	}
	return all
}

func TestMessages(t *testing.T) {
	master := plain(func(r *Request) { r.Selector = labels.SelectorFromSet(labels.Set{"role": "master"}) })
	small := func(h *v1beta1.PhysicalHost) { h.Status.Hardware.Memory = resource.MustParse("32Gi") }
	cases := []struct {
		req   Request
		hosts []*v1beta1.PhysicalHost
		want  string
	}{
		{plain(), nil, "no PhysicalHost is registered in namespace ns"},
		{plain(), many(1, "x", func(h *v1beta1.PhysicalHost) { h.Namespace = "x" }), "no PhysicalHost is registered in namespace ns"},
		{plain(), many(1, "a"), "1/1 hosts available"},
		{needing(func(r *v1beta1.HardwareRequirements) { r.MinMemory = resource.MustParse("64Gi") }),
			together(many(8, "c", claimed), many(3, "s", small), many(1, "q", quarantined)),
			"0/12 hosts available: 8 claimed, 3 with too little memory (need 64 GiB), 1 quarantined"},
		{master, together(many(4, "c", claimed), many(2, "f")), "0/6 hosts available: 4 claimed, 2 do not match the selector"},
		{master, together(many(1, "c", claimed), many(1, "f")), "0/2 hosts available: 1 claimed, 1 does not match the selector"},
		{needing(func(r *v1beta1.HardwareRequirements) { r.MinMemory = resource.MustParse("128Gi") }),
			together(many(2, "f"), many(1, "i", unavailable(v1beta1.ReasonInspecting)), many(1, "r", unavailable(v1beta1.ReasonReleasing))),
			"0/4 hosts available: 2 not ready, 2 with too little memory (need 128 GiB)"},
		{plain(func(r *Request) { r.FailureDomain = "rack-2" }), many(3, "f"), `0/3 hosts available: 3 not in failure domain "rack-2"`},
	}
	for _, c := range cases {
		for range 20 { // map order must not show
			if got := Rank(Deterministic, c.req, c.hosts).Diagnosis.Message(); got != c.want {
				t.Fatalf("message %q, want %q", got, c.want)
			}
		}
	}
}

// What is said anew is what changed for a person, not for a BMC.
func TestSame(t *testing.T) {
	of := func(available int, reasons ...Reason) Diagnosis {
		d := Diagnosis{Namespace: "ns", Total: 12, Available: available, Refusals: map[Reason]int{}}
		for i, r := range reasons {
			d.Refusals[r] = i + 1
		}
		return d
	}
	for _, c := range []struct {
		name string
		a, b Diagnosis
		want bool
	}{
		{"other numbers", of(0, Claimed, Quarantined), of(0, Quarantined, Claimed), true},
		{"one more reason", of(0, Claimed), of(0, Claimed, Quarantined), false},
		{"a BMC that comes and goes", of(0, Claimed), of(0, Claimed, NotReady), true},
		{"a host that cools off", of(0, Claimed, Cooling), of(0, Claimed, NotReady), true},
		{"only passing reasons", of(0, NotReady), of(0, Cooling), false},
		{"nothing but not ready any more", of(0, Claimed), of(0, NotReady), false},
		{"some fit", of(1, Claimed), of(0, Claimed), false},
		{"more fit", of(1, Claimed), of(2, Claimed), true},
		{"another pool", Diagnosis{Total: 1}, Diagnosis{Total: 2}, false},
	} {
		if got := c.a.Same(c.b); got != c.want || c.b.Same(c.a) != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
