package media

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/bootmedia"
	"github.com/beskar7/beskar7/pkg/networkdata"
	"github.com/beskar7/beskar7/pkg/scope"
)

// Source answers the media server from the API: what a token hash stands for, and where a phone-home is kept. It runs on
// every replica, so that any of them serves any host.
type Source struct {
	// Client reads hosts and machines from the cache and writes receipts.
	Client client.Client
	// WatchFilter is the value of the watch-filter label of the hosts that are served; empty: all.
	WatchFilter string
	// SecretReader reads the records of media from a cache of the Secrets that belong to clusters.
	SecretReader client.Reader
	Clock        clock.PassiveClock
	// PhoneHomeURL is the base URL that booted systems of older grants were given.
	PhoneHomeURL string
	// Refused is told when bootstrap data are asked for that are not served, with the host and why; nil: nobody is. It has to
	// bound what it passes on: a drive that reads asks many times a second.
	Refused func(host, imageURL string, err error)

	mu sync.Mutex
	// read are records in the form in which they are served, by the hash of their token.
	read map[string]readRecord
	// late are the hosts that wait for what this replica has not seen yet.
	late map[string]lateness
}

// HostByToken is the field index of hosts by the hash of the token of their grant.
const HostByToken = "spec.claim.media.tokenHash"

// IndexHostByToken gives hostByToken its values.
func IndexHostByToken(h *v1beta1.PhysicalHost) []string {
	if h.Spec.Claim == nil || h.Spec.Claim.Media == nil {
		return nil
	}
	return []string{h.Spec.Claim.Media.TokenHash}
}

// readRecord is a record, and the version of its Secret.
type readRecord struct {
	version types.UID
	medium  *Record
}

// lateness is when a host was first and last answered "not yet".
type lateness struct{ first, last time.Time }

var (
	_ bootmedia.Source   = (*Source)(nil)
	_ bootmedia.Recorder = (*Source)(nil)
)

// Grant says what a token hash stands for now. A release ends it at once, as does its expiry. Bootstrap data are served as long
// as the host is unbound and the claim is confirmed by a machine that is to have them (I12); all else of a medium is served on,
// as a system may live on it. What this replica may only be late to see is bootmedia.ErrNotYet.
func (s *Source) Grant(ctx context.Context, tokenHash string) (bootmedia.Grant, error) {
	host, record, err := s.hostOf(ctx, tokenHash)
	if err != nil {
		return bootmedia.Grant{}, err
	}
	claim, now := host.Spec.Claim, s.Clock.Now()
	if claim.Release != nil || host.Spec.Boot == nil {
		return bootmedia.Grant{}, bootmedia.ErrUnknown
	}
	grant := bootmedia.Grant{Host: nameOfHost(host), Closed: DataClosed(claim, now)}
	if claim.Media.Expires != nil {
		grant.Expires = claim.Media.Expires.Time
	}
	if record == nil {
		return s.olderGrant(ctx, host, grant)
	}
	grant.Content = record.content()
	if !record.Whole {
		grant.Closed = true // taken out for good, be it a moment before the claim is marked bound: the rest is served on
	}
	if grant.Closed {
		return grant, nil
	}
	if grant.Closed, err = s.ended(ctx, host, record); err != nil {
		return bootmedia.Grant{}, s.refuse(host, err)
	}
	s.inTime(host)
	return grant, nil
}

// DataClosed says whether a claim's bootstrap data have had their reader, or their time.
func DataClosed(claim *v1beta1.Claim, now time.Time) bool {
	until := claim.Media.DataUntil
	if until == nil {
		return claim.Bound
	}
	return !now.Before(until.Time)
}

