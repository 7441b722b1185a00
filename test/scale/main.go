package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/beskar7/beskar7/test/lab"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := command(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(1)
	}
}

// command runs what the arguments say, or, in a process that the harness started, a worker.
func command(ctx context.Context, args []string) error {
	if o := os.Getenv(workerVariable); o != "" {
		return work(ctx, o)
	}
	ctrl.SetLogger(logr.Discard())
	if len(args) == 0 {
		return errors.New("say what to run: claim-storm, managers, claims or fleet (each with --help)")
	}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	var c commands
	plan, known := map[string]func(*flag.FlagSet) func(context.Context) error{
		"claim-storm": c.stormFlags, "managers": c.managersFlags, "claims": c.claimsFlags, "fleet": c.fleetFlags,
	}[args[0]]
	if !known {
		return fmt.Errorf("there is no %q: claim-storm, managers, claims or fleet", args[0])
	}
	flags.StringVar(&c.out, "out", "", "where claims.json and claims.svg go (default: out/scale of the repository)")
	flags.StringVar(&c.dir, "dir", "", "where logs and data go (default: a new folder under the out folder, removed after a success)")
	run := plan(flags)
	if err := flags.Parse(args[1:]); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	return run(ctx)
}

// commands are the subcommands and their flags.
type commands struct {
	out, dir string
	storm    stormOptions
}

func (c *commands) stormFlags(flags *flag.FlagSet) func(context.Context) error {
	o := &c.storm
	flags.IntVar(&o.Machines, "machines", 2000, "machines that want a host")
	flags.IntVar(&o.Hosts, "hosts", 2000, "hosts that are available")
	flags.StringVar(&o.Mode, "mode", optimisticMode, "optimistic or leader")
	flags.IntVar(&o.Replicas, "replicas", 3, "processes that claim")
	flags.IntVar(&o.Workers, "workers", 10, "workers in each process")
	flags.BoolVar(&o.Overlap, "overlap", false, "every process works on every machine, also in optimistic mode")
	flags.IntVar(&o.Kills, "kills", 0, "how often a process is killed and started again")
	flags.Uint64Var(&o.Seed, "seed", uint64(time.Now().UnixNano()), "which process is killed at how many claims")
	flags.Float64Var(&o.QPS, "kube-api-qps", -1, "limit of each process's client; negative: none")
	flags.IntVar(&o.Burst, "kube-api-burst", 30, "burst of each process's client")
	flags.DurationVar(&o.RawFor, "raw", 5*time.Second, "how long the raw write rate is measured; 0: not at all")
	flags.DurationVar(&o.Limit, "limit", 5*time.Minute, "after which the run has failed")
	flags.StringVar(&o.Profile, "profile", "", "a file for the CPU profile of the first process")
	return func(ctx context.Context) error {
		return c.at(ctx, func(ctx context.Context, s *site) ([]run, error) {
			r, err := s.storm(ctx, *o)
			return []run{r}, err
		})
	}
}

func (c *commands) managersFlags(flags *flag.FlagSet) func(context.Context) error {
	var o managersOptions
	flags.IntVar(&o.Machines, "machines", 60, "machines that want a host")
	flags.IntVar(&o.Hosts, "hosts", 60, "servers with emulated BMCs")
	flags.StringVar(&o.Mode, "mode", optimisticMode, "optimistic or leader")
	flags.IntVar(&o.Replicas, "replicas", 3, "manager processes")
	flags.IntVar(&o.Kills, "kills", 0, "how often a manager is killed")
	flags.Uint64Var(&o.Seed, "seed", uint64(time.Now().UnixNano()), "which manager is killed at how many claims")
	flags.BoolVar(&o.Limited, "limited", false, "with the guide's default --kube-api-qps=20")
	flags.DurationVar(&o.Limit, "limit", 5*time.Minute, "after which the run has failed")
	return func(ctx context.Context) error {
		return c.at(ctx, func(ctx context.Context, s *site) ([]run, error) {
			r, err := s.product(ctx, o)
			return []run{r}, err
		})
	}
}

// claimsFlags: the storms in all sizes, the storms with kills, and the managers, in both modes.
func (c *commands) claimsFlags(flags *flag.FlagSet) func(context.Context) error {
	modes := flags.String("modes", optimisticMode+","+leaderMode, "modes to run")
	sizes := flags.String("sizes", "500,2000,5000", "machines and hosts of the storms")
	seed := flags.Uint64("seed", uint64(time.Now().UnixNano()), "of the kills")
	return func(ctx context.Context) error {
		counts, err := numbers(*sizes)
		if err != nil {
			return err
		}
		return c.at(ctx, func(ctx context.Context, s *site) ([]run, error) {
			var runs []run
			for _, mode := range strings.Split(*modes, ",") {
				for _, one := range s.programme(mode, counts, *seed) {
					r, err := one(ctx)
					if err != nil {
						return runs, err
					}
					runs = append(runs, r)
				}
			}
			return runs, nil
		})
	}
}

