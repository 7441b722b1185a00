// Command manager is Beskar7: a Cluster API infrastructure provider for bare metal over Redfish.
package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime/debug"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/util/uuid"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/controllers/clustercache"
	"sigs.k8s.io/cluster-api/controllers/remote"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/webhook"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/controllers"
	"github.com/beskar7/beskar7/controllers/media"
	"github.com/beskar7/beskar7/controllers/settings"
	"github.com/beskar7/beskar7/pkg/actuator"
	"github.com/beskar7/beskar7/pkg/bootmedia"
	"github.com/beskar7/beskar7/pkg/cli"
	"github.com/beskar7/beskar7/pkg/config"
	"github.com/beskar7/beskar7/pkg/coordinator"
	"github.com/beskar7/beskar7/pkg/coordinator/bmcqueue"
	"github.com/beskar7/beskar7/pkg/endpoint"
	"github.com/beskar7/beskar7/pkg/lease"
	"github.com/beskar7/beskar7/pkg/metrics"
	"github.com/beskar7/beskar7/pkg/redfish"
	"github.com/beskar7/beskar7/pkg/scope"
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
	for _, add := range []func() error{
		func() error { return clusterv1.AddToScheme(scheme) },
		func() error { return v1beta1.AddToScheme(scheme) },
	} {
		if err := add(); err != nil {
			return fmt.Errorf("build the scheme: %w", err)
		}
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

// process is the manager with everything that hangs on it.
type process struct {
	manager ctrl.Manager
	log     logr.Logger
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
	controllers.ObserveClients(recorder)
	p := &parts{mgr: mgr, settings: s, live: live, lease: lock, metrics: recorder, wake: controllers.NewWaker(), wakeMachine: controllers.NewWaker(),
		streams: &media.Failures{Clock: clock.RealClock{}}, identity: id, reach: reachPolicy(s, apiServer(ctx, rc))}
	if err := p.assemble(ctx); err != nil {
		return nil, err
	}
	return &process{manager: mgr, log: log}, nil
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

// How the time to end is used: a Pod has 30 s (terminationGracePeriodSeconds). The gate drains, cancels what is left and gives it
// 5 s, logs out; then the lease is let go.
const (
	shutdownTimeout = 27 * time.Second
	drainTimeout    = 15 * time.Second
	logoutTimeout   = 5 * time.Second
)

// managerOptions: of Secrets the manager's cache holds metadata only, of all of them, as a changed BMC Secret must be seen;
// see clusterSecrets for those whose data is cached.
func managerOptions(s config.Settings, scheme *runtime.Scheme, lock *lease.Lock) ctrl.Options {
	patience := shutdownTimeout
	o := ctrl.Options{
		Scheme: scheme, GracefulShutdownTimeout: &patience,
		LeaderElection: true, LeaderElectionResourceLockInterface: lock, LeaderElectionReleaseOnCancel: true,
		LeaseDuration: &s.LeaderElection.LeaseDuration, RenewDeadline: &s.LeaderElection.RenewDeadline, RetryPeriod: &s.LeaderElection.RetryPeriod,
		HealthProbeBindAddress: s.Metrics.ProbeAddress,
		Metrics:                metricsOptions(s),
		WebhookServer:          webhook.NewServer(webhook.Options{Port: s.Webhook.Port, CertDir: s.Webhook.CertDir, TLSOpts: []func(*tls.Config){tlsOptions(s.TLS)}}),
		Client:                 client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&corev1.ConfigMap{}, &corev1.Secret{}}}},
	}
	o.Cache.DefaultTransform = cache.TransformStripManagedFields() // nobody here reads them, and each writer adds to them
	if s.Metrics.EnableProfiling {
		o.PprofBindAddress = s.Metrics.ProfilingAddress
	}
	if s.Scope.Namespace != "" {
		o.Cache.DefaultNamespaces = map[string]cache.Config{s.Scope.Namespace: {}}
	}
	return o
}

// metricsOptions: unless the settings ask for plain metrics, the API server is asked who scrapes and whether they may.
func metricsOptions(s config.Settings) metricsserver.Options {
	address, secure := s.Metrics.Endpoint()
	o := metricsserver.Options{BindAddress: address, SecureServing: secure, TLSOpts: []func(*tls.Config){tlsOptions(s.TLS)}}
	if secure {
		o.FilterProvider = filters.WithAuthenticationAndAuthorization
	}
	return o
}

