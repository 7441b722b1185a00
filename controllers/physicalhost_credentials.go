package controllers

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"unicode"
	"weak"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/config"
	"github.com/beskar7/beskar7/pkg/redfish"
)

// Keys of BMC Secrets.
const (
	usernameKey = "username"
	passwordKey = "password"
	caBundleKey = "ca.crt"
)

// inputError is a fault in what a user wrote; only a change of that mends it.
type inputError struct{ reason, message string }

func (e *inputError) Error() string { return e.message }

// connection is how to reach one BMC, and which Secret said so.
type connection struct {
	target    redfish.Target
	secretUID types.UID
	// versions of the Secret in which this process read these very credentials, the present one last. What changed in between was
	// a label, an annotation or a finalizer.
	versions []string
	// read are the Secrets themselves: as long as a host is reached by them, others that share them need not read them.
	read []*corev1.Secret
	// credential names user name and password without telling them: equal for equal ones of one Secret, in this process.
	credential string
}

// version is the Secret's present one.
func (c connection) version() string { return c.versions[len(c.versions)-1] }

// isOf says whether the record is of these credentials. A change of nothing but the Secret's metadata that happened while no manager
// ran cannot be told from a new password: it costs one log-in. Status holds no hash of a password that would tell: it is read by more
// people than Secrets are, and they could try passwords against it at home.
func (c connection) isOf(p *v1beta1.ParkedCredential) bool {
	return p != nil && p.SecretUID == string(c.secretUID) && slices.Contains(c.versions, p.SecretVersion)
}

// connect reads a host's Secrets and builds the target. Faults in them are *inputError.
func connect(ctx context.Context, reader secretReader, host *v1beta1.PhysicalHost, tuning config.Tuning) (connection, error) {
	rc := host.Spec.RedfishConnection
	secret, err := reader(ctx, rc.CredentialsSecretRef.Name, "create it with the keys username and password")
	if err != nil {
		return connection{}, err
	}
	read := []*corev1.Secret{secret}
	username, password, err := loginOf(secret)
	if err != nil {
		return connection{}, err
	}
	target := redfish.Target{
		Learned:  learnedOf(host),
		Address:  rc.Address,
		Username: username, Password: redfish.Password(password),
		CertificateFingerprint: rc.CertificateFingerprint, InsecureSkipVerify: rc.InsecureSkipVerify, AllowOldTLS: rc.AllowOldTLS, AllowPlain: rc.AllowPlainHTTP,
		SystemID: rc.SystemID, Vendor: rc.Vendor, Timeouts: redfish.Timeouts{Connection: tuning.ConnectionTimeout, Request: tuning.RequestTimeout, MaxRetries: tuning.MaxRetries, RetryDelay: tuning.RetryDelay},
	}
	if ref := rc.CABundleSecretRef; ref != nil {
		bundle, err := reader(ctx, ref.Name, "create it with the key ca.crt")
		if err != nil {
			return connection{}, err
		}
		read = append(read, bundle)
		if target.CABundle = bundle.Data[caBundleKey]; len(target.CABundle) == 0 {
			return connection{}, &inputError{v1beta1.ReasonSecretInvalid,
				fmt.Sprintf("Secret %q has no key %q with the certificates to trust", ref.Name, caBundleKey)}
		}
	}
	if err := target.Validate(); errors.Is(err, redfish.ErrPlain) {
		return connection{}, &inputError{v1beta1.ReasonPlainHTTPNotAllowed, "the BMC is not contacted, as its address is http:// and user name and password would cross " +
			"the network in clear: write https://, or set spec.redfishConnection.allowPlainHTTP of this host"}
	} else if err != nil {
		return connection{}, &inputError{v1beta1.ReasonConnectionInvalid, "spec.redfishConnection cannot be used: " + err.Error()}
	}
	return connection{target: target, read: read, secretUID: secret.UID, versions: []string{secret.ResourceVersion},
		credential: credentialKey(secret.UID, username, password)}, nil
}

// secretReader reads a Secret of one host; hint says what to do if it is not there.
type secretReader func(ctx context.Context, name, hint string) (*corev1.Secret, error)

