package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"time"
)

// stormOptions are the flags of claim-storm.
type stormOptions struct {
	Machines, Hosts   int
	Mode              string
	Replicas, Workers int
	Overlap           bool
	// Kills is how often one of the processes is killed and started again, Seed which and when.
	Kills int
	Seed  uint64
	// QPS and Burst of each process's client; negative: no limit.
	QPS   float64
	Burst int
	// RawFor is how long the raw write rate is measured; 0: not at all.
	RawFor time.Duration
	// Limit of the whole storm.
	Limit time.Duration
	// Profile the first process into this file, if not empty.
	Profile string
}

// storm runs one claim storm on a site, in a namespace of its own, and says what it found.
func (s *site) storm(ctx context.Context, o stormOptions) (run, error) {
	ctx, cancel := context.WithTimeout(ctx, o.Limit)
	defer cancel()
	r := newRun(o)
	s.say("%s: seed %d", r.Name, o.Seed)
	if o.RawFor > 0 {
		if err := s.rawRate(ctx, o, &r); err != nil {
			return r, fmt.Errorf("measure the raw write rate: %w", err)
		}
		s.say("%s: the API server takes %.0f raw writes/s", r.Name, r.Measures["rawWritesPerSecond"])
	}
	namespace, err := s.fill(ctx, o.Machines, o.Hosts)
	if err != nil {
		return r, err
	}
	seen, err := watchHistory(ctx, s.client, namespace)
	if err != nil {
		return r, err
	}
	c, err := startCrew(ctx, s.dir, s.claimOrders(o, namespace))
	if err != nil {
		return r, err
	}
	defer c.end()
	if err := s.settle(ctx); err != nil {
		return r, err
	}
	if err := s.blow(ctx, o, &r, c, seen); err != nil {
		return r, err
	}
	r.judge(judge(seen.snapshot()), o)
	return r, nil
}

func (s *site) claimOrders(o stormOptions, namespace string) []order {
	orders := make([]order, o.Replicas)
	for i := range orders {
		orders[i] = order{Kubeconfig: s.plane.Kubeconfig(), Namespace: namespace, Mode: o.Mode, Index: i, Replicas: o.Replicas, Workers: o.Workers,
			Overlap: o.Overlap, QPS: float32(o.QPS), Burst: o.Burst, Identity: fmt.Sprintf("%s-%d", namespace, i)}
	}
	if o.Profile != "" {
		orders[0].Profile = o.Profile
	}
	return orders
}

// rawRate measures the writes per second that the API server takes from as many processes and workers, the CPU milliseconds of all
// processes for each, and the pace of the computer meanwhile.
func (s *site) rawRate(ctx context.Context, o stormOptions, r *run) error {
	namespace, err := s.fill(ctx, o.Replicas*o.Workers, o.Replicas*o.Workers)
	if err != nil {
		return err
	}
	orders := s.claimOrders(o, namespace)
	for i := range orders {
		orders[i].Mode, orders[i].QPS, orders[i].RawFor, orders[i].Profile = rawMode, -1, o.RawFor, ""
	}
	c, err := startCrew(ctx, s.dir, orders)
	if err != nil {
		return err
	}
	defer c.end()
	// Whoever watches the storm costs something: the raw writes are watched, too, so that only the claims differ.
	watched, stop := context.WithCancel(ctx)
	defer stop()
	if _, err := watchHistory(watched, s.client, namespace); err != nil {
		return err
	}
	if err := s.settle(ctx); err != nil {
		return err
	}
	before, err := s.spent(c)
	if err != nil {
		return err
	}
	start := time.Now()
	if err := errors.Join(c.begin(), c.finish(true)); err != nil {
		return err
	}
	after, err := s.spent(c)
	if err != nil {
		return err
	}
	if err := s.paced("rawPaceMillis", r, start); err != nil {
		return err
	}
	rate, writes := 0.0, 0
	for _, t := range c.tallies {
		if len(t.Errors) > 0 {
			return fmt.Errorf("a raw writer failed: %s", t.Errors[0])
		}
		writes += t.Writes
		rate += float64(t.Writes) / t.For.Seconds()
	}
	r.set("rawWritesPerSecond", rate)
	r.set("rawCPUMillis", float64((after-before).Milliseconds())/float64(writes))
	return nil
}