// tlsOptions puts the settings of TLS into a server's; they were checked when they were loaded.
func tlsOptions(s config.TLS) func(*tls.Config) {
	return func(c *tls.Config) {
		c.MinVersion = tls.VersionTLS12
		if s.MinVersion == "VersionTLS13" {
			c.MinVersion = tls.VersionTLS13
		}
		c.CipherSuites, _ = config.CipherSuiteIDs(s.CipherSuites)
	}
}

func leaseNamespace(s config.Settings) string {
	if s.LeaderElection.Namespace != "" {
		return s.LeaderElection.Namespace
	}
	return podNamespace(s)
}

func podNamespace(s config.Settings) string {
	if s.Pod.Namespace != "" {
		return s.Pod.Namespace
	}
	return "beskar7-system"
}

// identity tells this process from every other, also from an earlier one of the same Pod.
func identity(s config.Settings) string {
	name := s.Pod.Name
	if name == "" {
		name, _ = os.Hostname()
	}
	return name + "_" + string(uuid.NewUUID())
}

// parts are what the pieces of the process share while they are put together.
type parts struct {
	mgr      ctrl.Manager
	settings config.Settings
	live     *settings.Live
	lease    *lease.Lock
	metrics  *metrics.Recorder
	wake     *controllers.Waker
	// wakeMachine wakes machines, as wake wakes hosts.
	wakeMachine *controllers.Waker
	// streams is what went wrong when this replica served images.
	streams *media.Failures
	// identity of this process in Leases.
	identity string
	// certificate is what the media door shows; nil: media are served over http.
	certificate media.Certificate
	// reach says where BMCs and image servers may be.
	reach *endpoint.Policy
}

func (p *parts) assemble(ctx context.Context) error {
	secrets, err := p.clusterSecrets()
	if err != nil {
		return err
	}
	clusters, err := clustercache.SetupWithManager(ctx, p.mgr, clustercache.Options{
		SecretClient: secrets, WatchFilterValue: p.settings.Scope.WatchFilter,
		Cache:  clustercache.CacheOptions{Indexes: []clustercache.CacheOptionsIndex{clustercache.NodeProviderIDIndex}},
		Client: clustercache.ClientOptions{UserAgent: remote.DefaultClusterAPIUserAgent("beskar7"), Cache: clustercache.ClientCacheOptions{DisableFor: []client.Object{&corev1.ConfigMap{}, &corev1.Secret{}}}},
	}, controller.Options{MaxConcurrentReconciles: p.settings.Reconcile.MaxConcurrentReconciles})
	if err != nil {
		return fmt.Errorf("set up the workload cluster cache: %w", err)
	}
	server, err := p.addMedia(ctx, secrets)
	if err != nil {
		return err
	}
	hands, err := p.addGate()
	if err != nil {
		return err
	}
	if err := p.addControllers(ctx, secrets, clusters, server, hands); err != nil {
		return err
	}
	return p.addChecks()
}

// clusterSecrets reads the Secrets that belong to clusters (kubeconfigs, bootstrap data) from a cache of its own. A label
// selector in the manager's cache would hold for the metadata of Secrets too, and hide the BMC Secrets from the watch.
func (p *parts) clusterSecrets() (client.Reader, error) {
	ofClusters, err := labels.NewRequirement(clusterv1.ClusterNameLabel, selection.Exists, nil)
	if err != nil {
		return nil, err
	}
	o := cache.Options{HTTPClient: p.mgr.GetHTTPClient(), Scheme: p.mgr.GetScheme(), Mapper: p.mgr.GetRESTMapper(),
		DefaultLabelSelector: labels.NewSelector().Add(*ofClusters), DefaultTransform: cache.TransformStripManagedFields()}
	if ns := p.settings.Scope.Namespace; ns != "" {
		o.DefaultNamespaces = map[string]cache.Config{ns: {}}
	}
	secrets, err := cache.New(p.mgr.GetConfig(), o)
	if err != nil {
		return nil, fmt.Errorf("make the cache of cluster Secrets: %w", err)
	}
	return secrets, p.mgr.Add(everywhere{secrets.Start})
}

