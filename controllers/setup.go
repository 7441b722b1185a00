package controllers

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util"
	capicontroller "sigs.k8s.io/cluster-api/util/controller"
	"sigs.k8s.io/cluster-api/util/predicates"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/controllers/media"
	"github.com/beskar7/beskar7/controllers/settings"
	"github.com/beskar7/beskar7/pkg/coordinator"
)

// Reconcilers are all controllers.
type Reconcilers struct {
	Host     *PhysicalHostReconciler
	Machine  *Beskar7MachineReconciler
	Cluster  *Beskar7ClusterReconciler
	Template *Beskar7MachineTemplateReconciler
}

// SetupOptions of the controllers.
type SetupOptions struct {
	MaxConcurrentReconciles int
	// Timeout bounds one reconcile; asked at the start of each.
	Timeout func() time.Duration
	// SyncPeriod is how often every object is looked at although nothing changed.
	SyncPeriod settings.Period
	// Wake carries the hosts that the gate and the actuator ask to be looked at.
	Wake *Waker
	// WakeMachine carries the machines that the claimer asks to be looked at.
	WakeMachine *Waker
}

// SetupAll registers indexes, watches and controllers with the manager.
func SetupAll(ctx context.Context, mgr ctrl.Manager, r Reconcilers, o SetupOptions) error {
	if err := IndexHosts(ctx, mgr.GetFieldIndexer()); err != nil {
		return err
	}
	w := wiring{Manager: mgr, controllers: controller.Options{MaxConcurrentReconciles: o.MaxConcurrentReconciles}, options: o}
	for name, setup := range map[string]func(context.Context, wiring) error{
		"PhysicalHost": r.Host.setup, "Beskar7Machine": r.Machine.setup, "Beskar7Cluster": r.Cluster.setup, "MachineTemplate": r.Template.setup,
	} {
		if err := setup(ctx, w); err != nil {
			return fmt.Errorf("set up the %s controller: %w", name, err)
		}
	}
	return nil
}

// wiring is what every controller is built with.
type wiring struct {
	ctrl.Manager
	controllers controller.Options
	options     SetupOptions
}

func (w wiring) resync(list client.ObjectList, filter string) source.Source {
	return resync{client: w.GetClient(), list: list, filter: filter, period: w.options.SyncPeriod}.source()
}

func (w wiring) bounded(r reconcile.Reconciler) reconcile.Reconciler {
	return bounded{Reconciler: quietly(r), timeout: w.options.Timeout}
}

func (r *PhysicalHostReconciler) setup(_ context.Context, mgr wiring) error {
	secret := &metav1.PartialObjectMetadata{}
	secret.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	log := mgr.GetLogger().WithName("physicalhost")
	// Not CAPI's builder: it looks at each object at most once a second, and a host takes a step as soon as its BMC allows.
	c, err := ctrl.NewControllerManagedBy(mgr.Manager).
		For(&v1beta1.PhysicalHost{}, builder.WithPredicates(ownedEvents(r.WatchFilter), specOrMetadataChanged)).
		WithOptions(mgr.controllers).
		Watches(&v1beta1.PhysicalHost{}, handler.EnqueueRequestsFromMapFunc(r.hostsOfServer), builder.WithPredicates(twinsConcerned)).
		Watches(&v1beta1.Beskar7Machine{}, handler.EnqueueRequestsFromMapFunc(r.hostsOfMachine), builder.WithPredicates(claimantMatters)).
		Watches(&clusterv1.Machine{}, handler.EnqueueRequestsFromMapFunc(r.hostsOfOwner), builder.WithPredicates(ownerMattersToHost)).
		Watches(&clusterv1.Cluster{}, handler.EnqueueRequestsFromMapFunc(r.hostsOfCluster), builder.WithPredicates(clusterMatters)).
		WatchesMetadata(secret, handler.EnqueueRequestsFromMapFunc(r.hostsOfSecret), builder.WithPredicates(predicates.ResourceIsChanged(mgr.GetScheme(), log))).
		WatchesRawSource(mgr.options.Wake.source()).
		WatchesRawSource(mgr.resync(&v1beta1.PhysicalHostList{}, r.WatchFilter)).
		WatchesRawSource(r.ClusterCache.GetClusterSource("physicalhost", r.hostsOfCluster)).
		Build(mgr.bounded(r))
	if err != nil {
		return err
	}
	r.watcher = c
	return nil
}

