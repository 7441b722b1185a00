package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/pflag"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// visitor asks for metrics: with a token where they are not for everybody.
type visitor struct {
	client *http.Client
	token  string
}

// metricsAccount is the ServiceAccount in the manager's namespace that may read metrics (config/rbac), and nothing else.
const metricsAccount = "beskar7-metrics-reader"

// visitSeconds is how long a token lives: ten minutes, the least that the API server gives.
const visitSeconds = 600

// visitor of this installation, with a fresh token: whoever may ask for tokens of metricsAccount needs none of his own. What the
// Pods serve may be self-signed; the API server, which forwards the port, has led us to the right Pod.
func (in *installation) visitor(ctx context.Context) (*visitor, error) {
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: in.place.namespace, Name: metricsAccount}}
	seconds := int64(visitSeconds)
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}
	if err := in.Client.SubResource("token").Create(ctx, account, request); err != nil {
		return nil, fmt.Errorf("ask for a token of ServiceAccount %s to read metrics: %w", metricsAccount, err)
	}
	return newVisitor(request.Status.Token, &tls.Config{InsecureSkipVerify: true}), nil //nolint:gosec // see above
}

func newVisitor(token string, trust *tls.Config) *visitor {
	return &visitor{client: &http.Client{Transport: &http.Transport{TLSClientConfig: trust, DisableKeepAlives: true}}, token: token}
}

// visit are the flags of who asks for metrics by URL, and whom he believes.
type visit struct {
	tokenFile, caFile string
	skipVerify        bool
}

func visitFlags(flags *pflag.FlagSet) *visit {
	v := &visit{}
	flags.StringVar(&v.tokenFile, "token-file", "", "with --url: a file with the bearer token to show; the path, as tokens on a command line are seen by others")
	flags.StringVar(&v.caFile, "ca-file", "", "with --url: a file with the certificates that may sign the server's")
	flags.BoolVar(&v.skipVerify, "insecure-skip-verify", false, "with --url: take any certificate, such as a self-signed one")
	return v
}

// visitor as the flags say.
func (v *visit) visitor() (*visitor, error) {
	trust := &tls.Config{InsecureSkipVerify: v.skipVerify} //nolint:gosec // only if asked for
	if v.caFile != "" {
		pem, err := os.ReadFile(v.caFile)
		if err != nil {
			return nil, err
		}
		trust.RootCAs = x509.NewCertPool()
		if !trust.RootCAs.AppendCertsFromPEM(pem) {
			return nil, errors.New("--ca-file holds no certificate")
		}
	}
	token := ""
	if v.tokenFile != "" {
		content, err := os.ReadFile(v.tokenFile)
		if err != nil {
			return nil, err
		}
		token = strings.TrimSpace(string(content))
	}
	return newVisitor(token, trust), nil
}
