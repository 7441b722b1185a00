// Command fleet drives many emulated BMCs through the product's gate and driver, and compares what the BMCs saw with what the gate
// promises: never more in flight than the cap, never two requests on one BMC, never a change within the cooldown of the last; a
// time near the bound that latencies, cooldown and cap allow; and healthy BMCs that are not held up by dead ones.
//
//	go run ./fleet                    1,000 BMCs, a tenth of them dead in the last of three runs
//	go run ./fleet -bmcs 200
//
// Each BMC gets a power-cycle of k changing operations (on, off, on, ...), each with its reads, as the actuator makes them. No API
// server is involved. Numbers come from the emulator's own counts. It ends with 1 when one of them is out of its budget.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime/pprof"
	"sync"
	"sync/atomic"
	"time"

	"github.com/beskar7/beskar7/pkg/coordinator/bmcqueue"
	"github.com/beskar7/beskar7/pkg/redfish"
	"github.com/beskar7/beskar7/test/emulator"
)

// The budgets of a run.
const (
	maxRatio    = 1.15                   // of the bound
	maxHeldUp   = 1.10                   // by dead BMCs
	latency     = 100 * time.Millisecond // of every answer: the quick end of what BMCs take
	cooldown    = time.Second
	operations  = 3 // changing ones on each BMC
	workerLimit = 64
)

// report is what one run showed.
type report struct {
	Name                  string
	BMCs, Dead, Cap       int
	Seconds, BoundSeconds float64
	// AnswerSeconds is what an answer took on the average: more than the configured latency by what this machine is busy.
	AnswerSeconds          float64
	Requests               int
	MaxInFlight, MaxPerBMC int
	TooClose, Overlaps     int
	Broken                 []string
}

func main() { os.Exit(work()) }

func work() int {
	bmcs := flag.Int("bmcs", 1000, "number of BMCs")
	limit := flag.Int("cap", 20, "maxConcurrentOps")
	out := flag.String("out", filepath.Join("..", "out", "scale", "bmcs.json"), "where the report goes")
	profile := flag.String("cpuprofile", "", "write a CPU profile of the runs to this file")
	flag.Parse()
	if *profile != "" {
		end, err := profiled(*profile)
		if err != nil {
			fmt.Fprintln(os.Stderr, "fleet:", err)
			return 1
		}
		defer end()
	}
	tenth := *bmcs / 10
	all := run("all", *bmcs, 0, *limit)
	all.limit(all.Seconds <= maxRatio*all.BoundSeconds, "took %.1f s, more than %.2f of the bound of %.1f s", all.Seconds, maxRatio, all.BoundSeconds)
	// What 900 take with nine tenths of the cap is what they are to take beside 100 dead ones, which may use a tenth of it.
	alone := run("healthy alone", *bmcs-tenth, 0, *limit*9/10)
	beside := run("healthy beside dead", *bmcs, tenth, *limit)
	beside.limit(beside.Seconds <= maxHeldUp*alone.Seconds, "the healthy took %.1f s beside the dead, and %.1f s alone", beside.Seconds, alone.Seconds)
	reports, broken := []*report{all, alone, beside}, 0
	for _, r := range reports {
		for _, b := range r.Broken {
			fmt.Fprintf(os.Stderr, "fleet: %s: %s\n", r.Name, b)
			broken++
		}
	}
	data, err := json.MarshalIndent(reports, "", "  ")
	if err == nil {
		if err = os.MkdirAll(filepath.Dir(*out), 0o755); err == nil {
			err = os.WriteFile(*out, data, 0o644) //nolint:gosec // a report is for everyone
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "fleet:", err)
		broken++
	}
	return min(broken, 1)
}

// profiled starts a CPU profile.
func profiled(path string) (end func(), err error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() {
		pprof.StopCPUProfile()
		_ = f.Close()
	}, nil
}

func (r *report) limit(ok bool, format string, args ...any) {
	if !ok {
		r.Broken = append(r.Broken, fmt.Sprintf(format, args...))
	}
}

// server is one BMC with what is left to be done on it.
type server struct {
	name string
	bmc  redfish.BMC
	end  string
	left atomic.Int64
}

// run drives n BMCs, dead of which answer nothing, and waits until all others are done.
func run(name string, n, dead, limit int) *report {
	r := &report{Name: name, BMCs: n, Dead: dead, Cap: limit}
	fleet, err := emulator.New(emulator.Options{KeepRequests: true, Timings: emulator.Timings{PowerOn: -1, PowerOff: -1, POST: -1, Request: latency}})
	if err != nil {
		r.limit(false, "%v", err)
		return r
	}
	defer func() { _ = fleet.Close() }()
	pool := redfish.NewPool(redfish.Options{})
	servers := map[string]*server{}
	for i := range n {
		b, err := fleet.Add(emulator.Spec{Name: fmt.Sprintf("server-%04d", i)})
		if err != nil {
			r.limit(false, "%v", err)
			return r
		}
		if i < dead {
			if err := b.SetFault("refused", ""); err != nil {
				r.limit(false, "%v", err)
				return r
			}
		}
		client, err := pool.BMC(redfish.Target{Address: b.URL(), Username: b.Username(), Password: redfish.Password(b.Password()), CABundle: fleet.CAPEM(),
			Timeouts: redfish.Timeouts{Connection: 5 * time.Second, Request: 10 * time.Second, MaxRetries: 1, RetryDelay: 2 * latency}})
		if err != nil {
			r.limit(false, "%v", err)
			return r
		}
		s := &server{name: "ns/" + b.Name(), bmc: client, end: client.Endpoint()}
		s.left.Store(operations)
		servers[s.name] = s
	}
	began := time.Now()
	drive(servers, n-dead, limit)
	r.Seconds = time.Since(began).Seconds()
	r.judge(fleet, began, limit)
	fmt.Printf("%-20s %d BMCs, %d dead, cap %d: %.1f s, %.3f of the bound of %.1f s; %d requests, answered in %.0f ms of %.0f, at most %d in flight and %d on one BMC, %d changes within a cooldown\n",
		name, n, dead, limit, r.Seconds, r.Seconds/r.BoundSeconds, r.BoundSeconds, r.Requests, 1000*r.AnswerSeconds, 1000*latency.Seconds(), r.MaxInFlight, r.MaxPerBMC, r.TooClose)
	return r
}

