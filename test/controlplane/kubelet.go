package controlplane

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// kubeletUser is whom the API server is to a kubelet, by its client certificate.
const kubeletUser = "kube-apiserver-kubelet-client"

// kubelet is the half of a kubelet that the API server calls: it serves port-forward and logs of the
// Pods that Providers run. It believes callers with the API server's certificate and nobody else.
type kubelet struct {
	plane *ControlPlane
	life  context.Context // of forwarded connections, which outlive their requests
	done  chan struct{}   // closed when the server has ended
}

// startKubelet serves, and registers, the one Node of this cluster.
func (p *ControlPlane) startKubelet(ctx context.Context) error {
	certificate, err := tls.LoadX509KeyPair(p.pki.file("kubelet.crt"), p.pki.file("kubelet.key"))
	if err != nil {
		return fmt.Errorf("reading the kubelet's certificate: %w", err)
	}
	callers := x509.NewCertPool()
	callers.AppendCertsFromPEM(p.pki.ca.certPEM)
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", loopback(0))
	if err != nil {
		return fmt.Errorf("listening for the kubelet: %w", err)
	}
	k := &kubelet{plane: p, life: p.life, done: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", k.logs)
	mux.HandleFunc("/portForward/{namespace}/{pod}", k.portForward)
	server := &http.Server{
		Handler: onlyAPIServer(mux), ReadHeaderTimeout: 10 * time.Second,
		TLSConfig: &tls.Config{
			MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{certificate},
			ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: callers,
		},
		// SPDY upgrades a connection of HTTP/1.1.
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
	}
	p.kubelet = k
	go func() {
		defer close(k.done)
		_ = server.ServeTLS(listener, "", "")
	}()
	context.AfterFunc(p.life, func() { _ = server.Close() })
	return p.registerNode(ctx, listener.Addr().(*net.TCPAddr).Port)
}

func onlyAPIServer(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 || r.TLS.PeerCertificates[0].Subject.CommonName != kubeletUser {
			http.Error(w, "only the API server may ask a kubelet", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// registerNode tells the API server where the kubelet is. Nobody renews the Node's lease: the controller
// that would mind is off.
func (p *ControlPlane) registerNode(ctx context.Context, port int) error {
	c, err := client.New(p.harness, client.Options{})
	if err != nil {
		return fmt.Errorf("registering the node: %w", err)
	}
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: nodeName, Labels: map[string]string{corev1.LabelHostname: nodeName}}}
	if err := c.Create(ctx, node); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("registering the node: %w", err)
	}
	base := node.DeepCopy()
	node.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "127.0.0.1"}}
	node.Status.DaemonEndpoints.KubeletEndpoint.Port = int32(port) //nolint:gosec // a port
	node.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "Serving"}}
	if err := c.Status().Patch(ctx, node, client.MergeFrom(base)); err != nil {
		return fmt.Errorf("registering the node: %w", err)
	}
	return nil
}

// runs returns the Provider that runs a Pod, nil if none does.
func (p *ControlPlane) runs(namespace, name string) (*Provider, *corev1.Pod) {
	p.placeMu.Lock()
	defer p.placeMu.Unlock()
	for _, v := range p.placed {
		if v.placed.Namespace == namespace && v.placed.Name == name {
			return v, v.placed
		}
	}
	return nil, nil
}

// logs serves what a Pod's process wrote; of a Pod's replica the log goes on over all its processes.
// Known of the options: tailLines.
func (k *kubelet) logs(w http.ResponseWriter, r *http.Request) {
	v, _ := k.plane.runs(r.PathValue("namespace"), r.PathValue("pod"))
	if v == nil || v.opts.Container != r.PathValue("container") {
		http.Error(w, "no such container runs here", http.StatusNotFound)
		return
	}
	data, err := os.ReadFile(v.Log())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	text := string(data)
	if n, err := strconv.Atoi(r.URL.Query().Get("tailLines")); err == nil {
		lines := strings.SplitAfter(strings.TrimSuffix(text, "\n"), "\n")
		text = strings.Join(lines[max(0, len(lines)-n):], "") + "\n"
	}
	w.Header().Set("Content-Type", "text/plain")
	_, _ = io.WriteString(w, text)
}

// hostPort is the port on loopback that stands for a port of the Pod's container: the one of the same
// name in Addresses.
func (v *Provider) hostPort(pod *corev1.Pod, port int) (int, error) {
	for _, c := range pod.Spec.Containers {
		for _, declared := range c.Ports {
			if c.Name != v.opts.Container || int(declared.ContainerPort) != port {
				continue
			}
			switch declared.Name {
			case "metrics", "diagnostics":
				return v.addr.Metrics, nil
			case "health", "healthz":
				return v.addr.Health, nil
			case "media":
				return v.addr.Media, nil
			case "webhook-server":
				return v.addr.Webhook, nil
			}
		}
	}
	return 0, fmt.Errorf("port %d of Pod %s is none that this kubelet brought onto loopback", port, pod.Name)
}
