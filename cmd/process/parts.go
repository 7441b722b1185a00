package process

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/controllers/clustercache"
	"sigs.k8s.io/cluster-api/controllers/remote"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"

	"github.com/beskar7/beskar7/controllers"
	"github.com/beskar7/beskar7/controllers/media"
	"github.com/beskar7/beskar7/controllers/settings"
	"github.com/beskar7/beskar7/pkg/config"
	"github.com/beskar7/beskar7/pkg/endpoint"
	"github.com/beskar7/beskar7/pkg/lease"
	"github.com/beskar7/beskar7/pkg/metrics"
)

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
	// illegible tells which stored object keeps the caches empty.
	illegible *controllers.Illegible
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

// everywhere runs on every replica, leader or not.
type everywhere struct{ run func(context.Context) error }

func (e everywhere) Start(ctx context.Context) error { return e.run(ctx) }

func (everywhere) NeedLeaderElection() bool { return false }