// ended says whether the machine whose data these are is going away. An error says why they are not served at all.
func (s *Source) ended(ctx context.Context, host *v1beta1.PhysicalHost, record *Record) (bool, error) {
	if host.Spec.Boot.BootstrapSecret != record.BootstrapSecret {
		return false, RecordError(fmt.Sprintf("the claim names bootstrap Secret %q, and the medium was made of %q", host.Spec.Boot.BootstrapSecret, record.BootstrapSecret))
	}
	machine := &v1beta1.Beskar7Machine{}
	err := s.Client.Get(ctx, client.ObjectKey{Namespace: host.Namespace, Name: host.Spec.Claim.Machine}, machine)
	if apierrors.IsNotFound(err) {
		return false, fmt.Errorf("%w: there is no Beskar7Machine %q that could have them", bootmedia.ErrNotYet, host.Spec.Claim.Machine)
	}
	if err != nil {
		return false, fmt.Errorf("read the claiming machine: %w", err)
	}
	if !host.ClaimedBy(machine) {
		return false, fmt.Errorf("%w: Beskar7Machine %q does not name host and claim", bootmedia.ErrNotYet, machine.Name)
	}
	owner, err := BootstrapOwner(ctx, s.Client, machine, record.BootstrapSecret)
	if err != nil {
		return false, err
	}
	return !machine.DeletionTimestamp.IsZero() || !owner.DeletionTimestamp.IsZero(), nil
}

// BootstrapOwner is the Machine of a Beskar7Machine, which has to name that bootstrap Secret. It is bootmedia.ErrNotYet where it
// is not there or names none yet, and a RecordError where it names another one.
func BootstrapOwner(ctx context.Context, reader client.Client, machine *v1beta1.Beskar7Machine, secret string) (*clusterv1.Machine, error) {
	owner, err := util.GetOwnerMachine(ctx, reader, machine.ObjectMeta)
	if client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("read the Machine of Beskar7Machine %s: %w", machine.Name, err)
	}
	if owner == nil || err != nil {
		return nil, fmt.Errorf("%w: Beskar7Machine %q has no Machine", bootmedia.ErrNotYet, machine.Name)
	}
	switch name := ptr.Deref(owner.Spec.Bootstrap.DataSecretName, ""); name {
	case secret:
		return owner, nil
	case "":
		return nil, fmt.Errorf("%w: Machine %q names no bootstrap Secret", bootmedia.ErrNotYet, owner.Name)
	default:
		return nil, RecordError(fmt.Sprintf("spec.boot names bootstrap Secret %q, and that of Machine %q is %q: bootstrap data are served to their own machine only", secret, owner.Name, name))
	}
}

// olderGrant is a grant without a record. A system that runs keeps its disc, as long as that can be made; nobody gets data.
func (s *Source) olderGrant(ctx context.Context, host *v1beta1.PhysicalHost, grant bootmedia.Grant) (bootmedia.Grant, error) {
	claim, boot := host.Spec.Claim, host.Spec.Boot
	if !claim.Bound {
		_, err := RecordOf(ctx, s.SecretReader, host)
		return bootmedia.Grant{}, s.refuse(host, err)
	}
	secret := &corev1.Secret{}
	err := s.SecretReader.Get(ctx, client.ObjectKey{Namespace: host.Namespace, Name: boot.BootstrapSecret}, secret)
	if apierrors.IsNotFound(err) {
		return bootmedia.Grant{}, bootmedia.ErrUnknown
	}
	if err != nil {
		return bootmedia.Grant{}, fmt.Errorf("read bootstrap Secret: %w", err)
	}
	if grant.Content, err = ContentOf(host, secret); err != nil {
		return bootmedia.Grant{}, err
	}
	grant.Content.ImagePin = bootmedia.Pin{ETag: claim.Media.ImageETag, Length: claim.Media.ImageLength}
	grant.PhoneHomeBase = PhoneHomeBase(host, s.PhoneHomeURL)
	grant.Closed = true
	return grant, nil
}

