package hostselection

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

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

// fleet has n hosts that differ in everything that an order looks at.
func fleet(n int, random *rand.Rand) []*v1beta1.PhysicalHost {
	hosts := make([]*v1beta1.PhysicalHost, n)
	for i := range hosts {
		score := random.Int32N(101)
		used := metav1.NewTime(now.Add(-time.Duration(random.IntN(5)) * time.Hour))
		hosts[i] = free(fmt.Sprintf("host-%d", i), func(h *v1beta1.PhysicalHost) {
			h.Spec.Priority = random.Int32N(3)
			h.Status.HealthScore = &score
			h.Status.Hardware.CPU.Cores = 8 << random.IntN(3)
			if random.IntN(2) == 0 {
				h.Status.LastUsed = &used
			}
		})
	}
	return hosts
}

func TestOrderDependsOnNothingButTheInputs(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, algorithm := range algorithms {
		for range 50 {
			hosts := fleet(1+random.IntN(40), random)
			req := plain(func(r *Request) { r.Machine = fmt.Sprint("m-", random.IntN(1000)) })
			want := names(Rank(algorithm, req, hosts).Candidates)
			random.Shuffle(len(hosts), func(i, j int) { hosts[i], hosts[j] = hosts[j], hosts[i] })
			if got := names(Rank(algorithm, req, hosts).Candidates); !slices.Equal(got, want) {
				t.Fatalf("%s: order of the list matters: %v, then %v", algorithm, want, got)
			}
			req.Limit = 1 + random.IntN(len(hosts))
			if got := names(Rank(algorithm, req, hosts).Candidates); !slices.Equal(got, want[:req.Limit]) {
				t.Fatalf("%s: limit %d gives %v of %v", algorithm, req.Limit, got, want)
			}
		}
	}
}

