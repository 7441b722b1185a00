package kubeadmhost

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/clientcmd"
)

const joinPause = 250 * time.Millisecond

// permanentError is an answer of a cluster that will not change by waiting.
type permanentError struct{ error }

func (e permanentError) Unwrap() error { return e.error }

// discoverAndAuthenticate is the network part of kubeadm join: it learns the CA
// from the cluster, compares it with the hashes it was given, and reads with the
// bootstrap token over the connection so verified. It waits for an endpoint
// that does not answer yet, up to timeout.
func discoverAndAuthenticate(ctx context.Context, p *plan, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for {
		err := joinOnce(ctx, p)
		if err == nil {
			return nil
		}
		if _, permanent := errors.AsType[permanentError](err); permanent {
			return err
		}
		timer := time.NewTimer(joinPause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("gave up after %s: %w", timeout, err)
		case <-timer.C:
		}
	}
}

func joinOnce(ctx context.Context, p *plan) error {
	// Nothing is trusted yet: that is what the hashes are for.
	body, err := fetch(ctx, "https://"+p.endpoint+clusterInfo, "", &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		return fmt.Errorf("discovery: %w", err)
	}
	ca, err := clusterCA(body)
	if err != nil {
		return permanentError{fmt.Errorf("discovery: cluster-info: %w", err)}
	}
	if hashes := p.discovery.CACertHashes; len(hashes) > 0 && !slices.Contains(hashes, publicKeyHash(ca)) {
		return permanentError{fmt.Errorf("discovery: cluster CA public key %s is not among caCertHashes", publicKeyHash(ca))}
	}
	if p.controlPlane && !p.pki.ca.cert.Equal(ca) {
		return permanentError{errors.New("discovery: the CA certificate in the data is not the one of the cluster")}
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca)
	_, err = fetch(ctx, "https://"+p.endpoint+systemConfigs+"kubeadm-config", p.discovery.Token, &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool})
	if err != nil {
		return fmt.Errorf("read the cluster configuration with bootstrap token %s: %w", p.discovery.Token[:6], err)
	}
	return nil
}

func clusterCA(body []byte) (*x509.Certificate, error) {
	var info corev1.ConfigMap
	if err := json.Unmarshal(body, &info); err != nil {
		return nil, err
	}
	config, err := clientcmd.Load([]byte(info.Data["kubeconfig"]))
	if err != nil {
		return nil, err
	}
	for _, cluster := range config.Clusters {
		if block, _ := pem.Decode(cluster.CertificateAuthorityData); block != nil {
			return x509.ParseCertificate(block.Bytes)
		}
	}
	return nil, errors.New("no certificate authority in it")
}

// fetch makes one GET on a connection of its own, as a process that has just
// started would.
func fetch(ctx context.Context, url, token string, settings *tls.Config) ([]byte, error) {
	transport := &http.Transport{TLSClientConfig: settings, DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, permanentError{err}
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := (&http.Client{Transport: transport, Timeout: 10 * time.Second}).Do(request)
	if err != nil {
		if certificate, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
			return nil, permanentError{certificate}
		}
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBody))
	if err != nil {
		return nil, err
	}
	switch response.StatusCode {
	case http.StatusOK:
		return body, nil
	case http.StatusUnauthorized, http.StatusForbidden:
		return nil, permanentError{fmt.Errorf("the API server answered %s", response.Status)}
	default:
		return nil, fmt.Errorf("the API server answered %s", response.Status)
	}
}
