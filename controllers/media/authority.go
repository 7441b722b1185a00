package media

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/authority"
	"github.com/beskar7/beskar7/pkg/endpoint"
	"github.com/beskar7/beskar7/pkg/scope"
)

// +kubebuilder:rbac:groups="",resources=secrets,verbs=create,namespace=beskar7-system
// +kubebuilder:rbac:groups="",resources=secrets,resourceNames=beskar7-media-ca,verbs=get;patch,namespace=beskar7-system

const (
	// authorityLook is how often the Secret of the authority is read again: somebody may have put another one there.
	authorityLook = time.Minute
	// maxHostNames bounds the certificate: clients of little memory read it, and everybody who may write hosts adds to it.
	maxHostNames = 100
	// authorityKey is the key of a kubernetes.io/tls Secret that holds what clients trust, as cert-manager writes it.
	authorityKey = "ca.crt"
)

// Authority makes this replica's serving certificate, for all names under which the media door is advertised, from the
// authority in a Secret that all replicas share.
type Authority struct {
	// Client reads live, and writes.
	Client client.Client
	// Secret holds the authority; it is made when it is not there.
	Secret client.ObjectKey
	// Name is a name that the certificates of all replicas have.
	Name string
	// Names are what is advertised for all hosts, besides.
	Names []string
	// WatchFilter is the value of the watch-filter label of the hosts whose URLs count; empty: all.
	WatchFilter string
	Clock       clock.PassiveClock

	mu     sync.Mutex
	signer *authority.Authority
	public string // what the Secret held for everybody to know: what it is told by when it changes
	key    crypto.Signer
	shown  *tls.Certificate
	stale  bool // names were added since, or the authority changed
	// hosts counts the PhysicalHosts that have a name of their own, by the name.
	hosts map[string]int
}

// Load reads the authority, or makes it. Without it nothing can be served.
func (m *Authority) Load(ctx context.Context) error {
	secret := &corev1.Secret{}
	err := m.Client.Get(ctx, m.Secret, secret)
	if apierrors.IsNotFound(err) {
		if err = m.create(ctx); err == nil || apierrors.IsAlreadyExists(err) {
			err = m.Client.Get(ctx, m.Secret, secret) // another replica's, or ours
		}
	}
	if err != nil {
		return fmt.Errorf("read the media authority, Secret %s: %w", m.Secret, err)
	}
	return m.take(ctx, secret)
}

func (m *Authority) create(ctx context.Context) error {
	pair, err := authority.New(m.Clock.Now())
	if err != nil {
		return err
	}
	return m.Client.Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: m.Secret.Namespace, Name: m.Secret.Name}, Type: corev1.SecretTypeTLS,
		Data: map[string][]byte{corev1.TLSCertKey: pair.Certificate, corev1.TLSPrivateKeyKey: pair.Key, authorityKey: pair.Roots}})
}

// take uses what the Secret holds, and renews it if that is due. One that cannot be used leaves the last one in use.
func (m *Authority) take(ctx context.Context, secret *corev1.Secret) error {
	signer, err := authority.Load(authority.KeyPair{Certificate: secret.Data[corev1.TLSCertKey], Key: secret.Data[corev1.TLSPrivateKeyKey], Roots: secret.Data[authorityKey]})
	if err != nil {
		return fmt.Errorf("the media authority, Secret %s, cannot be used: %w: mend it, or delete it to have a new one made", m.Secret, err)
	}
	m.mu.Lock()
	if public := string(secret.Data[corev1.TLSCertKey]) + string(secret.Data[authorityKey]); m.public != public {
		m.signer, m.public, m.stale = signer, public, true
	}
	m.mu.Unlock()
	certificate, due, err := signer.Renew(m.Clock.Now())
	if err != nil || !due {
		return err
	}
	base := secret.DeepCopy()
	secret.Data[corev1.TLSCertKey], secret.Data[authorityKey] = certificate, certificate
	err = m.Client.Patch(ctx, secret, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{}))
	if apierrors.IsConflict(err) {
		return nil // another replica was first: the next look sees it
	}
	if err != nil {
		return fmt.Errorf("renew the media authority, Secret %s: %w", m.Secret, err)
	}
	return m.take(ctx, secret)
}

// Run looks at the Secret now and then, until the context ends.
func (m *Authority) Run(ctx context.Context) error {
	tick := time.NewTicker(authorityLook)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := m.Load(ctx); err != nil && ctx.Err() == nil {
			ctrl.LoggerFrom(ctx).Error(err, "The media certificate is made from the authority as it was")
		}
	}
}