// specOrMetadataChanged keeps a host's own status writes from waking its reconciler: whatever changes status is an event of
// its own already. The conditions other controllers wait for are seen by their own watches.
var specOrMetadataChanged = predicate.Or[client.Object](predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{},
	predicate.LabelChangedPredicate{}, predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, after := e.ObjectOld, e.ObjectNew
		return before.GetDeletionTimestamp().IsZero() != after.GetDeletionTimestamp().IsZero() ||
			len(before.GetFinalizers()) != len(after.GetFinalizers()) || inventoryAppeared(before, after)
	}, CreateFunc: func(event.CreateEvent) bool { return true }, DeleteFunc: func(event.DeleteEvent) bool { return true }, GenericFunc: func(event.GenericEvent) bool { return true }})

// inventoryAppeared: what else is decided from status of this very object must be looked at once it is in the cache.
func inventoryAppeared(before, after client.Object) bool {
	b, ok1 := before.(*v1beta1.PhysicalHost)
	a, ok2 := after.(*v1beta1.PhysicalHost)
	return ok1 && ok2 && ((b.Status.Hardware == nil) != (a.Status.Hardware == nil) || b.Status.State != a.Status.State)
}

func (r *PhysicalHostReconciler) hostsOfMachine(ctx context.Context, o client.Object) []ctrl.Request {
	requests := r.hostsWith(ctx, o.GetNamespace(), coordinator.HostByClaimMachine, o.GetName())
	if m, ok := o.(*v1beta1.Beskar7Machine); ok && m.Spec.HostRef != nil {
		requests = append(requests, ctrl.Request{NamespacedName: client.ObjectKey{Namespace: m.Namespace, Name: m.Spec.HostRef.Name}})
	}
	return requests
}

// hostsOfOwner are the hosts that are claimed for the Beskar7Machine of a Machine.
func (r *PhysicalHostReconciler) hostsOfOwner(ctx context.Context, o client.Object) []ctrl.Request {
	if ref := o.(*clusterv1.Machine).Spec.InfrastructureRef; ref.Kind == "Beskar7Machine" && ref.APIGroup == v1beta1.GroupVersion.Group {
		return r.hostsWith(ctx, o.GetNamespace(), coordinator.HostByClaimMachine, ref.Name)
	}
	return nil
}

func (r *PhysicalHostReconciler) hostsOfCluster(ctx context.Context, o client.Object) []ctrl.Request {
	return r.hostsWith(ctx, o.GetNamespace(), hostByCluster, o.GetName())
}

func (r *PhysicalHostReconciler) hostsOfSecret(ctx context.Context, o client.Object) []ctrl.Request {
	return append(r.hostsWith(ctx, o.GetNamespace(), hostBySecret, o.GetName()), r.hostsWith(ctx, o.GetNamespace(), hostByBootstrap, o.GetName())...)
}

func (r *PhysicalHostReconciler) hostsWith(ctx context.Context, namespace, field, value string) []ctrl.Request {
	hosts := &v1beta1.PhysicalHostList{}
	if err := r.Client.List(ctx, hosts, client.InNamespace(namespace), client.MatchingFields{field: value}, client.UnsafeDisableDeepCopy); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Cannot map an event to hosts", "field", field)
		return nil
	}
	return requestsFor(r.WatchFilter, hosts.Items)
}

