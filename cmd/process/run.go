package process

import (
	"context"
	"fmt"

	"github.com/go-logr/logr"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/beskar7/beskar7/controllers/settings"
	"github.com/beskar7/beskar7/pkg/cli"
	"github.com/beskar7/beskar7/pkg/config"
	"github.com/beskar7/beskar7/pkg/lease"
)

// Run loads the settings that the arguments lead to, wires everything up, and serves until the context ends. Arguments that only ask
// for help or for the version are answered.
func Run(ctx context.Context, args []string, version string) error {
	flags, told, err := cli.Flags(args, version)
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
	process.log.Info("Starting", startedAs(s, version)...)
	go process.illegible.Run(logr.NewContext(ctx, process.log), process.manager.GetCache().WaitForCacheSync)
	return process.manager.Start(ctx)
}

// startedAs is what the first line of the log says.
func startedAs(s config.Settings, version string) []any {
	election := "elected"
	if !s.LeaderElection.Enabled {
		election = "off: the Lease to drive BMCs is taken all the same, and other replicas wait for it"
	}
	return []any{"version", version, "node", s.Pod.Node, "leaderElection", election, "lease", lease.DriverName}
}
