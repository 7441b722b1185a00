package controllers

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/cluster-api/controllers/clustercache"
	"sigs.k8s.io/cluster-api/util/finalizers"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/controllers/media"
	"github.com/beskar7/beskar7/pkg/actuator"
	"github.com/beskar7/beskar7/pkg/config"
	"github.com/beskar7/beskar7/pkg/endpoint"
	"github.com/beskar7/beskar7/pkg/provision"
	"github.com/beskar7/beskar7/pkg/scope"
)

// +kubebuilder:rbac:groups=infrastructure.cluster.x-k8s.io,resources=physicalhosts,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=infrastructure.cluster.x-k8s.io,resources=physicalhosts/status,verbs=patch
// +kubebuilder:rbac:groups="",resources=secrets,verbs=create;delete;get;list;watch;patch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// PhysicalHostReconciler brings hosts from what they are to what spec says. It is the only writer of host status, the only one
// that hands work to the BMC gate, and never waits for hardware.
type PhysicalHostReconciler struct {
	Client client.Client
	// Reader reads live from the API server: Secrets, and facts right before something is changed at a BMC.
	Reader client.Reader
	// SecretReader reads bootstrap Secrets from a cache of the Secrets that belong to clusters.
	SecretReader client.Reader
	// SecretMeta reads the metadata of all Secrets from the cache.
	SecretMeta client.Reader
	Actuator   *actuator.Actuator
	Media      media.Preparer
	Tokens     *media.Tokens
	// Streams is told what goes wrong when this process serves images; nil: nothing is.
	Streams      *media.Failures
	ClusterCache clustercache.ClusterCache
	Events       events.EventRecorder
	// Metrics are told how long hosts are in their states, and of boots that fail; nil: nobody is.
	Metrics HostMetrics
	Clock   clock.PassiveClock
	// BMC gives the settings that hold for a host's BMC now.
	BMC func(*v1beta1.PhysicalHost) config.Tuning
	// MediaURL is the base URL that BMCs are given, and PhoneHomeURL that of booted systems; a host can override both.
	MediaURL, PhoneHomeURL string
	// MaxBoots is how many boots in a row, without a sign of life, a claim may have; nil: defaultMaxBoots.
	MaxBoots func() int
	// PhoneHomeCA gives the authority that booted systems need to trust for it; nil: none but their own.
	PhoneHomeCA func() []byte
	// Certificate is what the media door shows; nil: media are served over http.
	Certificate media.Certificate
	// Reach says where BMCs may be; nil: anywhere.
	Reach *endpoint.Policy
	// ClaimGrace is how long an unconfirmed or orphaned claim may stay.
	ClaimGrace time.Duration
	// WatchFilter is the value of the watch-filter label that objects must have; empty: all.
	WatchFilter string

	watcher   clustercache.SourceWatcher[ctrl.Request]
	known     connections
	secrets   secretsRead
	guarding  guarding
	announced announcements
	unsettled unsettled
	twins     twins
}

// Reconcile looks at one host: gather, decide, act, report.
func (r *PhysicalHostReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	host := &v1beta1.PhysicalHost{}
	if err := r.Client.Get(ctx, req.NamespacedName, host); err != nil {
		if client.IgnoreNotFound(err) != nil {
			return ctrl.Result{}, err
		}
		r.letGo(req)
		return ctrl.Result{}, r.unguard(ctx, req.NamespacedName)
	}
	if !scope.Owned(r.WatchFilter, host) {
		r.letGo(req) // another manager's: its BMC is that one's, too
		return ctrl.Result{}, nil
	}
	if added, err := finalizers.EnsureFinalizer(ctx, r.Client, host, v1beta1.HostFinalizer); err != nil || added {
		return ctrl.Result{}, err
	}
	guarded, err := r.guardSecret(ctx, host)
	if err != nil {
		return ctrl.Result{}, err
	}
	connected, fault, err := r.track(ctx, host, guarded)
	if err != nil {
		return ctrl.Result{}, err
	}
	again := r.inspectUnfit(host)
	g, err := r.gather(ctx, r.Client, host)
	if err != nil {
		return ctrl.Result{}, err
	}
	g.connected, g.fault = connected, fault
	g.deadlines = append(g.deadlines, again)
	if recorded, err := r.recordServer(ctx, host, g); err != nil || recorded {
		return ctrl.Result{}, err
	}
	if err := r.watchCluster(ctx, g); err != nil {
		return ctrl.Result{}, err
	}
	decision := provision.Decide(g.facts)
	if over, err := r.act(ctx, host, g, decision); err != nil || over {
		return ctrl.Result{}, err
	}
	if err := r.report(ctx, host, g, decision); err != nil {
		return ctrl.Result{}, err
	}
	return r.next(g), nil
}

