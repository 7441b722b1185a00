package controllers

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/bootmedia"
)

// MediaSource answers the media server from the API: what a token hash stands for, and where a phone-home is kept. It runs on
// every replica, so that any of them serves any host.
type MediaSource struct {
	// Client reads hosts from the cache and writes receipts.
	Client client.Client
	// WatchFilter is the value of the watch-filter label of the hosts that are served; empty: all.
	WatchFilter string
	// SecretReader reads bootstrap Secrets.
	SecretReader client.Reader
	Clock        clock.PassiveClock
	// PhoneHomeURL is the base URL that booted systems are given; empty: they are not asked to report.
	PhoneHomeURL string
	// PhoneHomeCA gives the authority that booted systems need to trust for it; nil: none but their own.
	PhoneHomeCA func() []byte
}

var (
	_ bootmedia.Source   = (*MediaSource)(nil)
	_ bootmedia.Recorder = (*MediaSource)(nil)
)

// Grant says what a token hash stands for now. A release ends it at once, as does its expiry.
func (s *MediaSource) Grant(ctx context.Context, tokenHash string) (bootmedia.Grant, error) {
	host, err := s.hostOf(ctx, tokenHash)
	if err != nil {
		return bootmedia.Grant{}, err
	}
	claim, boot := host.Spec.Claim, host.Spec.Boot
	if boot == nil || claim.Release != nil {
		return bootmedia.Grant{}, bootmedia.ErrUnknown
	}
	secret := &corev1.Secret{}
	err = s.SecretReader.Get(ctx, client.ObjectKey{Namespace: host.Namespace, Name: boot.BootstrapSecret}, secret)
	if apierrors.IsNotFound(err) {
		return bootmedia.Grant{}, bootmedia.ErrUnknown
	}
	if err != nil {
		return bootmedia.Grant{}, fmt.Errorf("read bootstrap Secret: %w", err)
	}
	content, err := contentOf(host, secret)
	if err != nil {
		return bootmedia.Grant{}, err
	}
	content.ImagePin = bootmedia.Pin{ETag: claim.Media.ImageETag, Length: claim.Media.ImageLength}
	if s.PhoneHomeCA != nil {
		content.PhoneHomeCA = s.PhoneHomeCA()
	}
	grant := bootmedia.Grant{Host: key(host), PhoneHomeBase: s.phoneHomeBase(host), Content: content}
	if claim.Media.Expires != nil {
		grant.Expires = claim.Media.Expires.Time
	}
	return grant, nil
}

// contentOf is what a claimed host's media are made of.
func contentOf(host *v1beta1.PhysicalHost, secret *corev1.Secret) (bootmedia.Content, error) {
	claim, boot := host.Spec.Claim, host.Spec.Boot
	network, err := renderNetwork(bootmedia.Family(boot.OSFamily), host.Spec.NetworkData)
	if err != nil {
		return bootmedia.Content{}, err
	}
	return bootmedia.Content{
		Family: bootmedia.Family(boot.OSFamily), ImageURL: boot.ImageURL, Checksum: boot.Checksum,
		InstanceID: "beskar7-" + claim.ID, Hostname: claim.Machine, FailureDomain: host.Spec.FailureDomain,
		ProviderID: v1beta1.ProviderID(host.Namespace, host.Name, claim.ID),
		UserData:   secret.Data["value"], UserDataFormat: string(secret.Data["format"]), NetworkData: network,
	}, nil
}

func (s *MediaSource) phoneHomeBase(host *v1beta1.PhysicalHost) string {
	if host.Spec.PhoneHomeURL != "" {
		return host.Spec.PhoneHomeURL
	}
	return s.PhoneHomeURL
}

func (s *MediaSource) hostOf(ctx context.Context, tokenHash string) (*v1beta1.PhysicalHost, error) {
	hosts := &v1beta1.PhysicalHostList{}
	if err := s.Client.List(ctx, hosts, client.MatchingFields{hostByToken: tokenHash}); err != nil {
		return nil, fmt.Errorf("look up the token: %w", err)
	}
	if len(hosts.Items) != 1 || !Owned(s.WatchFilter, &hosts.Items[0]) {
		return nil, bootmedia.ErrUnknown
	}
	return &hosts.Items[0], nil
}

// PhoneHome makes a receipt durable before the booted system gets its answer. A success stays; a failure may still be followed
// by a success, as when a unit is retried.
func (s *MediaSource) PhoneHome(ctx context.Context, tokenHash string, outcome bootmedia.Outcome, detail string) error {
	for range 5 {
		host, err := s.hostOf(ctx, tokenHash)
		if err != nil {
			return err
		}
		if host.Spec.Claim.Release != nil {
			return bootmedia.ErrUnknown // nobody waits for it any more
		}
		if p := host.Spec.Claim.PhoneHome; p != nil && (p.Outcome == v1beta1.PhoneHomeSucceeded || string(p.Outcome) == string(outcome)) {
			return nil
		}
		base := host.DeepCopy()
		if len(detail) > maxDetail {
			detail = detail[:maxDetail]
		}
		host.Spec.Claim.PhoneHome = &v1beta1.PhoneHome{Outcome: v1beta1.PhoneHomeOutcome(outcome), ReceivedAt: metav1.NewTime(s.Clock.Now()), Detail: detail}
		err = s.Client.Patch(ctx, host, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{}))
		if err == nil || !apierrors.IsConflict(err) {
			return err
		}
	}
	return errors.New("the host changes too often to record the report now")
}

// maxDetail is the limit of the API for a report's detail, in bytes.
const maxDetail = 512