// GetCertificate gives a certificate for all names there are now. It signs a new one when there are others, the authority is
// another, or the last one has little time left.
func (m *Authority) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.Clock.Now()
	if m.signer == nil {
		return nil, errors.New("the media authority was not read yet")
	}
	ending := m.shown != nil && !now.Before(authority.Due(m.shown.Leaf))
	if m.shown != nil && !m.stale && !ending {
		return m.shown, nil
	}
	if m.key == nil || ending {
		key, err := authority.NewKey()
		if err != nil {
			return nil, err
		}
		m.key = key
	}
	shown, err := m.signer.Issue(m.key, m.names(), now)
	if err != nil {
		return nil, err
	}
	m.shown, m.stale = shown, false
	return shown, nil
}

// names are all that the certificate is for. Needs m.mu.
func (m *Authority) names() []string {
	own := make([]string, 0, len(m.hosts))
	for name := range m.hosts {
		own = append(own, name)
	}
	slices.Sort(own)
	return slices.Concat([]string{m.Name}, m.Names, own[:min(len(own), maxHostNames)])
}

// Authority is what booted systems need to trust.
func (m *Authority) Authority() []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.signer == nil {
		return nil
	}
	return m.signer.Roots()
}

// Covers says whether the certificate is, or will be when it is next asked for, one for the URL.
func (m *Authority) Covers(url string) error {
	u, err := endpoint.Parse(url)
	if err != nil || u.Scheme != "https" {
		return nil //nolint:nilerr // others say what is wrong with the URL
	}
	name := u.Hostname()
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.signer == nil || !m.Clock.Now().Before(m.signer.Ends()):
		return fmt.Errorf("the authority that it is from, Secret %s, has ended or was not read: mend it, or delete it to have a new one made", m.Secret)
	case !authority.Certifies(name):
		return fmt.Errorf("%s is not a name that a certificate can have", name)
	case slices.Contains(m.names(), name):
		return nil
	case m.hosts[name] == 0 && len(m.hosts) < maxHostNames:
		return nil // the event that brings the name is on its way
	}
	return fmt.Errorf("it is not for %s: it holds the names of all advertised URLs, and of hosts' own URLs no more than %d", name, maxHostNames)
}

// VerifyPeer wants a certificate of the same authority: all replicas have theirs from it, with one name in common.
func (m *Authority) VerifyPeer(shown []*x509.Certificate) error {
	if len(shown) == 0 {
		return errors.New("there is no certificate to compare")
	}
	roots, others := x509.NewCertPool(), x509.NewCertPool()
	roots.AppendCertsFromPEM(m.Authority())
	for _, c := range shown[1:] {
		others.AddCert(c)
	}
	_, err := shown[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: others, DNSName: m.Name})
	return err
}

// Follow learns the names that hosts bring from the events of the cache.
func (m *Authority) Follow(ctx context.Context, informers cache.Cache) error {
	informer, err := informers.GetInformer(ctx, &v1beta1.PhysicalHost{}, cache.BlockUntilSynced(false))
	if err != nil {
		return fmt.Errorf("watch the URLs of hosts: %w", err)
	}
	_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { m.changed(nil, o) },
		UpdateFunc: m.changed,
		DeleteFunc: func(o any) {
			if gone, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
				o = gone.Obj
			}
			m.changed(o, nil)
		},
	})
	return err
}

func (m *Authority) changed(before, after any) {
	was, is := m.namesOf(before), m.namesOf(after)
	if slices.Equal(was, is) {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.hosts == nil {
		m.hosts = map[string]int{}
	}
	for _, name := range is {
		m.hosts[name]++
		m.stale = m.stale || m.hosts[name] == 1
	}
	for _, name := range was { // a name that nobody has any more leaves with the next certificate
		if m.hosts[name]--; m.hosts[name] <= 0 {
			delete(m.hosts, name)
		}
	}
}

// namesOf are the hosts of a PhysicalHost's own https URLs.
func (m *Authority) namesOf(o any) (names []string) {
	host, ok := o.(*v1beta1.PhysicalHost)
	if !ok || !scope.Owned(m.WatchFilter, host) {
		return nil
	}
	for _, text := range []string{host.Spec.MediaURL, host.Spec.PhoneHomeURL} {
		if u, err := endpoint.Parse(text); err == nil && u.Scheme == "https" && authority.Certifies(u.Hostname()) {
			names = append(names, u.Hostname())
		}
	}
	return names
}

var (
	_ Certificate = (*Authority)(nil)
	_ Certificate = (*CertificateFolder)(nil)
)