// track makes the host known to the gate, unless a user's fault keeps it from being reached.
func (r *PhysicalHostReconciler) track(ctx context.Context, host *v1beta1.PhysicalHost, guarded bool) (*connection, *inputError, error) {
	connected, err := r.connect(ctx, host)
	if err == nil && !guarded && unbegun(host) {
		err = &inputError{v1beta1.ReasonSecretNotFound, "a Secret of the BMC is being deleted, and nothing is begun for the claim with it: once it is gone, create it anew"}
	}
	var fault *inputError
	if errors.As(err, &fault) {
		r.forget(key(host))
		return nil, fault, nil
	}
	if err != nil {
		return nil, nil, err
	}
	tracking := actuator.Tracking{Host: key(host), Namespace: host.Namespace, Target: connected.target, Credential: connected.credential,
		Interval: r.pollInterval(client.ObjectKeyFromObject(host))}
	if p := host.Status.ParkedCredential; connected.isOf(p) {
		tracking.ParkedUntil = p.Since.Add(parkFor)
	}
	if err := r.Actuator.Track(tracking); err != nil {
		return nil, &inputError{v1beta1.ReasonConnectionInvalid, "spec.redfishConnection cannot be used: " + err.Error()}, nil
	}
	if retryAsked(host) {
		r.Actuator.RetryNow(key(host))
		if host.Spec.Boot != nil && r.Media != nil {
			r.Media.Again(host.Spec.Boot.ImageURL)
		}
	}
	return &connected, nil, nil
}

// letGo is for a host that is gone, or not this manager's any more: the gate drops what waits for its BMC.
func (r *PhysicalHostReconciler) letGo(host ctrl.Request) {
	r.forget(host.String())
	r.announced.forget(host.String())
	r.unsettled.forget(host.String())
	r.twins.drop(host.NamespacedName)
}

func (r *PhysicalHostReconciler) forget(host string) {
	r.Actuator.Forget(host)
	r.known.drop(host)
	r.Streams.Drop(host)
}

// parkFor is how long a refused credential is left alone, unless it changes: BMCs lock accounts.
const parkFor = time.Hour

// Poll intervals. A poll costs one request; what is being worked on is read by its operations. A host that rests is asked
// seldom, one whose next move is awaited more often.
const (
	pollIdle    = 2 * time.Minute
	pollBound   = 90 * time.Second
	pollAwaited = 30 * time.Second
)

// pollInterval is asked by the gate before each poll, so it looks the host up anew.
func (r *PhysicalHostReconciler) pollInterval(name client.ObjectKey) func() time.Duration {
	return func() time.Duration {
		host := &v1beta1.PhysicalHost{}
		if err := r.Client.Get(context.Background(), name, host); err != nil {
			return pollIdle
		}
		return pollEvery(host)
	}
}

func pollEvery(host *v1beta1.PhysicalHost) time.Duration {
	switch claim := host.Spec.Claim; {
	case claim != nil && claim.Bound && claim.Release == nil:
		return pollBound
	case claim != nil || host.Status.State == v1beta1.StatePoweredOn:
		return pollAwaited
	}
	return pollIdle
}

// watchCluster asks to be woken by the Nodes of a claimed host's cluster.
func (r *PhysicalHostReconciler) watchCluster(ctx context.Context, g *gathered) error {
	if g.cluster == nil || g.facts.Bound || r.watcher == nil {
		return nil
	}
	cluster := client.ObjectKeyFromObject(g.cluster)
	return watchNodesFor(ctx, r.ClusterCache, cluster, "physicalhost-nodes", r.watcher, r.hostsOfNode(cluster))
}

// next is when time alone changes something.
func (r *PhysicalHostReconciler) next(g *gathered) ctrl.Result {
	now, result := r.Clock.Now(), ctrl.Result{}
	for _, at := range g.deadlines {
		if wait := at.Sub(now); wait > 0 && (result.RequeueAfter == 0 || wait < result.RequeueAfter) {
			result.RequeueAfter = wait
		}
	}
	return result
}

// key is the host's name at the gate and the actuator.
func key(host *v1beta1.PhysicalHost) string {
	return fmt.Sprintf("%s/%s", host.Namespace, host.Name)
}