// paced sets a measure to the pace of the computer since start.
func (s *site) paced(measure string, r *run, start time.Time) error {
	millis, err := s.pace.millis(start)
	if err != nil {
		return err
	}
	r.set(measure, millis)
	return nil
}

// spent is the CPU time that the crew and the control plane have used.
func (s *site) spent(c *crew) (time.Duration, error) {
	servers, err := s.serverCost()
	if err != nil {
		return 0, err
	}
	total := c.spent.CPU
	for _, used := range servers {
		total += used.CPU
	}
	for _, m := range c.members {
		if m.ended {
			continue
		}
		used, err := processCost(m.cmd.Process.Pid)
		if err != nil {
			return 0, err
		}
		total += used.CPU
	}
	return total, nil
}

// blow is the storm itself: from the start signal until every machine that can have a host has one.
func (s *site) blow(ctx context.Context, o stormOptions, r *run, c *crew, seen *history) error {
	since, err := s.auditSize()
	if err != nil {
		return err
	}
	before, err := s.serverCost()
	if err != nil {
		return err
	}
	earlier, err := s.spent(c)
	if err != nil {
		return err
	}
	start := time.Now()
	if err := c.begin(); err != nil {
		return err
	}
	if o.Kills > 0 {
		if err := s.kill(ctx, o, c, seen); err != nil {
			return err
		}
	}
	if err := seen.allPaired(ctx, min(o.Machines, o.Hosts)); err != nil {
		return s.stuck(err, c)
	}
	times := seen.times(start)
	if err := s.paced("paceMillis", r, start); err != nil {
		return err
	}
	after, err := s.serverCost()
	if err != nil {
		return err
	}
	later, err := s.spent(c)
	if err != nil {
		return err
	}
	if err := c.finish(false); err != nil {
		return err
	}
	asked, err := s.requestsOf(agent(o.Mode), since)
	if err != nil {
		return err
	}
	slices.Sort(times)
	r.measure(times, c, asked)
	r.compare(later - earlier)
	for name, used := range after {
		r.server(name, cost{CPU: used.CPU - before[name].CPU, Memory: used.Memory})
	}
	return nil
}

// stuck adds to an error what the workers said.
func (s *site) stuck(err error, c *crew) error {
	finished := c.finish(false)
	for i, t := range c.tallies {
		err = fmt.Errorf("%w; worker %d: calls %v, attempts %v, conflicts %v, errors %q", err, i, t.Calls, t.Attempts, t.Conflicts, t.Errors)
	}
	return errors.Join(err, finished)
}

// kill ends one process after another with SIGKILL and starts it again: which, and how many claims there are then, is the seed's.
func (s *site) kill(ctx context.Context, o stormOptions, c *crew, seen *history) error {
	random := rand.New(rand.NewPCG(o.Seed, 0))
	moments := make([]int, o.Kills)
	for i := range moments {
		moments[i] = random.IntN(min(o.Machines, o.Hosts))
	}
	slices.Sort(moments)
	for _, claims := range moments {
		err := seen.until(ctx, fmt.Sprintf("%d machines to have a host, to kill a process", claims), func() bool { return len(seen.pairs) >= claims })
		if err != nil {
			return err
		}
		victim := random.IntN(o.Replicas)
		s.say("  killing process %d at %d claims", victim, claims)
		if err := c.replace(victim); err != nil {
			return err
		}
	}
	return nil
}

// output is where a run's files go.
func (s *site) output(name string) string { return filepath.Join(s.dir, name) }
