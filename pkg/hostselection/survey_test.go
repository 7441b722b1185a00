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

const (
	workers = "MachineDeployment/workers"
	others  = "MachineDeployment/others"
)

func in(domain string) func(*v1beta1.PhysicalHost) {
	return func(h *v1beta1.PhysicalHost) { h.Spec.FailureDomain = domain }
}

func heldBy(owner string) func(*v1beta1.PhysicalHost) {
	return func(h *v1beta1.PhysicalHost) {
		h.Spec.Claim = &v1beta1.Claim{Cluster: "c", Owner: owner, Machine: "x"}
	}
}

func releasing(h *v1beta1.PhysicalHost) { h.Spec.Claim.Release = &v1beta1.Release{} }

func givenBackBy(owner string) func(*v1beta1.PhysicalHost) {
	return func(h *v1beta1.PhysicalHost) {
		h.Spec.LastTenant = &v1beta1.Tenant{Cluster: "c", Owner: owner, Machine: "x"}
	}
}

func one(spread v1beta1.SpreadMode, reuse v1beta1.ReuseMode) Request {
	return plain(func(r *Request) { r.Cluster, r.Owner, r.Spread, r.Reuse = "c", workers, spread, reuse })
}

func domainsOf(hosts []*v1beta1.PhysicalHost) []string {
	var out []string
	for _, h := range hosts {
		out = append(out, h.Spec.FailureDomain)
	}
	return out
}

// Two workers in rack-1, one in rack-2, none in rack-3; others everywhere.
func racks() []*v1beta1.PhysicalHost {
	return []*v1beta1.PhysicalHost{
		free("a1", in("rack-1"), heldBy(workers)), free("a2", in("rack-1"), heldBy(workers)), free("a3", in("rack-1")),
		free("b1", in("rack-2"), heldBy(workers)), free("b2", in("rack-2")), free("b3", in("rack-2"), heldBy(others)),
		free("c1", in("rack-3"), heldBy(others)), free("c2", in("rack-3")), free("n1", in("")),
	}
}

func TestSoftSpreadOrdersAndHardSpreadRefuses(t *testing.T) {
	for _, algorithm := range algorithms {
		soft := Rank(algorithm, one(v1beta1.SpreadSoft, ""), racks())
		if got, want := domainsOf(soft.Candidates), []string{"rack-3", "rack-2", "rack-1", ""}; !slices.Equal(got, want) {
			t.Errorf("%s, soft: %v, want %v", algorithm, got, want)
		}
		hard := Rank(algorithm, one(v1beta1.SpreadHard, ""), racks())
		if got, want := names(hard.Candidates), []string{"c2"}; !slices.Equal(got, want) {
			t.Errorf("%s, hard: %v, want %v", algorithm, got, want)
		}
		if hard.Diagnosis.Refusals[CrowdedDomain] != 2 || hard.Diagnosis.Refusals[NoDomain] != 1 {
			t.Errorf("%s: %v", algorithm, hard.Diagnosis.Message())
		}
	}
}

func TestWhatHardSpreadCounts(t *testing.T) {
	change := func(name string, edits ...func(*v1beta1.PhysicalHost)) func([]*v1beta1.PhysicalHost) {
		return func(hosts []*v1beta1.PhysicalHost) {
			for _, h := range hosts {
				for _, edit := range edits {
					if h.Name == name {
						edit(h)
					}
				}
			}
		}
	}
	maintained := func(h *v1beta1.PhysicalHost) { h.Spec.Maintenance = true }
	small := func(h *v1beta1.PhysicalHost) { h.Status.Hardware.CPU.Cores = 1 }
	both := func(a, b func([]*v1beta1.PhysicalHost)) func([]*v1beta1.PhysicalHost) {
		return func(hosts []*v1beta1.PhysicalHost) { a(hosts); b(hosts) }
	}
	for name, c := range map[string]struct {
		change func([]*v1beta1.PhysicalHost)
		edit   func(*Request)
		want   []string
	}{
		"a full domain is waited for":               {change: change("c2", heldBy(others)), want: nil},
		"one that is not ready is waited for":       {change: change("c2", unavailable(v1beta1.ReasonUnreachable)), want: nil},
		"a domain out of service is not":            {change: both(change("c1", maintained), change("c2", quarantined)), want: []string{"b2"}},
		"nor one without the hardware":              {change: both(change("c1", small), change("c2", small)), want: []string{"b2"}},
		"a claim under way counts":                  {edit: func(r *Request) { r.Avoid = map[string]bool{"c2": true}; r.Peers = r.Avoid }, want: []string{"b2"}},
		"not if it is for another owner":            {edit: func(r *Request) { r.Avoid = map[string]bool{"c2": true} }, want: nil},
		"a host of another cluster is no peer's":    {edit: func(r *Request) { r.Cluster = "d" }, want: []string{"a3", "b2", "c2"}},
		"a prescribed domain overrules":             {edit: func(r *Request) { r.FailureDomain = "rack-1" }, want: []string{"a3"}},
		"a machine of its own has nobody to spread": {edit: func(r *Request) { r.Owner = "" }, want: []string{"a3", "b2", "c2", "n1"}},
	} {
		hosts := racks()
		if c.change != nil {
			c.change(hosts)
		}
		req := one(v1beta1.SpreadHard, "")
		req.Requirements.MinCores = 8
		if c.edit != nil {
			c.edit(&req)
		}
		ranking := Rank(Deterministic, req, hosts)
		if got := slices.Sorted(slices.Values(names(ranking.Candidates))); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v (%s)", name, got, c.want, ranking.Diagnosis.Message())
		}
	}
}