// fleetFlags: a fleet that is registered at once, and then rests.
func (c *commands) fleetFlags(flags *flag.FlagSet) func(context.Context) error {
	var o fleetOptions
	flags.IntVar(&o.Hosts, "hosts", 1000, "servers with emulated BMCs, which share one CA and one credentials Secret")
	flags.DurationVar(&o.Idle, "idle", 10*time.Minute, "how long the manager rests; it is measured in the second half")
	flags.DurationVar(&o.Limit, "limit", 15*time.Minute, "after which the enrolment has failed")
	flags.StringVar(&o.Profiles, "profiles", "", "a folder for the manager's profiles of CPU, heap and goroutines while it rests")
	return func(ctx context.Context) error {
		return c.at(ctx, func(ctx context.Context, s *site) ([]run, error) {
			r, err := s.register(ctx, o)
			if err != nil {
				return nil, err
			}
			return []run{r}, nil
		})
	}
}

// programme is what claims runs in one mode.
func (s *site) programme(mode string, sizes []int, seed uint64) []func(context.Context) (run, error) {
	storm := func(o stormOptions) func(context.Context) (run, error) {
		o.Mode, o.Replicas, o.Workers, o.Seed, o.QPS, o.Limit = mode, 3, 10, seed, -1, 10*time.Minute
		return func(ctx context.Context) (run, error) { return s.storm(ctx, o) }
	}
	product := func(o managersOptions) func(context.Context) (run, error) {
		o.Mode, o.Replicas, o.Seed, o.Limit = mode, 3, seed, 5*time.Minute
		return func(ctx context.Context) (run, error) { return s.product(ctx, o) }
	}
	var list []func(context.Context) (run, error)
	for _, n := range sizes {
		list = append(list, storm(stormOptions{Machines: n, Hosts: n, RawFor: 5 * time.Second}))
	}
	return append(list, storm(stormOptions{Machines: 200, Hosts: 200, Overlap: true, Kills: 8}),
		product(managersOptions{Machines: 30, Hosts: 30, Limited: true}), product(managersOptions{Machines: 60, Hosts: 60, Kills: 6}))
}

// numbers reads a list of them.
func numbers(text string) ([]int, error) {
	var list []int
	for _, word := range strings.Split(text, ",") {
		n, err := strconv.Atoi(word)
		if err != nil {
			return nil, fmt.Errorf("read the sizes: %w", err)
		}
		list = append(list, n)
	}
	return list, nil
}

// at runs something on a fresh site, stores what it found and compares it with the budgets.
func (c *commands) at(ctx context.Context, do func(context.Context, *site) ([]run, error)) (err error) {
	root, err := lab.Root("")
	if err != nil {
		return err
	}
	budgets, err := readBudgets(filepath.Join(root, "test", "scale", "rangespec.yaml"))
	if err != nil {
		return err
	}
	if c.out == "" {
		c.out = filepath.Join(root, "out", "scale")
	}
	if c.dir == "" {
		if err := os.MkdirAll(c.out, 0o755); err != nil {
			return err
		}
		if c.dir, err = os.MkdirTemp(c.out, "run-"); err != nil {
			return err
		}
		defer func() {
			if err == nil {
				err = os.RemoveAll(c.dir)
			}
		}()
	}
	s, err := startSite(ctx, c.dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.plane.Stop()) }()
	runs, failure := do(ctx, s)
	if failure != nil {
		failure = fmt.Errorf("%w (logs: %s)", failure, c.dir)
	}
	if len(runs) == 0 {
		return failure
	}
	now, err := store(c.out, runs, budgets) // those that came to an end, also when another one did not
	if err != nil {
		return errors.Join(failure, err)
	}
	return errors.Join(failure, c.print(now, runs))
}

// print shows the runs and what they broke.
func (c *commands) print(now report, runs []run) error {
	for _, r := range runs {
		fmt.Print(text(r))
	}
	fmt.Printf("scale: %s\n", filepath.Join(c.out, "claims.json"))
	for _, line := range now.Broken {
		fmt.Println("over budget:", line)
	}
	if n := len(now.Broken); n > 0 {
		return fmt.Errorf("%d budgets are broken", n)
	}
	return nil
}