// secretsRead are the Secrets that this process has read and that a host is reached by, as they were at one version: hosts that share
// one read it once. The zero value is ready for use.
type secretsRead struct {
	mu     sync.Mutex
	byName map[client.ObjectKey]weak.Pointer[corev1.Secret]
}

// known is the Secret as it is at the version that its metadata say; nil if this process has not read that.
func (s *secretsRead) known(meta *metav1.PartialObjectMetadata) *corev1.Secret {
	if meta == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	name := client.ObjectKeyFromObject(meta)
	secret := s.byName[name].Value()
	if secret == nil {
		delete(s.byName, name)
		return nil
	}
	if secret.UID != meta.UID || secret.ResourceVersion != meta.ResourceVersion {
		return nil
	}
	return secret
}

func (s *secretsRead) keep(secret *corev1.Secret) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byName == nil {
		s.byName = map[client.ObjectKey]weak.Pointer[corev1.Secret]{}
	}
	s.byName[client.ObjectKeyFromObject(secret)] = weak.Make(secret)
}

// readSecret reads a Secret, live unless its present version was read before. Nobody may change what it returns.
func (r *PhysicalHostReconciler) readSecret(ctx context.Context, namespace, name, hint string) (*corev1.Secret, error) {
	meta, err := r.secretMeta(ctx, namespace, name)
	if err != nil {
		return nil, err
	}
	if known := r.secrets.known(meta); known != nil {
		return known, nil
	}
	secret := &corev1.Secret{}
	err = r.Reader.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, secret)
	switch {
	case apierrors.IsNotFound(err):
		return nil, &inputError{v1beta1.ReasonSecretNotFound, fmt.Sprintf("Secret %q does not exist in namespace %q: %s", name, namespace, hint)}
	case err != nil:
		return nil, fmt.Errorf("read Secret %s/%s: %w", namespace, name, err)
	}
	r.secrets.keep(secret)
	return secret, nil
}

// connections remembers how each host is reached, so that a look at a host whose Secrets did not change reads none of them.
type connections struct {
	mu     sync.Mutex
	byHost map[string]remembered
}

type remembered struct {
	basis string
	connection
}

func (c *connections) get(host, basis string) (connection, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r, ok := c.byHost[host]
	return r.connection, ok && basis != "" && r.basis == basis
}

// set remembers a connection and returns it with the versions of its Secret that were found to hold the same credentials.
func (c *connections) set(host, basis string, connected connection) connection {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byHost == nil {
		c.byHost = map[string]remembered{}
	}
	if before, ok := c.byHost[host]; ok && before.credential == connected.credential {
		now := connected.version()
		earlier := slices.DeleteFunc(slices.Clone(before.versions), func(v string) bool { return v == now })
		connected.versions = append(earlier[max(0, len(earlier)-versionsKept):], now)
	}
	c.byHost[host] = remembered{basis, connected}
	return connected
}

// versionsKept bounds what is remembered of a Secret whose metadata change again and again. Status follows at the next look, so
// that more than the last two are seldom asked for.
const versionsKept = 8

func (c *connections) drop(host string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.byHost, host)
}

// basis names everything that a connection is made of, by versions and without its content; empty if a Secret is missing.
func (r *PhysicalHostReconciler) basis(ctx context.Context, host *v1beta1.PhysicalHost) (string, error) {
	out := fmt.Sprintf("%s %d %+v", host.UID, host.Generation, r.BMC(host))
	for _, name := range secretsOf(host) {
		meta, err := r.secretMeta(ctx, host.Namespace, name)
		if meta == nil || err != nil {
			return "", err
		}
		out += fmt.Sprintf(" %s/%s", meta.UID, meta.ResourceVersion)
	}
	return out, nil
}

// secretMeta reads the metadata of a Secret from the cache; nil if there is none.
func (r *PhysicalHostReconciler) secretMeta(ctx context.Context, namespace, name string) (*metav1.PartialObjectMetadata, error) {
	meta := &metav1.PartialObjectMetadata{}
	meta.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	err := r.SecretMeta.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, meta)
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read metadata of Secret %s/%s: %w", namespace, name, err)
	}
	return meta, nil
}