// addGate adds the BMC gate, which runs only under the driver lease.
func (p *parts) addGate() (*actuator.Actuator, error) {
	queue := bmcqueue.New(bmcqueue.Options{Settings: p.live.Gate(), Fence: p.lease, Done: p.wake.Wake, Observer: p.metrics, DrainTimeout: drainTimeout})
	p.live.OnChange(func() { queue.Apply(p.live.Gate()) })
	gauges := controllers.Gauges{Client: p.mgr.GetClient(), WatchFilter: p.settings.Scope.WatchFilter, Queue: queue.Stats, QueueLimit: func() int { return p.live.Gate().MaxQueueSize }, Driving: p.lease.Valid, Metrics: p.metrics,
		Elected: p.mgr.Elected(), Interval: p.gaugesInterval()}
	if err := p.mgr.Add(everywhere{gauges.Run}); err != nil {
		return nil, err
	}
	dump := controllers.DumpOnSignal{Dump: queue.Dump, Log: p.live.Logger().WithName("gate")}
	if err := p.mgr.Add(everywhere{dump.Run}); err != nil {
		return nil, err
	}
	pool := redfish.NewPool(p.driverOptions())
	err := p.mgr.Add(manager.RunnableFunc(func(ctx context.Context) error { return p.drive(ctx, queue, pool) }))
	return actuator.New(actuator.Options{Gate: queue, Driver: pool, Clock: clock.RealClock{}, Changed: p.wake.Wake}), err
}

func (p *parts) driverOptions() redfish.Options {
	return redfish.Options{Installation: controllers.Installation(p.mgr.GetConfig(), leaseNamespace(p.settings)), Reach: p.reach}
}

// drive runs the gate for as long as this process leads. When the lease is lost the manager ends, and the process with it; when the
// process is asked to end, the lease is let go only after nothing can be on its way to a BMC any more.
func (p *parts) drive(ctx context.Context, queue *bmcqueue.Queue, pool *redfish.Pool) error {
	queue.TakeOver(p.lease.HandOver(), p.live.Settings().QuietTime())
	if err := queue.Run(ctx); err != nil {
		return err
	}
	if !p.lease.Valid() {
		return nil // a log-out would be a request that is not ours to make
	}
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), logoutTimeout)
	defer cancel()
	_ = pool.Close(closing) // logs out; what cannot be reached ends its sessions by itself
	if queue.Settled() {
		p.lease.Settled()
	}
	return nil
}

func (p *parts) addControllers(ctx context.Context, secrets client.Reader, clusters clustercache.ClusterCache, server *bootmedia.Server, hands *actuator.Actuator) error {
	claims, err := p.claims(ctx)
	if err != nil {
		return err
	}
	r := p.reconcilers(secrets, clusters, server, hands)
	r.Machine.Claims = claims
	return controllers.SetupAll(ctx, p.mgr, r, p.setupOptions())
}

// reconcilers are all of them, but for what makes claims.
func (p *parts) reconcilers(secrets client.Reader, clusters clustercache.ClusterCache, server *bootmedia.Server, hands *actuator.Actuator) controllers.Reconcilers {
	c, real, filter := p.mgr.GetClient(), clock.RealClock{}, p.settings.Scope.WatchFilter
	return controllers.Reconcilers{
		Host: &controllers.PhysicalHostReconciler{Client: c, Reader: p.mgr.GetAPIReader(), SecretReader: secrets, SecretMeta: p.mgr.GetCache(), Actuator: hands, Media: server,
			Tokens: media.NewTokens(), Streams: p.streams, ClusterCache: clusters, Events: p.mgr.GetEventRecorder("beskar7"), Metrics: p.metrics, Clock: real, BMC: p.live.BMC,
			MaxBoots: func() int { return p.live.Settings().Provisioning.MaxBoots },
			MediaURL: p.mediaURL(), PhoneHomeURL: p.phoneHomeURL(), PhoneHomeCA: p.phoneHomeCA, Certificate: p.certificate, Reach: p.reach, ClaimGrace: coordinator.DefaultGrace, WatchFilter: filter},
		Machine:  &controllers.Beskar7MachineReconciler{Client: c, Reader: p.mgr.GetAPIReader(), ClusterCache: clusters, Clock: real, WatchFilter: filter},
		Cluster:  &controllers.Beskar7ClusterReconciler{Client: c, WatchFilter: filter},
		Template: &controllers.Beskar7MachineTemplateReconciler{Client: c, WatchFilter: filter},
	}
}

