package controllers

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/annotations"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/controllers/media"
	"github.com/beskar7/beskar7/controllers/settings"
	"github.com/beskar7/beskar7/pkg/actuator"
	"github.com/beskar7/beskar7/pkg/bootmedia"
	"github.com/beskar7/beskar7/pkg/coordinator"
	"github.com/beskar7/beskar7/pkg/coordinator/bmcqueue"
	"github.com/beskar7/beskar7/pkg/endpoint"
	"github.com/beskar7/beskar7/pkg/provision"
	"github.com/beskar7/beskar7/pkg/redfish"
)

// gathered is everything that is known of a host at one moment, in the shape that decision, action and status need.
type gathered struct {
	brief       actuator.Brief
	observation actuator.Observation
	// queue is what the gate says of the host, once the decision was handed to it.
	queue    bmcqueue.Status
	facts    provision.Facts
	machine  *v1beta1.Beskar7Machine
	cluster  *clusterv1.Cluster
	standing coordinator.Standing
	// holding is what the standing was judged by, if there is a claim.
	holding coordinator.Holding
	// connected is what the Secret said; nil with fault set.
	connected *connection
	// fault in what a user wrote that keeps the BMC from being used.
	fault *inputError
	// refused is the wish that the gate had no room for; "" if none.
	refused provision.Action
	// now is when the status is written.
	now time.Time
	// contentReason and contentMessage say what the boot media wait for.
	contentReason, contentMessage string
	// progress is how far what the host waits for has come.
	progress string
	// image is what Prepare said, for the grant.
	image bootmedia.Prepared
	// content is what the media of a new grant are made of; nil while they cannot be made.
	content *bootmedia.Content
	// mediaExpired: the URLs of the claim's media are dead.
	mediaExpired bool
	// uncovered says at which of the host's URLs the media door is not trusted, and why.
	uncovered string
	// streamFault is what went wrong with the image since the last boot from it.
	streamFault string
	// boots are those in a row without a sign of life, nextBoot when the next is due, rowOverdue that the first one is overdue.
	boots      int32
	nextBoot   time.Time
	rowOverdue bool
	// nodeNamed is the Node of provision.Facts.NodeNamed.
	nodeNamed *corev1.Node
	// bootUncertain: the boot deadline has passed, and nobody can say whether the Node is there.
	bootUncertain bool
	// duplicateOf is the PhysicalHost of the same server that has the better right to it.
	duplicateOf string
	// alsoClaimed is another PhysicalHost of the same server that is claimed, too, and has the lesser right to it.
	alsoClaimed string
	// deadlines that have not passed yet: when to look again.
	deadlines []time.Time
}

// gather collects the facts of a host. Reads come from the cache unless reader is the live one.
func (r *PhysicalHostReconciler) gather(ctx context.Context, reader client.Reader, host *v1beta1.PhysicalHost) (*gathered, error) {
	g := &gathered{}
	if observed, ok := r.Actuator.Observed(key(host)); ok {
		g.observation = observed
	}
	if err := r.gatherClaim(ctx, reader, host, g); err != nil {
		return nil, err
	}
	f := &g.brief.Facts
	f.Claim = claimOf(g.standing)
	f.Paused = isPaused(host, g)
	f.Quarantined = host.Spec.Quarantine != nil
	f.Maintenance = host.Spec.Maintenance
	f.Consent = host.Spec.ConsentToErase
	f.KeepOn = host.Spec.PowerPolicy != v1beta1.PowerPolicyObserve
	f.AlwaysOn = host.Spec.PowerPolicy == v1beta1.PowerPolicyAlwaysOn
	f.Deleting = !host.DeletionTimestamp.IsZero()
	f.Inventoried = host.Status.Hardware != nil && host.Status.BMC != nil
	g.brief.Server, g.brief.Accepted = recordedServer(host), acceptedServer(host)
	g.brief.ClaimID = ""
	if claim := host.Spec.Claim; claim != nil {
		r.gatherTenancy(host, claim, g)
		if err := r.gatherSecrets(ctx, host, g); err != nil {
			return nil, err
		}
		r.gatherBoots(host, g)
		if err := r.gatherLife(ctx, host, g); err != nil {
			return nil, err
		}
		if err := r.gatherGrant(ctx, host, g); err != nil {
			return nil, err
		}
		if err := r.gatherContent(ctx, reader, host, g); err != nil {
			return nil, err
		}
	}
	if err := r.gatherDuplicate(ctx, host, g); err != nil {
		return nil, err
	}
	g.uncovered = r.uncovered(host)
	g.facts = actuator.Complete(g.brief, g.observation)
	return g, nil
}

