package process

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	"sigs.k8s.io/cluster-api/controllers/remote"
	ctrl "sigs.k8s.io/controller-runtime"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/beskar7/beskar7/controllers"
	"github.com/beskar7/beskar7/controllers/media"
	"github.com/beskar7/beskar7/controllers/settings"
	"github.com/beskar7/beskar7/pkg/config"
	"github.com/beskar7/beskar7/pkg/daemon"
	"github.com/beskar7/beskar7/pkg/endpoint"
	"github.com/beskar7/beskar7/pkg/lease"
	"github.com/beskar7/beskar7/pkg/metrics"
	"github.com/beskar7/beskar7/pkg/redfish"
)

// process is the manager with everything that hangs on it.
type process struct {
	manager ctrl.Manager
	log     logr.Logger
	// illegible tells what keeps the manager from starting: what the manager runs itself waits for the caches.
	illegible *controllers.Illegible
}

// newProcess builds the manager and all its parts. Who runs where (D5): webhooks, media and the settings watch on every
// replica; the controllers and the BMC gate in the one that holds the driver lease.
func newProcess(ctx context.Context, rc *rest.Config, scheme *runtime.Scheme, s config.Settings, sources config.Sources) (*process, error) {
	live, err := settings.New(s, sources)
	if err != nil {
		return nil, err
	}
	live.UseTable(func(vendor string) config.Tuning { return config.Tuning{Cooldown: redfish.TuningOf(vendor).Cooldown} })
	ctrl.SetLogger(live.Logger())
	klog.SetLogger(live.Logger()) // what the client libraries say obeys log.* too
	log := live.Logger().WithName("setup")
	limitRequests(rc, s)
	id := identity(s)
	lock, err := lease.NewDriverLock(rc, leaseNamespace(s), id, s.LeaderElection.RenewDeadline, clock.RealClock{})
	if err != nil {
		return nil, err
	}
	mgr, err := ctrl.NewManager(rc, managerOptions(s, scheme, lock))
	if err != nil {
		return nil, fmt.Errorf("make the manager: %w", err)
	}
	recorder, err := metrics.New(ctrlmetrics.Registry, controllers.MetricLabels())
	if err != nil {
		return nil, err
	}
	daemon.ObserveClients(recorder)
	p := &parts{mgr: mgr, settings: s, live: live, lease: lock, metrics: recorder, wake: controllers.NewWaker(), wakeMachine: controllers.NewWaker(),
		streams: &media.Failures{Clock: clock.RealClock{}}, identity: id, reach: reachPolicy(s, apiServer(ctx, rc)),
		illegible: &controllers.Illegible{Reader: mgr.GetAPIReader(), Scheme: scheme, Namespace: s.Scope.Namespace}}
	if err := p.assemble(ctx); err != nil {
		return nil, err
	}
	return &process{manager: mgr, log: log, illegible: p.illegible}, nil
}

// reachPolicy is what the settings say of where BMCs and image servers may be; they were checked when they were loaded.
func reachPolicy(s config.Settings, api []netip.AddrPort) *endpoint.Policy {
	allow, _ := config.ParseNetworks(s.Addresses.Allow)
	deny, _ := config.ParseNetworks(s.Addresses.Deny)
	return endpoint.NewPolicy(endpoint.PolicyOptions{Allow: allow, Deny: deny, API: api})
}

// apiServer is where the API server of this cluster is: where this process finds it, and where every Pod does.
func apiServer(ctx context.Context, rc *rest.Config) []netip.AddrPort {
	found := endpoint.Resolve(ctx, rc.Host)
	if host, port := os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT"); host != "" {
		found = append(found, endpoint.Resolve(ctx, "https://"+net.JoinHostPort(host, port))...)
	}
	return found
}

// limitRequests bounds what the manager asks of the API server.
func limitRequests(rc *rest.Config, s config.Settings) {
	rc.QPS, rc.Burst = float32(s.KubeAPI.QPS), s.KubeAPI.Burst
	rc.UserAgent = remote.DefaultClusterAPIUserAgent("beskar7-controller-manager")
}

func leaseNamespace(s config.Settings) string {
	if s.LeaderElection.Namespace != "" {
		return s.LeaderElection.Namespace
	}
	return s.Pod.NamespaceOrDefault()
}

// identity tells this process from every other, also from an earlier one of the same Pod.
func identity(s config.Settings) string {
	name := s.Pod.Name
	if name == "" {
		name, _ = os.Hostname()
	}
	return name + "_" + string(uuid.NewUUID())
}
