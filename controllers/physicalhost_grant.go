package controllers

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/controllers/media"
	"github.com/beskar7/beskar7/pkg/bootmedia"
	"github.com/beskar7/beskar7/pkg/redfish"
)

// grantLifetime bounds how long the media URLs of an installation work; those of a Live system work until its release.
const grantLifetime = 24 * time.Hour

// bootsOfGrant is how many boot timeouts a grant serves bootstrap data to a host that is not bound: the medium is inserted before
// the first, and a boot that is tried again gets a new grant once less than one is left.
const bootsOfGrant = 3

// bootsOfAnother is the same for the one more boot of a bound host: the boot, and as long again until it begins. A grant with less than
// a boot left while the server is off is replaced, so that no data end in mid boot.
const bootsOfAnother = 2

// mint draws a media token, records what its media are made of, and then its hash. The token itself is only kept in memory, and
// in the URLs that the BMC gets.
func (r *PhysicalHostReconciler) mint(ctx context.Context, host *v1beta1.PhysicalHost, g *gathered) error {
	if g.content == nil {
		return errors.New("mint a media grant: it is not known what the media are made of")
	}
	token, err := bootmedia.NewToken()
	if err != nil {
		return err
	}
	record, err := r.render(host, g, token)
	if err != nil {
		return err
	}
	secret, hash, err := record.Secret(host)
	if err != nil {
		return err
	}
	now, timeout := r.Clock.Now(), bootTimeout(host)
	grant := &v1beta1.MediaGrant{TokenHash: token.Hash(), MediumHash: hash, ImageETag: record.ImageETag, ImageLength: record.ImageLength,
		DataUntil: ptr.To(metav1.NewTime(now.Add(bootsOfGrant * timeout)))}
	if g.facts.Bound { // the one more boot that its owner's word allows
		grant.DataUntil = ptr.To(metav1.NewTime(now.Add(bootsOfAnother * timeout)))
	}
	if g.facts.Install {
		grant.Expires = ptr.To(metav1.NewTime(now.Add(grantLifetime)))
	}
	if err := r.Client.Create(ctx, secret); err != nil {
		return fmt.Errorf("record what the media are made of in Secret %s: %w", secret.Name, err)
	}
	before := host.Spec.Claim.Media
	r.Tokens.Keep(token)
	if err := r.write(ctx, host, func(h *v1beta1.PhysicalHost) { h.Spec.Claim.Media = grant }); err != nil {
		r.Tokens.Drop(token.Hash())
		if apierrors.IsConflict(err) || apierrors.IsInvalid(err) || apierrors.IsForbidden(err) {
			return errors.Join(err, client.IgnoreNotFound(r.Client.Delete(ctx, secret))) // refused for certain: nobody has the data
		}
		// Whether the write was lost or only its answer is not known: MediumSweep finds out.
		return err
	}
	return r.dropMedium(ctx, host, before)
}

// render says what the media of a token are made of.
func (r *PhysicalHostReconciler) render(host *v1beta1.PhysicalHost, g *gathered, token bootmedia.Token) (*media.Record, error) {
	content := *g.content
	if base := media.PhoneHomeBase(host, r.PhoneHomeURL); base != "" {
		content.PhoneHomeURL = bootmedia.PhoneHomeURL(base, token)
	}
	if r.PhoneHomeCA != nil {
		content.PhoneHomeCA = r.PhoneHomeCA()
	}
	rendered, err := bootmedia.Render(content)
	if err != nil {
		return nil, fmt.Errorf("render the boot media: %w", err)
	}
	return &media.Record{Host: host.Name, ClaimID: host.Spec.Claim.ID, TokenHash: token.Hash(), BootstrapSecret: host.Spec.Boot.BootstrapSecret,
		Family: content.Family, ImageURL: content.ImageURL, Checksum: content.Checksum,
		ImageETag: g.image.Pin.ETag, ImageLength: g.image.Pin.Length, ImageMirror: g.image.Pin.Mirror, Rendered: rendered}, nil
}

// markBound ends the service of bootstrap data, whatever was granted.
func markBound(h *v1beta1.PhysicalHost) {
	h.Spec.Claim.Bound = true
	if h.Spec.Claim.Media != nil {
		h.Spec.Claim.Media.DataUntil = nil
	}
}

// revoke ends a grant.
func (r *PhysicalHostReconciler) revoke(ctx context.Context, host *v1beta1.PhysicalHost) error {
	before := host.Spec.Claim.Media
	if err := r.write(ctx, host, func(h *v1beta1.PhysicalHost) { h.Spec.Claim.Media = nil }); err != nil {
		return err
	}
	return r.dropMedium(ctx, host, before)
}

// holdsData says whether a record has all that the next boot is to read: a crash may have taken the data out before the claim was bound.
func holdsData(secret *corev1.Secret, host *v1beta1.PhysicalHost) bool {
	record, err := media.ReadRecord(secret, host)
	return err == nil && record.Whole
}

