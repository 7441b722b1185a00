// Command manager is Beskar7: a Cluster API infrastructure provider for bare metal over Redfish.
package main

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"

	"github.com/go-logr/logr"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/beskar7/beskar7/controllers/settings"
	"github.com/beskar7/beskar7/pkg/cli"
	"github.com/beskar7/beskar7/pkg/config"
	"github.com/beskar7/beskar7/pkg/lease"
)

// version is set by the linker.
var version = "v0.0.0-dev"

// heapGrowth, in percent, is what the heap may grow by between two collections, where GOGC does not say it. Half of Go's default:
// a fleet of 1,000 keeps some 45 MiB alive, and it is the garbage beside them that decides about memory, not about CPU.
const heapGrowth = 50

func main() {
	ctx := ctrl.SetupSignalHandler()
	if cli.Handles(os.Args[1:]) {
		ctrl.SetLogger(logr.Discard())
		klog.SetLogger(logr.Discard()) // a port-forward that ends is no line for an operator
		os.Exit(cli.New(cli.Options{Env: os.Environ()}).Run(ctx, os.Args[1:]))
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(heapGrowth)
	}
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "manager:", err)
		os.Exit(1)
	}
}

// run loads the settings, wires everything up and serves until the context ends.
func run(ctx context.Context) error {
	flags, told, err := cli.Flags(os.Args[1:], version)
	if told || err != nil {
		return err
	}
	scheme := clientgoscheme.Scheme
	if err := cli.AddToScheme(scheme); err != nil {
		return fmt.Errorf("build the scheme: %w", err)
	}
	rest, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("find the API server: %w", err)
	}
	sources, err := settings.Read(ctx, rest, flags)
	if err != nil {
		return err
	}
	s, findings := config.Load(sources)
	if len(findings.Errors) > 0 {
		return settings.Invalid(findings)
	}
	process, err := newProcess(ctx, rest, scheme, s, sources)
	if err != nil {
		return err
	}
	for _, w := range findings.Warnings {
		process.log.Info("Setting", "key", w.Key, "source", w.Origin.String(), "warning", w.Message)
	}
	process.log.Info("Starting", startedAs(s)...)
	go process.illegible.Run(logr.NewContext(ctx, process.log), process.manager.GetCache().WaitForCacheSync)
	return process.manager.Start(ctx)
}

// startedAs is what the first line of the log says.
func startedAs(s config.Settings) []any {
	election := "elected"
	if !s.LeaderElection.Enabled {
		election = "off: the Lease to drive BMCs is taken all the same, and other replicas wait for it"
	}
	return []any{"version", version, "node", s.Pod.Node, "leaderElection", election, "lease", lease.DriverName}
}