func (r *Beskar7MachineReconciler) setup(ctx context.Context, mgr wiring) error {
	log := mgr.GetLogger().WithName("beskar7machine")
	ofCluster, err := util.ClusterToTypedObjectsMapper(r.Client, &v1beta1.Beskar7MachineList{}, mgr.GetScheme())
	if err != nil {
		return err
	}
	c, err := capicontroller.NewControllerManagedBy(mgr.Manager, log).
		For(&v1beta1.Beskar7Machine{}, builder.WithPredicates(ownedEvents(r.WatchFilter))).
		WithOptions(mgr.controllers).
		Watches(&clusterv1.Machine{}, handler.EnqueueRequestsFromMapFunc(util.MachineToInfrastructureMapFunc(v1beta1.GroupVersion.WithKind("Beskar7Machine"))), ownerMatters).
		Watches(&clusterv1.Cluster{}, handler.EnqueueRequestsFromMapFunc(ofCluster), predicates.ClusterPausedTransitionsOrInfrastructureProvisioned(mgr.GetScheme(), log)).
		Watches(&v1beta1.PhysicalHost{}, r.hostEvents()).
		WatchesRawSource(r.ClusterCache.GetClusterSource("beskar7machine", ofCluster)).
		WatchesRawSource(mgr.options.WakeMachine.source()).
		WatchesRawSource(mgr.resync(&v1beta1.Beskar7MachineList{}, r.WatchFilter)).
		Build(ctx, mgr.bounded(r))
	if err != nil {
		return err
	}
	r.watcher = c
	return nil
}

// hostEvents wakes the machine of a host, its former one when a claim ended, and, when a host became available or changed what
// it offers, the one machine whose turn it is. What others are told of their wait follows with the next resync: to tell each of
// a thousand waiting machines of every host that changes would be all that we do.
func (r *Beskar7MachineReconciler) hostEvents() handler.EventHandler {
	return handler.TypedFuncs[client.Object, ctrl.Request]{
		CreateFunc: func(_ context.Context, e event.CreateEvent, q requestQueue) { r.hostEvent(nil, e.Object, q) },
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q requestQueue) {
			r.hostEvent(e.ObjectOld, e.ObjectNew, q)
		},
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, q requestQueue) { r.hostEvent(e.Object, nil, q) },
	}
}

func (r *Beskar7MachineReconciler) hostEvent(before, after client.Object, q requestQueue) {
	b, _ := before.(*v1beta1.PhysicalHost)
	a, _ := after.(*v1beta1.PhysicalHost)
	for _, h := range []*v1beta1.PhysicalHost{b, a} {
		if h != nil && h.Spec.Claim != nil {
			q.Add(ctrl.Request{NamespacedName: client.ObjectKey{Namespace: h.Namespace, Name: h.Spec.Claim.Machine}})
		}
	}
	for _, machine := range r.Claims.HostChanged(b, a) {
		q.Add(ctrl.Request{NamespacedName: machine})
	}
}

func (r *Beskar7ClusterReconciler) setup(ctx context.Context, mgr wiring) error {
	log := mgr.GetLogger().WithName("beskar7cluster")
	return capicontroller.NewControllerManagedBy(mgr.Manager, log).
		For(&v1beta1.Beskar7Cluster{}, builder.WithPredicates(ownedEvents(r.WatchFilter))).
		WithOptions(mgr.controllers).
		Watches(&clusterv1.Cluster{}, handler.EnqueueRequestsFromMapFunc(util.ClusterToInfrastructureMapFunc(ctx, v1beta1.GroupVersion.WithKind("Beskar7Cluster"), mgr.GetClient(), &v1beta1.Beskar7Cluster{})),
			clusterMattersToInfrastructure).
		Watches(&v1beta1.PhysicalHost{}, handler.EnqueueRequestsFromMapFunc(r.clustersOfNamespace), domainChanged).
		Watches(&v1beta1.Beskar7Machine{}, handler.EnqueueRequestsFromMapFunc(r.clusterOfMachine), predicate.Funcs{UpdateFunc: func(event.UpdateEvent) bool { return false }}).
		WatchesRawSource(mgr.resync(&v1beta1.Beskar7ClusterList{}, r.WatchFilter)).
		Complete(ctx, mgr.bounded(r))
}

func (r *Beskar7ClusterReconciler) clustersOfNamespace(ctx context.Context, o client.Object) []ctrl.Request {
	return r.list(ctx, client.InNamespace(o.GetNamespace()))
}