// gatherClaim reads who claims the host and judges it.
func (r *PhysicalHostReconciler) gatherClaim(ctx context.Context, reader client.Reader, host *v1beta1.PhysicalHost, g *gathered) error {
	claim := host.Spec.Claim
	if claim == nil {
		g.standing = coordinator.StandingNone
		r.unsettled.forget(key(host))
		return nil
	}
	machine, cluster := &v1beta1.Beskar7Machine{}, &clusterv1.Cluster{}
	err := reader.Get(ctx, client.ObjectKey{Namespace: host.Namespace, Name: claim.Machine}, machine)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("read the claiming machine: %w", err)
	}
	if err == nil {
		g.machine = machine
	}
	err = reader.Get(ctx, client.ObjectKey{Namespace: host.Namespace, Name: claim.Cluster}, cluster)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("read the claiming cluster: %w", err)
	}
	if err == nil {
		g.cluster = cluster
	}
	r.judgeClaim(host, g)
	return nil
}

// judgeClaim says what the claim is worth, and when that will change by itself.
func (r *PhysicalHostReconciler) judgeClaim(host *v1beta1.PhysicalHost, g *gathered) {
	now := r.Clock.Now()
	g.holding = coordinator.Holding{Host: host, Machine: g.machine, Cluster: g.cluster, Now: now, ClaimedSince: now, Grace: r.ClaimGrace}
	g.standing = coordinator.Judge(g.holding)
	if g.standing != coordinator.StandingUnconfirmed && g.standing != coordinator.StandingOrphaned {
		r.unsettled.forget(key(host))
		return
	}
	g.holding.ClaimedSince = r.unsettled.since(key(host), now, position{claim: host.Spec.Claim.ID, machine: g.machine != nil, cluster: g.cluster != nil})
	if g.standing = coordinator.Judge(g.holding); g.standing == coordinator.StandingUnconfirmed || g.standing == coordinator.StandingOrphaned {
		g.deadlines = append(g.deadlines, g.holding.ClaimedSince.Add(r.ClaimGrace))
	}
}

func claimOf(s coordinator.Standing) provision.Claim {
	switch s {
	case coordinator.StandingNone:
		return provision.ClaimNone
	case coordinator.StandingConfirmed:
		return provision.ClaimHeld
	case coordinator.StandingUnconfirmedExpired:
		return provision.ClaimExpired
	case coordinator.StandingReleasing:
		return provision.ClaimReleasing
	case coordinator.StandingOrphanExpired:
		return provision.ClaimOrphanExpired
	case coordinator.StandingOrphaned:
		return provision.ClaimOrphaned
	case coordinator.StandingOrphanBound:
		return provision.ClaimOrphanBound
	case coordinator.StandingUnconfirmed, coordinator.StandingPaused:
	}
	return provision.ClaimUnconfirmed
}

// isPaused: by the machine controller's mark, by a person's annotation, by the cluster, or because clusterctl is removing the
// object after it moved.
func isPaused(host *v1beta1.PhysicalHost, g *gathered) bool {
	_, moving := host.Annotations[clusterctlDeleteForMove]
	return moving || host.Spec.Paused || annotations.HasPaused(host) || g.standing == coordinator.StandingPaused
}

// clusterctlDeleteForMove is set by `clusterctl move` on what it deletes from the source cluster.
const clusterctlDeleteForMove = "clusterctl.cluster.x-k8s.io/delete-for-move"