// gatherGrant looks whether the grant of a host that is off can serve its next boot. If it cannot, it counts as none: what is in
// the slots is taken out, and a new one is made. A host that runs keeps what it booted from.
func (r *PhysicalHostReconciler) gatherGrant(ctx context.Context, host *v1beta1.PhysicalHost, g *gathered) error {
	grant := host.Spec.Claim.Media
	if g.brief.Hash == "" || grant == nil || g.observation.State.Power != redfish.PowerOff {
		return nil
	}
	if host.Spec.Claim.Bound && (grant.DataUntil == nil || g.brief.Facts.Install || !g.brief.Facts.AlwaysOn) {
		return nil // not made for another boot
	}
	spent := grant.DataUntil != nil && grant.DataUntil.Sub(r.Clock.Now()) < bootTimeout(host)
	if !spent {
		record, err := media.RecordOf(ctx, r.SecretReader, host)
		if apierrors.IsNotFound(err) { // the cache may be behind the create
			record, err = media.RecordOf(ctx, r.Reader, host)
		}
		wrong := media.RecordError("")
		if err != nil && !errors.As(err, &wrong) && !apierrors.IsNotFound(err) {
			return err
		}
		spent = err != nil || !holdsData(record, host)
	}
	if spent {
		g.brief.Hash, g.brief.URLs = "", nil
		g.brief.Facts.DataOpen = g.brief.Facts.DataOpen && !host.Spec.Claim.Bound
	} else if grant.DataUntil != nil {
		g.deadlines = append(g.deadlines, grant.DataUntil.Add(-bootTimeout(host)))
	}
	return nil
}

// bootstrapData reads the bootstrap Secret of a host's claim, if it is that of the Machine that claims it: whoever may write hosts
// is not thereby allowed to have any Secret served.
func (r *PhysicalHostReconciler) bootstrapData(ctx context.Context, host *v1beta1.PhysicalHost, g *gathered) (*corev1.Secret, error) {
	name := host.Spec.Boot.BootstrapSecret
	_, err := media.BootstrapOwner(ctx, r.Client, g.machine, name)
	wrong := media.RecordError("")
	switch {
	case errors.As(err, &wrong):
		return nil, &inputError{v1beta1.ReasonBootstrapDataRefused, err.Error() + "; delete the Machine, which gives the host back, and see who writes spec.boot"}
	case errors.Is(err, bootmedia.ErrNotYet):
		return nil, &inputError{v1beta1.ReasonBootstrapDataMissing, fmt.Sprintf("Beskar7Machine %s has no Machine that names bootstrap Secret %q (yet)", g.machine.Name, name)}
	case err != nil:
		return nil, err
	}
	secret := &corev1.Secret{}
	err = r.SecretReader.Get(ctx, client.ObjectKey{Namespace: host.Namespace, Name: name}, secret)
	switch {
	case apierrors.IsNotFound(err) || (err == nil && len(secret.Data["value"]) == 0):
		return nil, &inputError{v1beta1.ReasonBootstrapDataMissing, fmt.Sprintf("bootstrap Secret %q is not there (yet), or has no data", name)}
	case err != nil:
		return nil, fmt.Errorf("read bootstrap Secret: %w", err)
	}
	return secret, nil
}

// blankMedium takes the bootstrap data out of the record of a host's grant. It is done before the host is marked bound, which
// closes them, so that a crash in between repeats it. A Secret that the API server lets nobody change, such as one that somebody made
// immutable, is left for media.Sweep: the mark alone ends the service of the data, and a system that runs must not wait for it.
func (r *PhysicalHostReconciler) blankMedium(ctx context.Context, host *v1beta1.PhysicalHost) error {
	if host.Spec.Claim.Media == nil {
		return nil
	}
	secret, err := media.RecordOf(ctx, r.SecretReader, host)
	if wrong := media.RecordError(""); errors.As(err, &wrong) || apierrors.IsNotFound(err) {
		return nil // nothing of ours to take them out of
	}
	if err != nil {
		return err
	}
	patch, err := media.Blanked(secret)
	if patch == nil || err != nil {
		return err
	}
	err = client.IgnoreNotFound(r.Client.Patch(ctx, secret, patch))
	if refused(err) {
		ctrl.LoggerFrom(ctx).Error(err, "Cannot take the bootstrap data out of the Secret of a medium; they are not served any more, and stay in it until it can be changed", "secret", secret.Name)
		return nil
	}
	if err != nil {
		return fmt.Errorf("take the bootstrap data out of the medium's Secret %s: %w", secret.Name, err)
	}
	return nil
}

// dropMedium deletes the record of a grant that has ended. What a crash leaves is collected by media.Sweep.
func (r *PhysicalHostReconciler) dropMedium(ctx context.Context, host *v1beta1.PhysicalHost, grant *v1beta1.MediaGrant) error {
	if grant == nil || grant.MediumHash == "" {
		return nil
	}
	secret := &corev1.Secret{}
	err := r.SecretReader.Get(ctx, client.ObjectKey{Namespace: host.Namespace, Name: media.RecordName(host.Name, grant.TokenHash)}, secret)
	if err != nil || secret.Type != v1beta1.MediumSecretType {
		return client.IgnoreNotFound(err)
	}
	return client.IgnoreNotFound(r.Client.Delete(ctx, secret, client.Preconditions{UID: &secret.UID}))
}
