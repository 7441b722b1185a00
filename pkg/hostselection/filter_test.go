package hostselection

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/beskar7/beskar7/api/v1beta1"
)

var now = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

// free returns a host that fits any modest request, changed by edits.
func free(name string, edits ...func(*v1beta1.PhysicalHost)) *v1beta1.PhysicalHost {
	host := &v1beta1.PhysicalHost{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, Labels: map[string]string{"role": "worker"}},
		Spec:       v1beta1.PhysicalHostSpec{FailureDomain: "rack-1"},
		Status: v1beta1.PhysicalHostStatus{
			Hardware: &v1beta1.Hardware{
				Model: "R640", CPU: v1beta1.CPU{Cores: 16, Architecture: "amd64"}, Memory: resource.MustParse("64Gi"),
				Disks: []v1beta1.Disk{{Size: resource.MustParse("100Gi")}, {Size: resource.MustParse("500Gi")}},
				NICs:  []v1beta1.NIC{{Name: "a"}, {Name: "b"}},
			},
			Conditions: []metav1.Condition{{Type: v1beta1.AvailableCondition, Status: metav1.ConditionTrue, Reason: v1beta1.ReasonAvailable}},
		},
	}
	for _, edit := range edits {
		edit(host)
	}
	return host
}

// silent is a host whose BMC was read, and says nothing of what is in the server.
func silent() *v1beta1.PhysicalHost {
	return free("h", func(h *v1beta1.PhysicalHost) { h.Status.Hardware = &v1beta1.Hardware{} })
}

func unavailable(reason string) func(*v1beta1.PhysicalHost) {
	return func(h *v1beta1.PhysicalHost) {
		h.Status.Conditions = []metav1.Condition{{Type: v1beta1.AvailableCondition, Status: metav1.ConditionFalse, Reason: reason}}
	}
}

func failed(score int32, ago time.Duration) func(*v1beta1.PhysicalHost) {
	return func(h *v1beta1.PhysicalHost) {
		h.Status.HealthScore = &score
		h.Status.LastFailure = &metav1.Time{Time: now.Add(-ago)}
	}
}

func plain(edits ...func(*Request)) Request {
	req := Request{Namespace: "ns", Machine: "m", Now: now}
	for _, edit := range edits {
		edit(&req)
	}
	return req
}

func needing(edit func(*v1beta1.HardwareRequirements)) Request {
	return plain(func(r *Request) { edit(&r.Requirements) })
}