func (p *parts) setupOptions() controllers.SetupOptions {
	return controllers.SetupOptions{MaxConcurrentReconciles: p.settings.Reconcile.MaxConcurrentReconciles, Wake: p.wake, WakeMachine: p.wakeMachine,
		Timeout: func() time.Duration { return p.live.Settings().Reconcile.Timeout }, SyncPeriod: p.live.Period(func(s config.Settings) time.Duration { return s.Reconcile.SyncPeriod })}
}

func (p *parts) gaugesInterval() settings.Period {
	return p.live.Period(func(s config.Settings) time.Duration { return s.Metrics.Interval })
}

// claims makes the claimer of the machine controller in the mode that is set. In claim-leader mode this replica also stands for
// arbiter, whether it drives or not.
func (p *parts) claims(ctx context.Context) (coordinator.Claimer, error) {
	s := p.settings.ClaimCoordinator
	options := coordinator.Options{Client: p.mgr.GetClient(), Reader: p.mgr.GetAPIReader(), Fence: p.lease.Fence, Settings: p.live.Selection, Owned: p.owned,
		Clock: clock.RealClock{}, Random: rand.Reader, Observer: p.metrics, Informed: true, Wake: p.wakeMachine.WakeObject}
	if !s.Enabled {
		return coordinator.NewOptimistic(options), nil
	}
	lock, err := lease.NewClaimLock(p.mgr.GetConfig(), podNamespace(p.settings), p.identity, s.LeaseDuration, s.RenewDeadline, clock.RealClock{})
	if err != nil {
		return nil, err
	}
	wishes := controllers.Wishes{Client: p.mgr.GetClient(), WatchFilter: p.settings.Scope.WatchFilter}
	options.Fence = lock.Fence
	arbiter := coordinator.NewArbiter(coordinator.ArbiterOptions{Options: options, Clock: clock.RealClock{}, Wish: wishes.Of,
		Namespace: p.settings.Scope.Namespace, Workers: p.settings.Reconcile.MaxConcurrentReconciles, Progress: p.metrics})
	if err := wishes.Feed(ctx, p.mgr.GetCache(), arbiter); err != nil {
		return nil, err
	}
	candidacy := p.candidacy(lock, arbiter)
	return coordinator.NewConfirmer(options, lock.Alive), p.mgr.Add(everywhere{candidacy.Run})
}

// owned says whether an object is this manager's to see to.
func (p *parts) owned(o client.Object) bool {
	return scope.Owned(p.settings.Scope.WatchFilter, o)
}

// candidacy is how this replica stands for arbiter.
func (p *parts) candidacy(lock *lease.ClaimLock, arbiter *coordinator.Arbiter) *lease.Candidacy {
	s := p.settings.ClaimCoordinator
	return &lease.Candidacy{Lease: lock, LeaseDuration: s.LeaseDuration, RenewDeadline: s.RenewDeadline, RetryPeriod: s.RetryPeriod,
		Arbiter: arbiter, Ready: p.mgr.GetCache().WaitForCacheSync}
}

// addChecks makes /healthz and /readyz mean something, and adds webhooks and the settings watch to every replica.
func (p *parts) addChecks() error {
	if err := p.mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return err
	}
	if p.settings.Webhook.CertDir != "" {
		if err := controllers.SetupWebhooks(p.mgr); err != nil {
			return err
		}
		if err := p.mgr.AddReadyzCheck("webhook", p.mgr.GetWebhookServer().StartedChecker()); err != nil {
			return err
		}
	}
	if err := p.mgr.AddReadyzCheck("caches", cachesSynced(p.mgr.GetCache())); err != nil {
		return err
	}
	if err := p.mgr.AddReadyzCheck("settings", p.live.Ready); err != nil {
		return err
	}
	return p.mgr.Add(everywhere{func(ctx context.Context) error { return p.live.Watch(ctx, p.mgr, p.metrics) }})
}

// everywhere runs on every replica, leader or not.
type everywhere struct{ run func(context.Context) error }

func (e everywhere) Start(ctx context.Context) error { return e.run(ctx) }
func (everywhere) NeedLeaderElection() bool          { return false }

// cachesSynced is ready once the manager's caches are.
func cachesSynced(c cache.Cache) healthz.Checker {
	return func(r *http.Request) error {
		soon, cancel := context.WithTimeout(r.Context(), time.Second)
		defer cancel()
		if !c.WaitForCacheSync(soon) {
			return errors.New("the caches are not synced yet")
		}
		return nil
	}
}