// connect reads the host's Secrets if anything about them or the connection changed.
func (r *PhysicalHostReconciler) connect(ctx context.Context, host *v1beta1.PhysicalHost) (connection, error) {
	basis, err := r.basis(ctx, host)
	if err != nil {
		return connection{}, err
	}
	if known, ok := r.known.get(key(host), basis); ok {
		return known, nil
	}
	if err := r.Reach.CheckLiteral(host.Spec.RedfishConnection.Address); err != nil { // names are judged when they are dialled
		return connection{}, &inputError{v1beta1.ReasonAddressNotAllowed, "the BMC is not contacted: spec.redfishConnection.address cannot be used, as " + err.Error()}
	}
	read := func(ctx context.Context, name, hint string) (*corev1.Secret, error) {
		return r.readSecret(ctx, host.Namespace, name, hint)
	}
	connected, err := connect(ctx, read, host, r.BMC(host))
	if err != nil {
		return connection{}, err
	}
	return r.known.set(key(host), basis, connected), nil
}

// secretsOf are the names of the Secrets that a host needs to be reached.
func secretsOf(host *v1beta1.PhysicalHost) []string {
	names := []string{host.Spec.RedfishConnection.CredentialsSecretRef.Name}
	if ref := host.Spec.RedfishConnection.CABundleSecretRef; ref != nil && ref.Name != names[0] {
		names = append(names, ref.Name)
	}
	return names
}

// processKey is of this process alone: what is hashed with it tells nobody else anything.
var processKey = rand.Text()

// credentialKey names a credential in memory: another one for each Secret that holds it, so that no message about one Secret tells
// what another one holds, and the same one after changes of the Secret's metadata.
func credentialKey(secret types.UID, username, password string) string {
	mac := hmac.New(sha256.New, []byte(processKey))
	for _, part := range []string{string(secret), username, password} {
		_ = binary.Write(mac, binary.BigEndian, uint64(len(part))) // so that "ab","c" is not "a","bc"
		mac.Write([]byte(part))
	}
	return hex.EncodeToString(mac.Sum(nil)[:16])
}

// loginOf reads user name and password as they are meant. A BMC counts refused log-ins, so what cannot be right is told before one
// is spent.
func loginOf(secret *corev1.Secret) (username, password string, err error) {
	for key, value := range map[string]*string{usernameKey: &username, passwordKey: &password} {
		*value = withoutLineEnd(string(secret.Data[key]))
		if *value == "" {
			return "", "", &inputError{v1beta1.ReasonSecretInvalid,
				fmt.Sprintf("Secret %q has no key %q: BMC credentials need the keys username and password", secret.Name, key)}
		}
	}
	for _, c := range []struct{ key, fault string }{{usernameKey, userNameFault(username)}, {passwordKey, passwordFault(password)}} {
		if c.fault != "" {
			return "", "", &inputError{v1beta1.ReasonSecretInvalid, fmt.Sprintf("no log-in was tried: the value of key %q of Secret %q %s; write it anew", c.key, secret.Name, c.fault)}
		}
	}
	return username, password, nil
}

// withoutLineEnd takes away the line ends that "echo" and editors put behind a value: no BMC takes one as part of a password.
func withoutLineEnd(value string) string { return strings.TrimRight(value, "\r\n") }

func userNameFault(name string) string {
	if strings.TrimSpace(name) != name {
		return "begins or ends with a space"
	}
	return passwordFault(name)
}

// passwordFault is about what no BMC's form lets a person type. A space at an end is none: some mean it.
func passwordFault(password string) string {
	switch {
	case strings.HasPrefix(password, "\ufeff"):
		return "begins with a byte order mark, which an editor put there"
	case strings.ContainsFunc(password, unicode.IsControl):
		return "holds a line break, a tab or another control character"
	}
	return ""
}

// spaced says whether a refused password may be one that was copied with a space too many.
func spaced(password string) bool { return strings.TrimSpace(password) != password }
