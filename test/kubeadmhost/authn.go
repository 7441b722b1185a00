package kubeadmhost

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

var tokenPattern = regexp.MustCompile(`^([a-z0-9]{6})\.([a-z0-9]{16})$`)

const (
	anonymous     = "system:anonymous"
	adminGroup    = "system:masters"
	tokenGroup    = "system:bootstrappers"
	clusterInfo   = "/api/v1/namespaces/kube-public/configmaps/cluster-info"
	systemConfigs = "/api/v1/namespaces/kube-system/configmaps/"
)

// identity is who sent a request.
type identity struct {
	name   string
	groups []string
}

// may decides what an identity is allowed to do: administrators everything,
// bootstrap tokens what kubeadm join reads, anybody the cluster-info.
func (i identity) may(r *http.Request) bool {
	if slices.Contains(i.groups, adminGroup) {
		return true
	}
	if r.Method != http.MethodGet || r.URL.Query().Get("watch") == "true" {
		return false
	}
	if r.URL.Path == clusterInfo {
		return true
	}
	if !slices.Contains(i.groups, tokenGroup) {
		return false
	}
	return r.URL.Path == systemConfigs+"kubeadm-config" || r.URL.Path == systemConfigs+"kubelet-config" ||
		strings.HasPrefix(r.URL.Path, "/api/v1/nodes/")
}

// authenticate looks at the client certificate, then at the bearer token. A
// credential that is present and wrong is an error, none at all is anonymous.
func (h *apiHandler) authenticate(r *http.Request) (identity, error) {
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		ca := &authority{cert: h.cluster.caCert}
		if err := ca.verifyClient(r.TLS.PeerCertificates); err != nil {
			return identity{}, fmt.Errorf("client certificate: %w", err)
		}
		subject := r.TLS.PeerCertificates[0].Subject
		return identity{name: subject.CommonName, groups: subject.Organization}, nil
	}
	header := r.Header.Get("Authorization")
	if header == "" {
		return identity{name: anonymous}, nil
	}
	token, ok := strings.CutPrefix(header, "Bearer ")
	if !ok {
		return identity{}, errors.New("authorization scheme is not Bearer")
	}
	return h.authenticateToken(r, token)
}

// authenticateToken checks a bootstrap token against its Secret.
func (h *apiHandler) authenticateToken(r *http.Request, token string) (identity, error) {
	parts := tokenPattern.FindStringSubmatch(token)
	if parts == nil {
		return identity{}, errors.New("bearer token is no bootstrap token")
	}
	var secret corev1.Secret
	key := client.ObjectKey{Namespace: metav1.NamespaceSystem, Name: "bootstrap-token-" + parts[1]}
	if err := h.cluster.api.Get(r.Context(), key, &secret); err != nil {
		return identity{}, fmt.Errorf("bootstrap token %s: %w", parts[1], err)
	}
	switch {
	case secret.Type != corev1.SecretTypeBootstrapToken:
		return identity{}, fmt.Errorf("bootstrap token %s: the secret has type %q", parts[1], secret.Type)
	case string(secret.Data["token-id"]) != parts[1]:
		return identity{}, fmt.Errorf("bootstrap token %s: the secret is for another token", parts[1])
	case subtle.ConstantTimeCompare(secret.Data["token-secret"], []byte(parts[2])) != 1:
		return identity{}, fmt.Errorf("bootstrap token %s: wrong secret part", parts[1])
	case string(secret.Data["usage-bootstrap-authentication"]) != "true":
		return identity{}, fmt.Errorf("bootstrap token %s: not for authentication", parts[1])
	}
	if text := string(secret.Data["expiration"]); text != "" {
		expires, err := time.Parse(time.RFC3339, text)
		if err != nil || !time.Now().Before(expires) {
			return identity{}, fmt.Errorf("bootstrap token %s: expired at %q", parts[1], text)
		}
	}
	return identity{name: "system:bootstrap:" + parts[1], groups: []string{tokenGroup}}, nil
}