func TestEachFilterRefusesAndSaysWhy(t *testing.T) {
	deleted := metav1.NewTime(now)
	cases := []struct {
		filter string
		req    Request
		host   *v1beta1.PhysicalHost
		want   Reason
	}{
		{"deletion", plain(), free("h", func(h *v1beta1.PhysicalHost) { h.DeletionTimestamp = &deleted }), Deleting},
		{"pause", plain(), free("h", func(h *v1beta1.PhysicalHost) { h.Spec.Paused = true }), Paused},
		{"pause", plain(), free("h", func(h *v1beta1.PhysicalHost) {
			h.Status.Conditions = append(h.Status.Conditions, metav1.Condition{Type: v1beta1.PausedCondition, Status: metav1.ConditionTrue})
		}), Paused},
		{"maintenance", plain(), free("h", func(h *v1beta1.PhysicalHost) { h.Spec.Maintenance = true }), Maintenance},
		{"quarantine", plain(), free("h", func(h *v1beta1.PhysicalHost) { h.Spec.Quarantine = &v1beta1.Quarantine{} }), Quarantined},
		{"claim", plain(), free("h", func(h *v1beta1.PhysicalHost) { h.Spec.Claim = &v1beta1.Claim{} }), Claimed},
		{"race", plain(func(r *Request) { r.Avoid = map[string]bool{"h": true} }), free("h"), Claimed},
		{"state", plain(), free("h", func(h *v1beta1.PhysicalHost) { h.Status.Conditions = nil }), NotReady},
		{"state", plain(), free("h", unavailable(v1beta1.ReasonInspecting)), NotReady},
		{"state", plain(), free("h", unavailable(v1beta1.ReasonUnreachable)), NotReady},
		{"state", plain(), free("h", unavailable(v1beta1.ReasonPoweredOn)), PoweredOn},
		{"state", plain(), free("h", unavailable(v1beta1.ReasonForeignMedia)), NotEmpty},
		{"state", plain(), free("h", unavailable(v1beta1.ReasonBootOverrideSet)), NotEmpty},
		{"state", plain(), free("h", unavailable(v1beta1.ReasonDuplicate)), Duplicate},
		{"selector", plain(func(r *Request) { r.Selector = labels.SelectorFromSet(labels.Set{"role": "master"}) }), free("h"), SelectorMismatch},
		{"selector", plain(func(r *Request) { r.Selector = labels.Nothing() }), free("h"), SelectorMismatch},
		{"failure domain", plain(func(r *Request) { r.FailureDomain = "rack-2" }), free("h"), `not in failure domain "rack-2"`},
		{"cores", needing(func(r *v1beta1.HardwareRequirements) { r.MinCores = 17 }), free("h"), "with too few cores (need 17)"},
		{"inventory", needing(func(r *v1beta1.HardwareRequirements) { r.MinCores = 1 }),
			free("h", func(h *v1beta1.PhysicalHost) { h.Status.Hardware = nil }), UnknownHardware},
		{"memory", needing(func(r *v1beta1.HardwareRequirements) { r.MinMemory = resource.MustParse("65Gi") }), free("h"),
			"with too little memory (need 65 GiB)"},
		{"disk", needing(func(r *v1beta1.HardwareRequirements) { r.MinDisk = resource.MustParse("501Gi") }), free("h"),
			"with too small disks (need 501 GiB)"},
		{"NICs", needing(func(r *v1beta1.HardwareRequirements) { r.MinNICs = 3 }), free("h"), "with too few NICs (need 3)"},
		{"model", needing(func(r *v1beta1.HardwareRequirements) { r.Models = []string{"DL360", "X12"} }), free("h"),
			"of another model (need DL360 or X12)"},
		{"architecture", needing(func(r *v1beta1.HardwareRequirements) { r.Architecture = "arm64" }), free("h"),
			"of another architecture (need arm64)"},
		{"cores", needing(func(r *v1beta1.HardwareRequirements) { r.MinCores = 1 }), silent(), UnknownHardware},
		{"memory", needing(func(r *v1beta1.HardwareRequirements) { r.MinMemory = resource.MustParse("1Gi") }), silent(), UnknownHardware},
		{"disk", needing(func(r *v1beta1.HardwareRequirements) { r.MinDisk = resource.MustParse("1Gi") }), silent(), UnknownHardware},
		{"NICs", needing(func(r *v1beta1.HardwareRequirements) { r.MinNICs = 1 }), silent(), UnknownHardware},
		{"model", needing(func(r *v1beta1.HardwareRequirements) { r.Models = []string{"DL360"} }), silent(), UnknownHardware},
		{"architecture", needing(func(r *v1beta1.HardwareRequirements) { r.Architecture = "arm64" }), silent(), UnknownHardware},
		{"cool-off", plain(), free("h", failed(HealthyScore-1, CoolOff-time.Second)), Cooling},
	}
	for _, c := range cases {
		t.Run(c.filter+"/"+string(c.want), func(t *testing.T) {
			if got := Refusal(c.req, c.host); got != c.want {
				t.Fatalf("refusal %q, want %q", got, c.want)
			}
			for _, verdict := range NewPool("ns", c.host).Explain(Deterministic, c.req)[0].Verdicts {
				if (verdict.Reason != "") != (verdict.Filter == c.filter) {
					t.Errorf("filter %s says %q; only %s should refuse", verdict.Filter, verdict.Reason, c.filter)
				}
			}
		})
	}
}

func TestWhatIsExactlyEnoughFits(t *testing.T) {
	exact := v1beta1.HardwareRequirements{
		MinCores: 16, MinMemory: resource.MustParse("64Gi"), MinDisk: resource.MustParse("500Gi"), MinNICs: 2,
		Architecture: "amd64", Models: []string{"R640"},
	}
	req := plain(func(r *Request) {
		r.Requirements, r.FailureDomain = exact, "rack-1"
		r.Selector = labels.SelectorFromSet(labels.Set{"role": "worker"})
	})
	for name, host := range map[string]*v1beta1.PhysicalHost{
		"as it is":        free("h"),
		"cooled off":      free("h", failed(0, CoolOff)),
		"healthy failure": free("h", failed(HealthyScore, time.Second)),
	} {
		if reason := Refusal(req, host); reason != "" {
			t.Errorf("%s: refused as %q", name, reason)
		}
	}
	if Refusal(req, free("h", func(h *v1beta1.PhysicalHost) { h.Namespace = "elsewhere" })) == "" {
		t.Error("a host of another namespace fits")
	}
}

func TestMeets(t *testing.T) {
	bare := free("h", func(h *v1beta1.PhysicalHost) { h.Status.Hardware = nil })
	claimed := free("h", func(h *v1beta1.PhysicalHost) { h.Spec.Claim = &v1beta1.Claim{} })
	big := v1beta1.HardwareRequirements{MinCores: 99}
	if Meets(bare, v1beta1.HardwareRequirements{}) || !Meets(claimed, v1beta1.HardwareRequirements{MinCores: 16}) || Meets(claimed, big) {
		t.Fatal("only the inventory may count, and one must be there")
	}
}

func TestSizesAreSaidAsTheyWereAsked(t *testing.T) {
	for in, want := range map[string]string{
		"64Gi": "64 GiB", "65536Mi": "64 GiB", "1536Mi": "1536 MiB", "500G": "500 GB", "2T": "2 TB", "1k": "1 kB", "123": "123 bytes", "1500m": "1500m",
	} {
		q := resource.MustParse(in)
		if got := size(&q); got != want {
			t.Errorf("%s is said as %q, want %q", in, got, want)
		}
	}
}
