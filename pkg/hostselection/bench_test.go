package hostselection

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/beskar7/beskar7/api/v1beta1"
)

// pool has n hosts as large fleets have them: a dozen racks, all conditions, most of them free.
func pool(n int) []*v1beta1.PhysicalHost {
	random := rand.New(rand.NewPCG(7, 8))
	hosts := make([]*v1beta1.PhysicalHost, n)
	for i := range hosts {
		score := 50 + random.Int32N(51)
		hosts[i] = free(fmt.Sprintf("rack%02d-node%04d", i%12, i), func(h *v1beta1.PhysicalHost) {
			h.Spec.Priority, h.Spec.FailureDomain = random.Int32N(3), fmt.Sprintf("rack-%d", i%12)
			h.Status.HealthScore = &score
			h.Status.Hardware.CPU.Cores = 16 << random.IntN(3)
			for _, kind := range []string{v1beta1.BMCReachableCondition, v1beta1.InspectedCondition, v1beta1.ReleaseBlockedCondition, v1beta1.PausedCondition} {
				h.Status.Conditions = append(h.Status.Conditions, metav1.Condition{Type: kind, Status: metav1.ConditionFalse})
			}
			if at := metav1.NewMicroTime(now); i%10 == 0 {
				h.Spec.Claim = &v1beta1.Claim{Cluster: "c", Owner: "MachineDeployment/md", Machine: "x", ClaimedAt: &at}
			}
		})
	}
	return hosts
}

// choice is a request such as the coordinator makes.
func choice() Request {
	req := needing(func(r *v1beta1.HardwareRequirements) { r.MinCores, r.MinMemory = 8, resource.MustParse("32Gi") })
	req.Limit, req.Cluster, req.Owner = 12, "c", "MachineDeployment/md"
	req.Avoid = map[string]bool{"rack01-node0001": true, "rack02-node0002": true}
	return req
}

func spreading(req Request) Request {
	req.Spread = v1beta1.SpreadHard
	return req
}

func BenchmarkRank(b *testing.B) {
	hosts := NewPool("ns", pool(10_000)...)
	run := func(name string, algorithm Algorithm, req Request) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				hosts.Rank(algorithm, req)
			}
		})
	}
	for _, algorithm := range algorithms {
		run(string(algorithm), algorithm, choice())
	}
	run("deterministic-spread", Deterministic, spreading(choice()))
}

// Nothing may be allocated for a refused host, under any algorithm, whatever refuses it.
func TestRefusedHostsAllocateNothing(t *testing.T) {
	measure := func(algorithm Algorithm, req Request, n int) float64 {
		hosts := make([]*v1beta1.PhysicalHost, n)
		for i := range hosts {
			hosts[i] = free(fmt.Sprint(i), func(h *v1beta1.PhysicalHost) {
				switch i % 4 {
				case 0:
					h.Spec.Claim = &v1beta1.Claim{Cluster: "c", Owner: "MachineDeployment/md"}
				case 1:
					h.Status.Hardware.Memory = resource.MustParse("1Gi")
				case 2:
					failed(0, 0)(h)
				case 3:
					unavailable(v1beta1.ReasonInspecting)(h)
				}
			})
		}
		full := NewPool("ns", hosts...)
		return testing.AllocsPerRun(10, func() { full.Rank(algorithm, req) })
	}
	for _, algorithm := range algorithms {
		for name, req := range map[string]Request{"plain": choice(), "spread": spreading(choice())} {
			if few, many := measure(algorithm, req, 20), measure(algorithm, req, 2000); many > few {
				t.Errorf("%s, %s: %v allocations for 20 refused hosts, %v for 2000", algorithm, name, few, many)
			}
		}
	}
}

// Nor for those that fit but are not among the best, once there are as many as the caller will try.
func TestHostsBeyondTheLimitAllocateNothing(t *testing.T) {
	few, many := NewPool("ns", pool(100)...), NewPool("ns", pool(2000)...)
	for _, algorithm := range algorithms {
		a := testing.AllocsPerRun(10, func() { few.Rank(algorithm, choice()) })
		if b := testing.AllocsPerRun(10, func() { many.Rank(algorithm, choice()) }); b > a {
			t.Errorf("%s: %v allocations for 100 hosts, %v for 2000", algorithm, a, b)
		}
	}
}