// ContentOf is what a claimed host's media are made of, before the image was looked into.
func ContentOf(host *v1beta1.PhysicalHost, secret *corev1.Secret) (bootmedia.Content, error) {
	claim, boot := host.Spec.Claim, host.Spec.Boot
	network, err := networkdata.Render(bootmedia.Family(boot.OSFamily), host.Spec.NetworkData)
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

// PhoneHomeBase is where a host's system reports to: as the host says, else as all are told.
func PhoneHomeBase(host *v1beta1.PhysicalHost, all string) string {
	if host.Spec.PhoneHomeURL != "" {
		return host.Spec.PhoneHomeURL
	}
	return all
}

// hostOf finds the host that a token was given out for, with the record of its medium; nil for a grant of an older version. Whoever
// copies a hash to another host takes nothing from the one that the record names.
func (s *Source) hostOf(ctx context.Context, tokenHash string) (*v1beta1.PhysicalHost, *Record, error) {
	hosts := &v1beta1.PhysicalHostList{}
	if err := s.Client.List(ctx, hosts, client.MatchingFields{HostByToken: tokenHash}); err != nil {
		return nil, nil, fmt.Errorf("look up the token: %w", err)
	}
	refusal := bootmedia.ErrUnknown
	for i := range hosts.Items {
		host := &hosts.Items[i]
		if !scope.Owned(s.WatchFilter, host) {
			continue
		}
		if len(hosts.Items) == 1 && host.Spec.Claim.Media.MediumHash == "" {
			return host, nil, nil
		}
		record, err := s.recordOf(ctx, host)
		if err == nil {
			return host, record, nil
		}
		if err = s.refuse(host, err); !errors.Is(err, bootmedia.ErrUnknown) {
			refusal = err
		}
	}
	return nil, nil, refusal
}

// recordOf reads the record of a host's grant, which is unpacked once for each version of its Secret.
func (s *Source) recordOf(ctx context.Context, host *v1beta1.PhysicalHost) (*Record, error) {
	secret, err := RecordOf(ctx, s.SecretReader, host)
	if apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("%w: %w", bootmedia.ErrNotYet, err)
	}
	if err != nil {
		return nil, err
	}
	token, version := host.Spec.Claim.Media.TokenHash, types.UID(string(secret.UID)+"/"+secret.ResourceVersion+"/"+string(host.UID))
	s.mu.Lock()
	known := s.read[token]
	s.mu.Unlock()
	if known.medium != nil && known.version == version && known.medium.ClaimID == host.Spec.Claim.ID {
		return known.medium, nil
	}
	record, err := ReadRecord(secret, host)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.read == nil {
		s.read = map[string]readRecord{}
	}
	s.read[token] = readRecord{version, record}
	return record, nil
}

// Ended forgets a token that is worth nothing any more.
func (s *Source) Ended(tokenHash string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.read, tokenHash)
}

// LateFor is how long this replica may be behind before that is told, and lateForget when a wait is another one.
const LateFor, lateForget = 10 * time.Second, time.Minute

// refuse tells why bootstrap data are not served, and gives the answer for who asked: unknown, or not yet.
func (s *Source) refuse(host *v1beta1.PhysicalHost, why error) error {
	wrong := RecordError("")
	switch {
	case errors.As(why, &wrong):
		s.tell(host, why)
		return fmt.Errorf("%w: %w", bootmedia.ErrUnknown, why)
	case errors.Is(why, bootmedia.ErrNotYet):
		if s.lateSince(host) >= LateFor {
			s.tell(host, why)
		}
	}
	return why
}

func (s *Source) tell(host *v1beta1.PhysicalHost, why error) {
	if s.Refused != nil {
		s.Refused(nameOfHost(host), "", fmt.Errorf("bootstrap data are not served: %w", why))
	}
}

func (s *Source) lateSince(host *v1beta1.PhysicalHost) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.late == nil {
		s.late = map[string]lateness{}
	}
	now, l := s.Clock.Now(), s.late[nameOfHost(host)]
	if now.Sub(l.last) > lateForget {
		l.first = now
	}
	l.last = now
	s.late[nameOfHost(host)] = l
	return now.Sub(l.first)
}

func (s *Source) inTime(host *v1beta1.PhysicalHost) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.late, nameOfHost(host))
}

// PhoneHome makes a receipt durable before the booted system gets its answer. A success stays; a failure may still be followed
// by a success, as when a unit is retried.
func (s *Source) PhoneHome(ctx context.Context, tokenHash string, outcome bootmedia.Outcome, detail string) error {
	for range 5 {
		host, _, err := s.hostOf(ctx, tokenHash)
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

// nameOfHost is "namespace/name", as streams and gate name a host.
func nameOfHost(host *v1beta1.PhysicalHost) string { return client.ObjectKeyFromObject(host).String() }