// Machines of one owner, one after the other, with hard spread: the domains never differ by more than one, whatever else is held,
// under every algorithm.
func TestHardSpreadNeverSkews(t *testing.T) {
	random := rand.New(rand.NewPCG(11, 12))
	for trial := range 60 {
		pool := NewPool("ns")
		held := map[string]int{}
		for i := range 12 + random.IntN(20) {
			host := free(fmt.Sprint("h", i), in(fmt.Sprint("rack-", random.IntN(4))))
			held[host.Spec.FailureDomain] = 0
			if random.IntN(4) == 0 {
				heldBy(others)(host)
			}
			pool.Set(host)
		}
		for machine := range 20 {
			req := one(v1beta1.SpreadHard, "")
			req.Machine, req.Limit = fmt.Sprint("m-", machine), 1
			ranking := pool.Rank(algorithms[trial%3], req)
			if len(ranking.Candidates) == 0 {
				break
			}
			got := free(ranking.Candidates[0].Name, in(ranking.Candidates[0].Spec.FailureDomain), heldBy(workers))
			if at := pool.Place(req, got); at.GaveWay() {
				t.Fatalf("hard spread gave way: %s", at.Message())
			}
			pool.Set(got)
			held[got.Spec.FailureDomain]++
			least, most := 99, 0
			for _, n := range held {
				least, most = min(least, n), max(most, n)
			}
			if most-least > 1 {
				t.Fatalf("skew: %v", held)
			}
		}
	}
}

func TestPlacement(t *testing.T) {
	pool := NewPool("ns", racks()...)
	for name, want := range map[string]string{
		"c2": `placed in failure domain "rack-3"`,
		"a3": `placed in failure domain "rack-1", where its owner has 2 other hosts, since none was available in "rack-3", where it has 0`,
		"a1": `placed in failure domain "rack-1", where its owner has 1 other hosts, since none was available in "rack-3", where it has 0`,
		"n1": `placed in a host without a failure domain, where its owner has 0 other hosts, since none was available in "rack-3", where it has 0`,
	} {
		at := pool.Place(one(v1beta1.SpreadSoft, ""), pool.Host(name))
		if at.Message() != want || at.GaveWay() != (name != "c2") {
			t.Errorf("%s: gave way %v: %s", name, at.GaveWay(), at.Message())
		}
	}
	if at := pool.Place(one("", ""), pool.Host("a3")); at.GaveWay() {
		t.Error("gave way although nobody asked for spread")
	}
}

func TestReuse(t *testing.T) {
	returned := free("old", givenBackBy(workers))
	rest := []*v1beta1.PhysicalHost{free("x"), free("y"), free("z", givenBackBy(others))}
	for _, algorithm := range algorithms {
		for name, c := range map[string]struct {
			mode  v1beta1.ReuseMode
			hosts []*v1beta1.PhysicalHost
			first string
			n     int
		}{
			"prefer takes it first":               {v1beta1.ReusePrefer, append(rest, returned), "old", 4},
			"prefer never waits":                  {v1beta1.ReusePrefer, append(rest, free("old", heldBy(workers), releasing)), "", 3},
			"require takes nothing else":          {v1beta1.ReuseRequire, append(rest, returned), "old", 1},
			"require waits for a release":         {v1beta1.ReuseRequire, append(rest, free("old", heldBy(workers), releasing)), "", 0},
			"and for a host in quarantine":        {v1beta1.ReuseRequire, append(rest, free("old", givenBackBy(workers), quarantined)), "", 0},
			"but not for one at work":             {v1beta1.ReuseRequire, append(rest, free("old", heldBy(workers))), "", 3},
			"nor for one that others had since":   {v1beta1.ReuseRequire, append(rest, free("old", givenBackBy(others))), "", 4},
			"nor for one that others hold":        {v1beta1.ReuseRequire, append(rest, free("old", givenBackBy(workers), heldBy(others))), "", 3},
			"nor for one that is being deleted":   {v1beta1.ReuseRequire, append(rest, free("old", givenBackBy(workers), deleted)), "", 3},
			"without a predecessor any host will": {v1beta1.ReuseRequire, rest, "", 3},
		} {
			ranking := Rank(algorithm, one("", c.mode), c.hosts)
			if len(ranking.Candidates) != c.n || c.first != "" && ranking.Candidates[0].Name != c.first {
				t.Errorf("%s, %s: %v", algorithm, name, names(ranking.Candidates))
			}
		}
	}
	waits := Rank(Deterministic, one("", v1beta1.ReuseRequire), append(rest, free("old", heldBy(workers), releasing)))
	if got, want := waits.Diagnosis.Message(), "0/4 hosts available: 3 not given back by the replaced machine, 1 claimed"; got != want {
		t.Errorf("message %q, want %q", got, want)
	}
}