// gatherTenancy fills what spec and status say of the claim.
func (r *PhysicalHostReconciler) gatherTenancy(host *v1beta1.PhysicalHost, claim *v1beta1.Claim, g *gathered) {
	f, now := &g.brief.Facts, r.Clock.Now()
	g.brief.ClaimID = claim.ID
	f.Bound, f.DataOpen = claim.Bound, !claim.Bound
	f.GiveUp = host.Annotations[v1beta1.ReleaseUnverifiedAnnotation] == claim.ID
	if boot := host.Spec.Boot; boot != nil {
		f.Install = boot.BootMode == v1beta1.BootModeInstall
		g.brief.Family = bootmedia.Family(boot.OSFamily)
	}
	if m := claim.Media; m != nil {
		f.Granted = true
		if m.DataUntil != nil && claim.Bound {
			f.DataOpen = now.Before(m.DataUntil.Time)
			g.deadlines = append(g.deadlines, m.DataUntil.Time)
		}
		g.mediaExpired = m.Expires != nil && !m.Expires.After(now)
		if !g.mediaExpired {
			g.brief.Hash = m.TokenHash
			g.brief.URLs = r.Tokens.URLs(m.TokenHash, r.mediaBase(host))
		}
	}
	f.Report = provision.ReportNone
	if p := claim.PhoneHome; p != nil {
		f.Report = provision.ReportFailed
		if p.Outcome == v1beta1.PhoneHomeSucceeded {
			f.Report = provision.ReportSucceeded
		}
	}
	if b := host.Status.Booted; b != nil && b.ClaimID == claim.ID {
		f.Booted = true
		g.streamFault = r.Streams.Since(key(host), b.At.Add(-media.StreamSlack))
	}
	if claim.Release != nil {
		due := claim.Release.RequestedAt.Add(releaseTimeout(host))
		f.ReleaseOverdue = !now.Before(due)
		g.deadlines = append(g.deadlines, due)
	}
}

// bootedAt is when the last boot for the claim was seen; zero: there was none.
func bootedAt(host *v1beta1.PhysicalHost, o actuator.Observation) time.Time {
	at, b := o.Boots[host.Spec.Claim.ID], host.Status.Booted
	switch {
	case ranAgain(host, o):
		return o.At // it is counted with the status that is written now
	case b != nil && b.ClaimID == host.Spec.Claim.ID && b.At.After(at):
		return b.At.Time
	}
	return at
}

// gatherContent says whether our media could be inserted now.
func (r *PhysicalHostReconciler) gatherContent(ctx context.Context, reader client.Reader, host *v1beta1.PhysicalHost, g *gathered) error {
	f := &g.brief.Facts
	f.Content = provision.ContentWaiting
	if g.standing != coordinator.StandingConfirmed || host.Spec.Boot == nil || f.Bound && (f.Install || !f.AlwaysOn) {
		return nil
	}
	if f.Bound && g.observation.State.Power != redfish.PowerOff {
		return nil // it runs from what was recorded, and needs no other media before it is off
	}
	fault, err := r.contentFault(ctx, reader, host, g)
	if err != nil {
		return err
	}
	if fault != nil {
		g.contentReason, g.contentMessage = fault.reason, fault.message
		return nil //nolint:nilerr // a user's fault is a fact, told in the conditions
	}
	f.Content = provision.ContentNoToken
	if g.brief.Hash != "" && g.brief.URLs != nil {
		f.Content = provision.ContentReady
	}
	return nil
}

