package hostselection

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/beskar7/beskar7/api/v1beta1"
)

var algorithms = []Algorithm{Deterministic, RoundRobin, Priority}

func names(hosts []*v1beta1.PhysicalHost) []string {
	out := make([]string, len(hosts))
	for i, host := range hosts {
		out[i] = host.Name
	}
	return out
}

// fleet has n hosts that differ in everything that a filter or an order looks at; most of them are free.
func fleet(n int, random *rand.Rand) []*v1beta1.PhysicalHost {
	hosts := make([]*v1beta1.PhysicalHost, n)
	ago := func() time.Time { return now.Add(-time.Duration(random.IntN(5)) * time.Hour) }
	owner := func() string { return fmt.Sprint("MachineDeployment/md-", random.IntN(2)) }
	for i := range hosts {
		score := random.Int32N(101)
		hosts[i] = free(fmt.Sprintf("host-%d", i), func(h *v1beta1.PhysicalHost) {
			h.Spec.Priority = random.Int32N(3)
			h.Spec.FailureDomain = []string{"", "rack-1", "rack-2", "rack-3"}[random.IntN(4)]
			h.Status.HealthScore = &score
			h.Status.Hardware.CPU.Cores = 8 << random.IntN(3)
			switch random.IntN(6) {
			case 0:
				h.Status.LastUsed = &metav1.Time{Time: ago()}
			case 1:
				h.Spec.LastTenant = &v1beta1.Tenant{Cluster: "c", Owner: owner(), Machine: "x", ReleasedAt: metav1.NewMicroTime(ago())}
			case 2:
				at := metav1.NewMicroTime(ago())
				h.Spec.Claim = &v1beta1.Claim{Cluster: "c", Owner: owner(), Machine: "x", ClaimedAt: &at}
				if random.IntN(4) == 0 {
					h.Spec.Claim.Release = &v1beta1.Release{}
				}
			case 3:
				h.Spec.Maintenance = random.IntN(4) == 0
			}
		})
	}
	return hosts
}

// wish is a request that asks for anything.
func wish(random *rand.Rand) Request {
	return plain(func(r *Request) {
		r.Machine, r.Cluster = fmt.Sprint("m-", random.IntN(1000)), "c"
		r.Owner = []string{"", "MachineDeployment/md-0", "MachineDeployment/md-1"}[random.IntN(3)]
		r.Spread = []v1beta1.SpreadMode{"", v1beta1.SpreadNone, v1beta1.SpreadSoft, v1beta1.SpreadHard}[random.IntN(4)]
		r.Reuse = []v1beta1.ReuseMode{"", v1beta1.ReuseNone, v1beta1.ReusePrefer, v1beta1.ReuseRequire}[random.IntN(4)]
		r.Requirements.MinCores = []int32{0, 8, 16}[random.IntN(3)]
		if random.IntN(4) == 0 {
			r.FailureDomain = "rack-1"
		}
		for i := range 3 {
			if random.IntN(3) == 0 {
				r.Avoid, r.Peers = map[string]bool{fmt.Sprint("host-", i): true}, map[string]bool{fmt.Sprint("host-", i): true}
			}
		}
	})
}

func TestOrderDependsOnNothingButTheInputs(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, algorithm := range algorithms {
		for range 200 {
			hosts := fleet(1+random.IntN(40), random)
			req := wish(random)
			want := names(Rank(algorithm, req, hosts).Candidates)
			random.Shuffle(len(hosts), func(i, j int) { hosts[i], hosts[j] = hosts[j], hosts[i] })
			if got := names(Rank(algorithm, req, hosts).Candidates); !slices.Equal(got, want) {
				t.Fatalf("%s: order of the list matters: %v, then %v", algorithm, want, got)
			}
			req.Limit = 1 + random.IntN(len(hosts))
			if got := names(Rank(algorithm, req, hosts).Candidates); !slices.Equal(got, want[:min(req.Limit, len(want))]) {
				t.Fatalf("%s: limit %d gives %v of %v", algorithm, req.Limit, got, want)
			}
		}
	}
}

