package hostselection

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/beskar7/beskar7/api/v1beta1"
)

// A pool that was told of a thousand changes answers as one that is made of what is left, whatever is asked.
func TestAPoolIsWhatItWasTold(t *testing.T) {
	random := rand.New(rand.NewPCG(13, 14))
	told, left := NewPool("ns"), map[string]*v1beta1.PhysicalHost{}
	for step := range 1000 {
		host := fleet(1, random)[0]
		host.Name = fmt.Sprint("host-", random.IntN(30))
		if random.IntN(3) == 0 {
			told.Remove(host.Name)
			delete(left, host.Name)
		} else {
			told.Set(host)
			left[host.Name] = host
		}
		var hosts []*v1beta1.PhysicalHost
		for _, h := range left {
			hosts = append(hosts, h)
		}
		fresh, req, algorithm := NewPool("ns", hosts...), wish(random), algorithms[step%3]
		if told.Len() != len(left) {
			t.Fatalf("step %d: %d hosts, want %d", step, told.Len(), len(left))
		}
		if a, b := told.Rank(algorithm, req), fresh.Rank(algorithm, req); !reflect.DeepEqual(a, b) {
			t.Fatalf("step %d, %s, %+v:\n%v %v\n%v %v", step, algorithm, req, names(a.Candidates), a.Diagnosis, names(b.Candidates), b.Diagnosis)
		}
		if a, b := told.Explain(algorithm, req), fresh.Explain(algorithm, req); !reflect.DeepEqual(a, b) {
			t.Fatalf("step %d: explained as %+v and %+v", step, a, b)
		}
	}
}

// What is explained is what was decided: the places are those of the candidates, and the first refusals are those counted.
func TestExplanationsAgreeWithTheRanking(t *testing.T) {
	random := rand.New(rand.NewPCG(15, 16))
	for trial := range 300 {
		pool, req, algorithm := NewPool("ns", fleet(20, random)...), wish(random), algorithms[trial%3]
		ranking, counted := pool.Rank(algorithm, req), map[Reason]int{}
		var placed []string
		for i, e := range pool.Explain(algorithm, req) {
			reason := e.Reason()
			if (reason == "") != (e.Place != 0) || e.Place != 0 && e.Place != i+1 {
				t.Fatalf("%+v at %d", e, i)
			}
			if reason == "" {
				placed = append(placed, e.Host)
			} else {
				counted[reason]++
			}
			if got := pool.Refusal(req, e.Host); got != reason {
				t.Fatalf("%s: refusal %q, explained as %q", e.Host, got, reason)
			}
		}
		if !slices.Equal(placed, names(ranking.Candidates)) || !reflect.DeepEqual(counted, ranking.Diagnosis.Refusals) {
			t.Fatalf("explained: %v %v; ranked: %v %v", placed, counted, names(ranking.Candidates), ranking.Diagnosis.Refusals)
		}
	}
}

func TestOtherNamespacesAreIgnored(t *testing.T) {
	elsewhere := free("a", func(h *v1beta1.PhysicalHost) { h.Namespace = "x" })
	pool := NewPool("ns", elsewhere)
	pool.Remove("a")
	req := plain(func(r *Request) { r.Namespace = "x" })
	if pool.Len() != 0 || pool.Host("a") != nil || len(NewPool("ns", free("a")).Rank(Deterministic, req).Candidates) != 0 || pool.Refusal(plain(), "a") == "" {
		t.Fatal("a host of another namespace counts")
	}
}

// The algorithm may change from one choice to the next: each is what it would have been without the others before.
func TestAlgorithmsSwitchBetweenChoices(t *testing.T) {
	random := rand.New(rand.NewPCG(17, 18))
	hosts := fleet(30, random)
	pool := NewPool("ns", hosts...)
	for range 200 {
		req, algorithm := wish(random), algorithms[random.IntN(3)]
		if got, want := names(pool.Rank(algorithm, req).Candidates), names(Rank(algorithm, req, hosts).Candidates); !slices.Equal(got, want) {
			t.Fatalf("%s: %v, alone %v", algorithm, got, want)
		}
	}
}

func TestOffered(t *testing.T) {
	for name, c := range map[string]struct {
		host *v1beta1.PhysicalHost
		want bool
	}{
		"free":                {free("h"), true},
		"unreachable":         {free("h", unavailable(v1beta1.ReasonUnreachable)), true},
		"claimed":             {free("h", heldBy(others)), false},
		"being given back":    {free("h", heldBy(others), releasing, unavailable(v1beta1.ReasonPoweredOn)), true},
		"the same, at an end": {free("h", heldBy(others), releasing, quarantined), false},
		"quarantined":         {free("h", quarantined), false},
		"maintenance":         {free("h", func(h *v1beta1.PhysicalHost) { h.Spec.Maintenance = true }), false},
		"deleted":             {free("h", deleted), false},
		"runs, no consent":    {free("h", unavailable(v1beta1.ReasonPoweredOn)), false},
		"registered twice":    {free("h", unavailable(v1beta1.ReasonDuplicate)), false},
	} {
		if got := Offered(c.host); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