func deleted(h *v1beta1.PhysicalHost) { h.DeletionTimestamp = &metav1.Time{Time: now} }

// A rolling upgrade without a spare (maxSurge 0): one machine after the other gives its host back, and its replacement requires it,
// while the other hosts of the pool are free. Every replacement ends on the host that was given back for it.
func TestRollingUpgradeStaysOnItsHosts(t *testing.T) {
	for _, algorithm := range algorithms {
		pool := NewPool("ns")
		for i := range 6 {
			pool.Set(free(fmt.Sprint("spare-", i)))
		}
		for i := range 3 {
			pool.Set(free(fmt.Sprint("mine-", i), heldBy(workers)))
		}
		for i := range 3 {
			name := fmt.Sprint("mine-", i)
			pool.Set(free(name, heldBy(workers), releasing))
			req := one("", v1beta1.ReuseRequire)
			req.Machine = fmt.Sprint("new-", i)
			if got := pool.Rank(algorithm, req).Candidates; len(got) != 0 {
				t.Fatalf("%s: %v although %s is still being given back", algorithm, names(got), name)
			}
			pool.Set(free(name, givenBackBy(workers)))
			if got := pool.Rank(algorithm, req).Candidates; len(got) != 1 || got[0].Name != name {
				t.Fatalf("%s: %v, want %s", algorithm, names(got), name)
			}
			pool.Set(free(name, givenBackBy(workers), heldBy(workers)))
		}
	}
}

func TestRoundRobinTakesTheLeastRecentlyUsed(t *testing.T) {
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	booted := func(d time.Duration) func(*v1beta1.PhysicalHost) {
		return func(h *v1beta1.PhysicalHost) { h.Status.LastUsed = &metav1.Time{Time: ago(d)} }
	}
	released := func(d time.Duration) func(*v1beta1.PhysicalHost) {
		return func(h *v1beta1.PhysicalHost) {
			h.Spec.LastTenant = &v1beta1.Tenant{ReleasedAt: metav1.NewMicroTime(ago(d))}
		}
	}
	taken := func(d time.Duration) func(*v1beta1.PhysicalHost) {
		return func(h *v1beta1.PhysicalHost) {
			at := metav1.NewMicroTime(ago(d))
			h.Spec.Claim = &v1beta1.Claim{ClaimedAt: &at}
		}
	}
	check := func(what string, want []string, hosts ...*v1beta1.PhysicalHost) {
		t.Helper()
		if got := names(Rank(RoundRobin, plain(), hosts).Candidates); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	check("hosts of one domain", []string{"never", "day", "hour", "minute"},
		free("minute", booted(time.Minute)), free("never"), free("day", released(24*time.Hour)), free("hour", released(time.Hour), booted(2*time.Hour)))
	// rack-1 was used last, by a host that is held; rack-3 never was.
	check("domains before hosts", []string{"c", "b2", "b1", "a"},
		free("a", in("rack-1")), free("a-held", in("rack-1"), taken(time.Second)),
		free("b1", in("rack-2"), released(time.Minute)), free("b2", in("rack-2")), free("c", in("rack-3")))
	req := plain(func(r *Request) { r.Avoid = map[string]bool{"c2": true} })
	hosts := []*v1beta1.PhysicalHost{free("b1", in("rack-2"), released(time.Minute)), free("c1", in("rack-3")), free("c2", in("rack-3"))}
	if got := names(Rank(RoundRobin, req, hosts).Candidates); !slices.Equal(got, []string{"b1", "c1"}) {
		t.Errorf("a claim under way is no use of its domain: %v", got)
	}
}

// A storm of machines, round-robin, where nothing but the claims is recorded: domains and hosts are used evenly.
func TestRoundRobinIsEven(t *testing.T) {
	pool := NewPool("ns")
	for i := range 12 {
		pool.Set(free(fmt.Sprint("h", i), in(fmt.Sprint("rack-", i%4))))
	}
	used := map[string]int{}
	for i := range 12 {
		req := plain(func(r *Request) { r.Machine, r.Now = fmt.Sprint("m-", i), now.Add(time.Duration(i)*time.Millisecond) })
		host := pool.Rank(RoundRobin, req).Candidates[0]
		at := metav1.NewMicroTime(req.Now)
		pool.Set(free(host.Name, in(host.Spec.FailureDomain), func(h *v1beta1.PhysicalHost) { h.Spec.Claim = &v1beta1.Claim{ClaimedAt: &at} }))
		used[host.Spec.FailureDomain]++
		for domain := range 4 {
			if n := used[fmt.Sprint("rack-", domain)]; n < (i+1)/4 || n > (i+4)/4 {
				t.Fatalf("after %d machines: %v", i+1, used)
			}
		}
	}
}