// Removing a host leaves the order of all others as it is; adding it back is the same step in reverse.
func TestOneHostMoreOrLessMovesOnlyItself(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for _, algorithm := range algorithms {
		for trial := range 50 {
			hosts := fleet(2+random.IntN(40), random)
			req := plain(func(r *Request) { r.Machine = fmt.Sprint("m-", trial) })
			gone := random.IntN(len(hosts))
			want := slices.DeleteFunc(names(Rank(algorithm, req, hosts).Candidates), func(n string) bool { return n == hosts[gone].Name })
			if got := names(Rank(algorithm, req, slices.Delete(slices.Clone(hosts), gone, gone+1)).Candidates); !slices.Equal(got, want) {
				t.Fatalf("%s: without %s: %v, want %v", algorithm, hosts[gone].Name, got, want)
			}
		}
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

const (
	golden0 = "[gamma alpha delta beta]"
	golden1 = "[gamma alpha beta delta]"
)

func TestRoundRobinTakesTheLeastRecentlyUsed(t *testing.T) {
	used := func(ago time.Duration) func(*v1beta1.PhysicalHost) {
		return func(h *v1beta1.PhysicalHost) { h.Status.LastUsed = &metav1.Time{Time: now.Add(-ago)} }
	}
	hosts := []*v1beta1.PhysicalHost{free("minute", used(time.Minute)), free("never"), free("day", used(24*time.Hour)), free("hour", used(time.Hour))}
	want := []string{"never", "day", "hour", "minute"}
	if got := names(Rank(RoundRobin, plain(), hosts).Candidates); !slices.Equal(got, want) {
		t.Fatalf("order %v, want %v", got, want)
	}
}

func TestPriorityOrder(t *testing.T) {
	sized := func(cores int32, memory, disk string) func(*v1beta1.PhysicalHost) {
		return func(h *v1beta1.PhysicalHost) {
			h.Status.Hardware.CPU.Cores, h.Status.Hardware.Memory = cores, resource.MustParse(memory)
			h.Status.Hardware.Disks = []v1beta1.Disk{{Size: resource.MustParse(disk)}}
		}
	}
	scored := func(score int32) func(*v1beta1.PhysicalHost) {
		return func(h *v1beta1.PhysicalHost) { h.Status.HealthScore = &score }
	}
	hosts := []*v1beta1.PhysicalHost{
		free("more disk", sized(8, "32Gi", "4Ti")),
		free("more memory", sized(8, "48Gi", "1Ti")),
		free("more cores", sized(16, "32Gi", "1Ti")),
		free("snug but ailing", sized(8, "32Gi", "1Ti"), scored(60)),
		free("snug", sized(8, "32Gi", "1Ti")),
		free("huge but preferred by its owner", sized(64, "1Ti", "8Ti"), func(h *v1beta1.PhysicalHost) { h.Spec.Priority = 1 }),
		free("last", sized(8, "32Gi", "1Ti"), func(h *v1beta1.PhysicalHost) { h.Spec.Priority = -1 }),
	}
	req := needing(func(r *v1beta1.HardwareRequirements) { r.MinCores, r.MinMemory = 8, resource.MustParse("32Gi") })
	want := []string{"huge but preferred by its owner", "snug", "snug but ailing", "more memory", "more cores", "more disk", "last"}
	if got := names(Rank(Priority, req, hosts).Candidates); !slices.Equal(got, want) {
		t.Fatalf("order %v, want %v", got, want)
	}
}

func TestTheReplacedHostGoesFirst(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	for _, algorithm := range algorithms {
		hosts := fleet(20, random)
		for _, host := range hosts {
			req := plain(func(r *Request) { r.Preferred = host.Name })
			ranking := Rank(algorithm, req, hosts)
			if ranking.Candidates[0] != host || len(ranking.Candidates) != 20 {
				t.Fatalf("%s: %v does not begin with %s", algorithm, names(ranking.Candidates), host.Name)
			}
			req.Require = true
			if got := Rank(algorithm, req, hosts); len(got.Candidates) != 1 || got.Candidates[0] != host {
				t.Fatalf("%s: requiring %s gives %v", algorithm, host.Name, names(got.Candidates))
			}
			req.Avoid = map[string]bool{host.Name: true}
			if got := Rank(algorithm, req, hosts); len(got.Candidates) != 0 {
				t.Fatalf("%s: %v although the required host is taken", algorithm, names(got.Candidates))
			}
		}
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

func TestMessages(t *testing.T) {
	claimed := func(h *v1beta1.PhysicalHost) { h.Spec.Claim = &v1beta1.Claim{} }
	master := plain(func(r *Request) { r.Selector = labels.SelectorFromSet(labels.Set{"role": "master"}) })
	cases := []struct {
		req   Request
		hosts []*v1beta1.PhysicalHost
		want  string
	}{
		{plain(), nil, "no PhysicalHost is registered in namespace ns"},
		{plain(), []*v1beta1.PhysicalHost{free("a", func(h *v1beta1.PhysicalHost) { h.Namespace = "x" })}, "no PhysicalHost is registered in namespace ns"},
		{plain(), []*v1beta1.PhysicalHost{free("a")}, "1/1 hosts available"},
		{master, []*v1beta1.PhysicalHost{free("a", claimed), free("b", claimed), free("c"), free("d", claimed), free("e", claimed), free("f")},
			"0/6 hosts available: 4 claimed, 2 do not match the selector"},
		{master, []*v1beta1.PhysicalHost{free("a", claimed), free("b")}, "0/2 hosts available: 1 claimed, 1 does not match the selector"},
		{needing(func(r *v1beta1.HardwareRequirements) { r.MinMemory = resource.MustParse("128Gi") }),
			[]*v1beta1.PhysicalHost{free("a"), free("b"), free("c", unavailable(v1beta1.ReasonInspecting)), free("d", unavailable(v1beta1.ReasonReleasing))},
			"0/4 hosts available: 2 not ready, 2 with too little memory (need 128Gi)"},
	}
	for _, c := range cases {
		for range 20 { // map order must not show
			if got := Rank(Deterministic, c.req, c.hosts).Diagnosis.Message(); got != c.want {
				t.Fatalf("message %q, want %q", got, c.want)
			}
		}
	}
}

func TestBackoff(t *testing.T) {
	cases := []struct {
		attempt    int
		multiplier float64
		limit      time.Duration
		want       time.Duration
	}{
		{1, 1.5, 30 * time.Second, time.Second},
		{2, 1.5, 30 * time.Second, 1500 * time.Millisecond},
		{4, 2, 30 * time.Second, 8 * time.Second},
		{6, 2, 30 * time.Second, 30 * time.Second},
		{1 << 40, 3, 300 * time.Second, 300 * time.Second},
		{0, 2, time.Minute, time.Second},
		{-5, 2, time.Minute, time.Second},
		{9, 0.5, time.Minute, time.Second},
		{3, 2, 0, time.Second},
	}
	for _, c := range cases {
		if got := Backoff(c.attempt, c.multiplier, c.limit); got != c.want {
			t.Errorf("Backoff(%d, %v, %v) = %v, want %v", c.attempt, c.multiplier, c.limit, got, c.want)
		}
	}
}

// Ten thousand hosts, none free: nothing may be allocated for a refused host.
func TestRefusedHostsAllocateNothing(t *testing.T) {
	measure := func(n int) float64 {
		hosts := make([]*v1beta1.PhysicalHost, n)
		for i := range hosts {
			hosts[i] = free(fmt.Sprint(i), func(h *v1beta1.PhysicalHost) { h.Spec.Claim = &v1beta1.Claim{} })
		}
		return testing.AllocsPerRun(10, func() { Rank(Deterministic, plain(), hosts) })
	}
	if few, many := measure(10), measure(1000); many > few {
		t.Fatalf("%v allocations for 10 refused hosts, %v for 1000", few, many)
	}
}

func BenchmarkRank(b *testing.B) {
	hosts := fleet(10_000, rand.New(rand.NewPCG(7, 8)))
	req := needing(func(r *v1beta1.HardwareRequirements) { r.MinCores, r.MinMemory = 8, resource.MustParse("32Gi") })
	req.Limit = 16
	for _, algorithm := range algorithms {
		b.Run(string(algorithm), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Rank(algorithm, req, hosts)
			}
		})
	}
}
