package process

import (
	"context"
	"crypto/rand"
	"time"

	"k8s.io/utils/clock"
	"sigs.k8s.io/cluster-api/controllers/clustercache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/controllers"
	"github.com/beskar7/beskar7/controllers/media"
	"github.com/beskar7/beskar7/pkg/actuator"
	"github.com/beskar7/beskar7/pkg/bootmedia"
	"github.com/beskar7/beskar7/pkg/config"
	"github.com/beskar7/beskar7/pkg/coordinator"
	"github.com/beskar7/beskar7/pkg/lease"
	"github.com/beskar7/beskar7/pkg/scope"
)

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

// claims makes the claimer of the machine controller in the mode that is set. In claim-leader mode this replica also stands for
// arbiter, whether it drives or not.
func (p *parts) claims(ctx context.Context) (coordinator.Claimer, error) {
	s := p.settings.ClaimCoordinator
	options := coordinator.Options{Client: p.mgr.GetClient(), Reader: p.mgr.GetAPIReader(), Fence: p.lease.Fence, Settings: p.live.Selection, Owned: p.owned,
		Clock: clock.RealClock{}, Random: rand.Reader, Observer: p.metrics, Informed: true, Wake: p.wakeMachine.WakeObject}
	if !s.Enabled {
		return coordinator.NewOptimistic(options), nil
	}
	lock, err := lease.NewClaimLock(p.mgr.GetConfig(), p.settings.Pod.NamespaceOrDefault(), p.identity, s.LeaseDuration, s.RenewDeadline, clock.RealClock{})
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
