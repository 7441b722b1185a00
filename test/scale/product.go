package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/test/emulator"
)

// managersOptions are the flags of managers.
type managersOptions struct {
	Machines, Hosts int
	Mode            string
	Replicas        int
	Kills           int
	Seed            uint64
	// Limited runs with the guide's default limit of the client, 20 requests a second, and reads its metric.
	Limited bool
	Limit   time.Duration
	// Extra flags of the managers.
	Extra []string
}

// Limits of the managers' clients: the guide's default, and its largest.
const (
	defaultQPS, defaultBurst = 20, 30
	largestQPS, largestBurst = 100, 200
)

// product runs the managers as they are shipped: hosts are enrolled at emulated BMCs, then machines are made and claim.
func (s *site) product(ctx context.Context, o managersOptions) (r run, err error) {
	ctx, cancel := context.WithTimeout(ctx, o.Limit)
	defer cancel()
	r = newRun(stormOptions{Machines: o.Machines, Hosts: o.Hosts, Mode: o.Mode, Replicas: o.Replicas, Seed: o.Seed})
	r.Kind = "managers"
	qps, burst := largestQPS, largestBurst
	if o.Limited {
		r.Kind, qps, burst = "limited", defaultQPS, defaultBurst
	}
	r.name()
	s.say("%s: seed %d", r.Name, o.Seed)
	namespace := fmt.Sprintf("managers-%d", time.Now().UnixNano())
	if err := errors.Join(s.furnish(ctx), s.makeNamespace(ctx, namespace)); err != nil {
		return r, err
	}
	if err := s.makeCluster(ctx, namespace); err != nil {
		return r, err
	}
	fleet, err := emulator.New(emulator.Options{})
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, fleet.Close()) }()
	all, err := s.startManagers(ctx, o, namespace, qps, burst)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, all.end()) }()
	if err := s.enrol(ctx, fleet, namespace, o.Hosts); err != nil {
		return r, err
	}
	s.say("%s: %d hosts are available", r.Name, o.Hosts)
	return r, s.serve(ctx, o, &r, all, namespace)
}

// serve makes the machines and waits until each has a host.
func (s *site) serve(ctx context.Context, o managersOptions, r *run, all *managers, namespace string) error {
	seen, err := watchHistory(ctx, s.client, namespace)
	if err != nil {
		return err
	}
	before, err := all.scrape(ctx)
	if err != nil {
		return err
	}
	start := time.Now()
	made := make(chan error, 1)
	go func() {
		made <- each(ctx, o.Machines, func(ctx context.Context, i int) error { return s.order(ctx, namespace, i) })
	}()
	if err := s.assassinate(ctx, o, all, seen); err != nil {
		return errors.Join(err, <-made)
	}
	if err := errors.Join(<-made, seen.allPaired(ctx, min(o.Machines, o.Hosts))); err != nil {
		return err
	}
	times := seen.times(start)
	slices.Sort(times)
	if o.Limited {
		after, err := all.scrape(ctx)
		if err != nil {
			return err
		}
		r.limited(before, after)
	}
	if err := all.end(); err != nil {
		return err
	}
	r.set("seconds", times[len(times)-1].Seconds())
	r.set("claimsPerSecond", float64(len(times))/times[len(times)-1].Seconds())
	r.set("latencyP50", percentile(times, 50))
	r.set("latencyP99", percentile(times, 99))
	r.set("kills", float64(o.Kills))
	exits := 0
	for _, m := range all.list {
		r.set("peakMemoryMiB", max(r.Measures["peakMemoryMiB"], mebi(m.spent.Memory)))
		exits += m.exits
	}
	r.set("exits", float64(exits))
	r.judge(judge(seen.snapshot()), stormOptions{Machines: o.Machines, Hosts: o.Hosts})
	return nil
}

// scrape sums the metrics of all managers.
func (m *managers) scrape(ctx context.Context) (map[string]float64, error) {
	total := map[string]float64{}
	for _, one := range m.list {
		sums, err := scrape(ctx, one.at())
		if err != nil {
			return nil, fmt.Errorf("read the metrics of %s: %w", one.name, err)
		}
		for name, value := range sums {
			total[name] += value
		}
	}
	return total, nil
}

// limited says how much of their time the managers' requests waited for the client's own limit.
func (r *run) limited(before, after map[string]float64) {
	spent := func(name string) float64 { return after[name+"_sum"] - before[name+"_sum"] }
	waited, asked := spent("rest_client_rate_limiter_duration_seconds"), spent("rest_client_request_duration_seconds")
	r.set("limitedWaitSeconds", waited)
	if waited+asked > 0 {
		r.set("limitedWaitShare", waited/(waited+asked))
	}
}

// assassinate kills managers at seeded numbers of claims: every second time the one that holds a lease, driver and arbiter in
// turn, else any.
func (s *site) assassinate(ctx context.Context, o managersOptions, all *managers, seen *history) error {
	random := rand.New(rand.NewPCG(o.Seed, 0))
	moments := make([]int, o.Kills)
	for i := range moments {
		moments[i] = random.IntN(min(o.Machines, o.Hosts))
	}
	slices.Sort(moments)
	for i, claims := range moments {
		if err := seen.until(ctx, fmt.Sprintf("%d machines to have a host, to kill a manager", claims), func() bool { return len(seen.pairs) >= claims }); err != nil {
			return err
		}
		victim := random.IntN(o.Replicas)
		if i%2 == 0 {
			holder, err := s.holder(ctx, all, i/2)
			if err != nil {
				return err
			}
			if holder >= 0 {
				victim = holder
			}
		}
		s.say("  killing %s at %d claims", all.list[victim].name, claims)
		all.list[victim].kill()
	}
	return nil
}

// holder is the manager that holds the nth Lease of those that there are; -1: none of the present ones.
func (s *site) holder(ctx context.Context, all *managers, n int) (int, error) {
	leases := &coordinationv1.LeaseList{}
	if err := s.client.List(ctx, leases, client.InNamespace(home)); err != nil || len(leases.Items) == 0 {
		return -1, err
	}
	lease := leases.Items[n%len(leases.Items)]
	for i, m := range all.list {
		if h := lease.Spec.HolderIdentity; h != nil && len(*h) > len(m.name) && (*h)[:len(m.name)+1] == m.name+"_" {
			return i, nil
		}
	}
	return -1, nil
}