// contentFault is what keeps our media from being inserted, or nil.
func (r *PhysicalHostReconciler) contentFault(ctx context.Context, reader client.Reader, host *v1beta1.PhysicalHost, g *gathered) (*inputError, error) {
	base := r.mediaBase(host)
	if base == "" {
		return &inputError{v1beta1.ReasonMediaNotReady, "the manager knows no media URL for BMCs: set --media-advertise-url, or spec.mediaURL of this host"}, nil
	}
	if !endpoint.Secure(base) && !host.Spec.AllowPlainMedia {
		return &inputError{v1beta1.ReasonMediaNotAllowed, "boot media would go over plain http, and they hold secrets: serve them over https (--media-ca-secret), or set spec.allowPlainMedia of this host"}, nil
	}
	if g.brief.Hash != "" && g.brief.URLs != nil && len(g.observation.Refused) == 0 && !media.DataClosed(host.Spec.Claim, r.Clock.Now()) {
		return nil, nil // granted: the media were recorded, and are to go where they were to go then
	}
	secret, err := r.bootstrapData(ctx, host, g)
	if fault := (*inputError)(nil); errors.As(err, &fault) {
		return fault, nil
	}
	if err != nil {
		return nil, err
	}
	content, err := media.ContentOf(host, secret)
	if err == nil {
		err = checkMedia(content, g)
	}
	if err != nil {
		return &inputError{v1beta1.ReasonUnsupported, err.Error()}, nil
	}
	prepared, err := r.Media.Prepare(ctx, host.Spec.Boot.ImageURL, host.Spec.Boot.Checksum)
	switch {
	case errors.Is(err, context.Canceled):
		return nil, err
	case err != nil:
		g.deadlines = append(g.deadlines, r.Clock.Now().Add(imageRetry))
		return &inputError{v1beta1.ReasonImageUnusable, err.Error()}, nil
	case !prepared.Ready:
		g.deadlines = append(g.deadlines, r.Clock.Now().Add(imageRetry))
		g.progress = "image: " + prepared.Progress
		if prepared.Failed != "" {
			return &inputError{v1beta1.ReasonImageUnusable, prepared.Failed}, nil
		}
		return &inputError{v1beta1.ReasonMediaNotReady, "the image is being fetched and checked; how far that is: status.progress"}, nil
	}
	content.Looks = &prepared.Looks
	if err := checkMedia(content, g); err != nil {
		return &inputError{v1beta1.ReasonUnsupported, err.Error()}, nil
	}
	g.image, g.content = prepared, &content
	return nil, nil
}

// checkMedia says what keeps our media from being made, or from being read by the system in the image: before a server is
// touched, not when its BMC asks for them. It is asked twice: with what is known at once, and with what was seen in the image.
func checkMedia(content bootmedia.Content, g *gathered) error {
	medium := bootmedia.Boot
	if g.observation.Slots != nil {
		placements, err := actuator.Plan(g.brief.Family, g.observation)
		if err != nil {
			return err
		}
		medium = placements[0].Medium
	}
	return bootmedia.Check(content, medium)
}

// mediaBase is the URL under which this host's BMC reaches the media server.
func (r *PhysicalHostReconciler) mediaBase(host *v1beta1.PhysicalHost) string {
	if host.Spec.MediaURL != "" {
		return host.Spec.MediaURL
	}
	return r.MediaURL
}

// Defaults of the per-host times in Tuning.
const (
	defaultBootTimeout     = 30 * time.Minute
	defaultShutdownTimeout = 3 * time.Minute
	defaultReleaseTimeout  = 10 * time.Minute
	// settleTimeout bounds the wait for the effect of any other operation: Ironic waits as long for media.
	settleTimeout = 90 * time.Second
	// imageRetry is when an image that could not be prepared is looked at again.
	imageRetry = 15 * time.Second
)

func bootTimeout(h *v1beta1.PhysicalHost) time.Duration {
	return settings.Tuned(settings.TuningOf(h).BootTimeout, defaultBootTimeout)
}

func shutdownTimeout(h *v1beta1.PhysicalHost) time.Duration {
	return settings.Tuned(settings.TuningOf(h).ShutdownTimeout, defaultShutdownTimeout)
}

func releaseTimeout(h *v1beta1.PhysicalHost) time.Duration {
	return settings.Tuned(settings.TuningOf(h).ReleaseTimeout, defaultReleaseTimeout)
}

// restOf is how long the host's BMC is left alone after a change: as its owner says, else as the vendor table knows.
func restOf(h *v1beta1.PhysicalHost) actuator.Rest {
	if own := settings.TuningOf(h).SettleTime; own != nil {
		rest := max(own.Duration, 0)
		return actuator.Rest{AfterEject: rest, AfterInsert: rest, AfterPower: rest}
	}
	known := redfish.TuningOf(settings.IdentifiedAs(h))
	return actuator.Rest{AfterEject: known.AfterEject, AfterInsert: known.AfterInsert, AfterPower: known.AfterPower}
}