func (r *Beskar7ClusterReconciler) clusterOfMachine(ctx context.Context, o client.Object) []ctrl.Request {
	return r.list(ctx, client.InNamespace(o.GetNamespace()), client.MatchingLabels{clusterv1.ClusterNameLabel: o.GetLabels()[clusterv1.ClusterNameLabel]})
}

func (r *Beskar7ClusterReconciler) list(ctx context.Context, opts ...client.ListOption) []ctrl.Request {
	clusters := &v1beta1.Beskar7ClusterList{}
	if err := r.Client.List(ctx, clusters, append(opts, client.UnsafeDisableDeepCopy)...); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Cannot map an event to clusters")
		return nil
	}
	return requestsFor(r.WatchFilter, clusters.Items)
}

func (r *Beskar7MachineTemplateReconciler) setup(ctx context.Context, mgr wiring) error {
	log := mgr.GetLogger().WithName("beskar7machinetemplate")
	return capicontroller.NewControllerManagedBy(mgr.Manager, log).
		For(&v1beta1.Beskar7MachineTemplate{}, builder.WithPredicates(ownedEvents(r.WatchFilter))).
		WithOptions(mgr.controllers).
		Watches(&v1beta1.PhysicalHost{}, r.hostEvents(), hardwareChanged).
		WatchesRawSource(mgr.resync(&v1beta1.Beskar7MachineTemplateList{}, r.WatchFilter)).
		Complete(ctx, mgr.bounded(r))
}

// Field indexes of PhysicalHosts, besides those that others name.
const (
	hostByCluster = "spec.claim.cluster"
	hostBySecret  = "spec.redfishConnection.secrets"
	// hostByNeededSecret has the claimed hosts only.
	hostByNeededSecret = "spec.redfishConnection.secrets.claimed"
	hostByBootstrap    = "spec.boot.bootstrapSecret"
	hostByServer       = "status.hardware.identities"
)

// IndexHosts registers every index of hosts; SetupAll does it, too.
func IndexHosts(ctx context.Context, indexer client.FieldIndexer) error {
	indexes := map[string]func(*v1beta1.PhysicalHost) []string{
		hostByCluster: func(h *v1beta1.PhysicalHost) []string {
			if h.Spec.Claim == nil {
				return nil
			}
			return []string{h.Spec.Claim.Cluster}
		},
		hostBySecret:       secretsOf,
		hostByNeededSecret: secretsNeededBy,
		hostByBootstrap: func(h *v1beta1.PhysicalHost) []string {
			if h.Spec.Boot == nil {
				return nil
			}
			return []string{h.Spec.Boot.BootstrapSecret}
		},
		media.HostByToken: media.IndexHostByToken,
		hostByServer:      serverIdentities,
	}
	for field, extract := range indexes {
		if err := indexer.IndexField(ctx, &v1beta1.PhysicalHost{}, field, func(o client.Object) []string {
			return extract(o.(*v1beta1.PhysicalHost))
		}); err != nil {
			return fmt.Errorf("index PhysicalHosts by %s: %w", field, err)
		}
	}
	if err := indexer.IndexField(ctx, &v1beta1.PhysicalHost{}, coordinator.HostByClaimMachine, coordinator.IndexHostByClaimMachine); err != nil {
		return fmt.Errorf("index PhysicalHosts by %s: %w", coordinator.HostByClaimMachine, err)
	}
	return nil
}

// conflictRetry is long enough for the cache to see the write that was faster.
const conflictRetry = 100 * time.Millisecond

// quietly looks again soon after a write that was refused because the object had changed: that is how optimistic locking is
// meant to go, and no error.
func quietly(inner reconcile.Reconciler) reconcile.Reconciler {
	return reconcile.Func(func(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
		result, err := inner.Reconcile(ctx, req)
		if apierrors.IsConflict(err) {
			ctrl.LoggerFrom(ctx).V(1).Info("The object has changed meanwhile, looking again", "conflict", err.Error())
			return ctrl.Result{RequeueAfter: conflictRetry}, nil
		}
		return result, err
	})
}

// refused says whether the API server refuses a write whatever its version: no retry helps before somebody changes something.
func refused(err error) bool { return apierrors.IsInvalid(err) || apierrors.IsForbidden(err) }