// Removing a host leaves the order of all others as it is; adding it back is the same step in reverse.
func TestOneHostMoreOrLessMovesOnlyItself(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for trial := range 200 {
		hosts := fleet(2+random.IntN(40), random)
		req := plain(func(r *Request) { r.Machine = fmt.Sprint("m-", trial) })
		gone := random.IntN(len(hosts))
		want := slices.DeleteFunc(names(Rank(Deterministic, req, hosts).Candidates), func(n string) bool { return n == hosts[gone].Name })
		if got := names(Rank(Deterministic, req, slices.Delete(slices.Clone(hosts), gone, gone+1)).Candidates); !slices.Equal(got, want) {
			t.Fatalf("without %s: %v, want %v", hosts[gone].Name, got, want)
		}
	}
}

// The same for what machines choose: of 500 machines over 50 hosts, exactly those change their first choice that had chosen the host
// that is gone; and those that come to choose a new host are about their share, not more.
func TestOnlyMachinesThatMustChooseAnew(t *testing.T) {
	var hosts []*v1beta1.PhysicalHost
	for i := range 50 {
		hosts = append(hosts, free(fmt.Sprint("host-", i)))
	}
	choice := func(machine int, hosts []*v1beta1.PhysicalHost) string {
		req := plain(func(r *Request) { r.Machine, r.Limit = fmt.Sprint("m-", machine), 1 })
		return Rank(Deterministic, req, hosts).Candidates[0].Name
	}
	grown, moved := append(slices.Clone(hosts), free("new")), 0
	for machine := range 500 {
		before := choice(machine, hosts)
		if after := choice(machine, hosts[1:]); before != hosts[0].Name && after != before {
			t.Errorf("machine %d moved from %s to %s although only %s is gone", machine, before, after, hosts[0].Name)
		}
		if after := choice(machine, grown); after != before {
			moved++
			if after != "new" {
				t.Errorf("machine %d moved from %s to %s although only a host came", machine, before, after)
			}
		}
	}
	if moved == 0 || moved > 30 { // 500/51 is about 10
		t.Errorf("%d of 500 machines moved to the new host of 51", moved)
	}
}

// Machines must not all run for the same host: first choices of 4,000 machines over 40 hosts stay near 100 each (a binomial
// with standard deviation 10), also when names differ in their last digit only.
func TestMachinesSpreadOverHosts(t *testing.T) {
	hosts := make([]*v1beta1.PhysicalHost, 40)
	for i := range hosts {
		hosts[i] = free(fmt.Sprintf("host-%02d", i))
	}
	first := map[string]int{}
	for i := range 4000 {
		req := plain(func(r *Request) { r.Machine, r.Limit = fmt.Sprint("worker-", i), 1 })
		first[Rank(Deterministic, req, hosts).Candidates[0].Name]++
	}
	for _, host := range hosts {
		if n := first[host.Name]; n < 50 || n > 150 {
			t.Errorf("%s is first for %d machines of 4000, want about 100", host.Name, n)
		}
	}
}

// The order is a promise to running fleets: a release that changes it moves every waiting machine.
func TestDeterministicOrderIsGolden(t *testing.T) {
	hosts := []*v1beta1.PhysicalHost{free("alpha"), free("beta"), free("gamma"), free("delta")}
	for machine, want := range map[string]string{"m-0": golden0, "m-1": golden1} {
		if got := fmt.Sprint(names(Rank(Deterministic, plain(func(r *Request) { r.Machine = machine }), hosts).Candidates)); got != want {
			t.Errorf("%s: %s, want %s", machine, got, want)
		}
	}
	unknown := names(Rank("no such", plain(), hosts).Candidates)
	if want := names(Rank(Deterministic, plain(), hosts).Candidates); !slices.Equal(unknown, want) {
		t.Errorf("an unknown algorithm orders %v, want %v", unknown, want)
	}
}

func TestRetryIsTheEndOfTheFirstCoolOff(t *testing.T) {
	hosts := []*v1beta1.PhysicalHost{free("a", failed(10, 2*time.Minute)), free("b", failed(10, 7*time.Minute)), free("c", failed(10, time.Minute))}
	ranking := Rank(Deterministic, plain(), hosts)
	if want := now.Add(CoolOff - 7*time.Minute); !ranking.Retry.Equal(want) || len(ranking.Candidates) != 0 {
		t.Fatalf("retry %v with %d candidates, want %v with none", ranking.Retry, len(ranking.Candidates), want)
	}
	if ranking := Rank(Deterministic, plain(), []*v1beta1.PhysicalHost{free("a")}); !ranking.Retry.IsZero() {
		t.Fatalf("retry %v although time changes nothing", ranking.Retry)
	}
}

const (
	golden0 = "[beta alpha delta gamma]"
	golden1 = "[delta beta gamma alpha]"
)