// drive submits the operations of every server, each after the one before, until the healthy ones are done.
func drive(servers map[string]*server, healthy, limit int) {
	ctx, cancel := context.WithCancel(context.Background())
	var queue *bmcqueue.Queue
	ended, done := make(chan string, 4*len(servers)), 0
	queue = bmcqueue.New(bmcqueue.Options{Done: func(host string) { ended <- host }, Settings: bmcqueue.Settings{MaxConcurrentOps: limit, WorkerCount: workerLimit,
		MaxQueueSize: 2 * len(servers), OperationTimeout: time.Minute, Cooldown: cooldown, RetryAttempts: 3, ExponentialBackoff: true, MaxRetryDelay: time.Minute}})
	var over sync.WaitGroup
	over.Go(func() { _ = queue.Run(ctx) })
	for _, s := range servers {
		queue.Submit(s.op())
	}
	for done < healthy {
		s := servers[<-ended]
		status := queue.Status(s.name)
		if status.Kind != "" || status.Outcome.Ending != bmcqueue.EndedSucceeded || status.Outcome.ID != fmt.Sprint(s.left.Load()) {
			continue
		}
		if s.left.Add(-1) == 0 {
			done++
			continue
		}
		queue.Submit(s.op())
	}
	cancel()
	over.Wait()
}

// op is the next change of power, between its reads.
func (s *server) op() bmcqueue.Op {
	left := s.left.Load()
	want := redfish.ResetOn
	if (operations-left)%2 == 1 {
		want = redfish.ResetForceOff
	}
	return bmcqueue.Op{Endpoint: s.end, Host: s.name, Namespace: "ns", Class: bmcqueue.ClassProvision, Kind: string(want), ID: fmt.Sprint(left),
		Run: func(ctx context.Context) bmcqueue.Result {
			if _, err := s.bmc.State(ctx); err != nil {
				return failed(err)
			}
			if err := s.bmc.Reset(ctx, want); err != nil {
				return failed(err)
			}
			_, err := s.bmc.State(ctx)
			return bmcqueue.Result{Changed: true, Failure: failed(err).Failure, Err: err}
		}}
}

func failed(err error) bmcqueue.Result {
	switch redfish.KindOf(err) { //nolint:exhaustive // the others are one
	case "":
		return bmcqueue.Result{}
	case redfish.KindUnreachable, redfish.KindCanceled:
		return bmcqueue.Result{Failure: bmcqueue.Unreachable, Err: err}
	case redfish.KindBusy:
		return bmcqueue.Result{Failure: bmcqueue.Busy, Err: err}
	}
	return bmcqueue.Result{Failure: bmcqueue.Other, Err: err}
}

// judge takes the BMCs' own counts. The bound is what latencies, cap and cooldown allow: the sum of all answers over the cap, or
// one lane with its cooldowns.
func (r *report) judge(fleet *emulator.Fleet, began time.Time, limit int) {
	verdict := fleet.Judge(cooldown, began)
	r.MaxInFlight, r.MaxPerBMC, r.TooClose, r.Overlaps = verdict.MaxInFlight, verdict.MaxPerBMC, len(verdict.TooClose), len(verdict.Overlaps)
	longest, answers := 0, time.Duration(0)
	for _, b := range fleet.BMCs() {
		requests := b.RequestLog()
		for _, q := range requests {
			answers += q.End.Sub(q.Start)
		}
		r.Requests += len(requests)
		longest = max(longest, len(requests))
	}
	r.AnswerSeconds = answers.Seconds() / float64(max(r.Requests, 1))
	lane := time.Duration(longest)*latency + (operations-1)*cooldown
	r.BoundSeconds = max(float64(r.Requests)*latency.Seconds()/float64(min(limit, workerLimit)), lane.Seconds())
	r.limit(r.MaxInFlight <= limit, "%d requests in flight, and the cap is %d", r.MaxInFlight, limit)
	r.limit(r.MaxPerBMC <= 1, "%d requests in flight on one BMC", r.MaxPerBMC)
	r.limit(r.TooClose == 0 && r.Overlaps == 0, "%d changes within a cooldown, %d overlaps", r.TooClose, r.Overlaps)
	r.limit(r.Requests > 0, "no BMC was asked for anything")
}
