package kubeadmhost

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/version"
	inmemoryapi "sigs.k8s.io/cluster-api/test/infrastructure/inmemory/pkg/server/api"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// apiHandler is the API server of a workload cluster: the in-memory one, with
// what it lacks in front of it.
type apiHandler struct {
	cluster *cluster
	objects http.Handler
}

func newAPIHandler(c *cluster, resolve func(string) (string, error)) http.Handler {
	return &apiHandler{cluster: c, objects: inmemoryapi.NewAPIServerHandler(c.world.manager, c.world.logr, resolve)}
}

type memberKey struct{}

// withMember lets a handler know which control plane a connection belongs to.
func withMember(ctx context.Context, conn net.Conn) context.Context {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	if known, ok := conn.(*doorConn); ok {
		return context.WithValue(ctx, memberKey{}, known.to)
	}
	return ctx
}

func (h *apiHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h.serveHealth(w, r) {
		return
	}
	if !h.cluster.quorum(r.Context()) {
		writeError(w, apierrors.NewServiceUnavailable("etcdserver: no leader"))
		return
	}
	who, err := h.authenticate(r)
	if err != nil {
		h.cluster.world.log.Debug("request not authenticated", "cluster", h.cluster.endpoint, "path", r.URL.Path, "error", err)
		writeError(w, apierrors.NewUnauthorized("Unauthorized"))
		return
	}
	if !who.may(r) {
		writeError(w, apierrors.NewForbidden(schema.GroupResource{}, r.URL.Path, fmt.Errorf("user %q may not %s this", who.name, strings.ToLower(r.Method))))
		return
	}
	if !h.serveSubresource(w, r) {
		h.objects.ServeHTTP(w, r)
	}
}

// serveHealth answers what anybody may ask.
func (h *apiHandler) serveHealth(w http.ResponseWriter, r *http.Request) bool {
	switch strings.TrimSuffix(r.URL.Path, "/") {
	case "/version":
		gitVersion := h.cluster.version
		if m, ok := r.Context().Value(memberKey{}).(*member); ok && m != nil {
			gitVersion = m.version
		}
		parts := strings.SplitN(strings.TrimPrefix(gitVersion, "v"), ".", 3)
		info := version.Info{GitVersion: gitVersion, Platform: "linux/amd64", GoVersion: "go1.26", Compiler: "gc", GitTreeState: "clean"}
		if len(parts) == 3 {
			info.Major, info.Minor = parts[0], parts[1]
		}
		writeJSON(w, http.StatusOK, info)
	case "/livez":
		_, _ = w.Write([]byte("ok"))
	case "/readyz", "/healthz":
		if !h.cluster.quorum(r.Context()) {
			http.Error(w, "[-]etcd failed: no leader", http.StatusInternalServerError)
			return true
		}
		_, _ = w.Write([]byte("ok"))
	default:
		return false
	}
	return true
}

// serveSubresource handles the requests that the in-memory server does not know,
// or would handle too simply; false leaves the request to it.
func (h *apiHandler) serveSubresource(w http.ResponseWriter, r *http.Request) bool {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	if len(parts) < 4 || parts[0] != "api" || parts[1] != "v1" {
		return false
	}
	namespace, rest := "", parts[2:]
	if rest[0] == "namespaces" && len(rest) >= 4 {
		namespace, rest = rest[1], rest[2:]
	}
	sub := ""
	if len(rest) == 3 {
		sub = rest[2]
	}
	key := client.ObjectKey{Namespace: namespace, Name: rest[1]}
	switch route := rest[0] + "/" + sub; {
	case len(rest) > 3:
		return false
	case route == "nodes/status":
		h.serveObject(w, r, key, &corev1.Node{}, true)
	case route == "pods/status":
		h.serveObject(w, r, key, &corev1.Pod{}, true)
	case route == "nodes/" && r.Method == http.MethodPatch:
		h.serveObject(w, r, key, &corev1.Node{}, false)
	case route == "nodes/" && r.Method == http.MethodDelete:
		h.deleteNode(w, r, key.Name)
	case route == "pods/" && r.Method == http.MethodDelete:
		return h.keepStaticPod(w, r, key)
	case route == "pods/eviction" && r.Method == http.MethodPost:
		h.evict(w, r, key)
	case route == "pods/portforward":
		h.portForward(w, r, key)
	default:
		return false
	}
	return true
}

// portForward sends the stream to the socket of the static pod's server. The
// in-memory server dials whatever host the request names.
func (h *apiHandler) portForward(w http.ResponseWriter, r *http.Request, key client.ObjectKey) {
	var pod corev1.Pod
	if err := h.cluster.api.Get(r.Context(), key, &pod); err != nil {
		writeError(w, err)
		return
	}
	m := h.cluster.memberOf(pod.Spec.NodeName)
	if m == nil {
		writeError(w, apierrors.NewInternalError(fmt.Errorf("error dialing backend: node %s does not answer", pod.Spec.NodeName)))
		return
	}
	target := r.Clone(r.Context())
	switch pod.Labels["component"] {
	case "etcd":
		target.Host = m.etcdDoor.address()
	case "kube-apiserver":
		target.Host = m.apiDoor.address()
	default:
		writeError(w, apierrors.NewBadRequest(fmt.Sprintf("pod %s has no port to forward to", key.Name)))
		return
	}
	h.objects.ServeHTTP(w, target)
}

// statusRecorder remembers the status code of an answer.
type statusRecorder struct {
	http.ResponseWriter
	code int
}

func (s *statusRecorder) WriteHeader(code int) {
	s.code = code
	s.ResponseWriter.WriteHeader(code)
}

func (h *apiHandler) deleteNode(w http.ResponseWriter, r *http.Request, name string) {
	recorder := &statusRecorder{ResponseWriter: w, code: http.StatusOK}
	h.objects.ServeHTTP(recorder, r)
	if recorder.code >= 300 {
		return
	}
	if err := h.cluster.nodeDeleted(context.WithoutCancel(r.Context()), name); err != nil {
		h.cluster.world.log.Error("follow deletion of node", "cluster", h.cluster.endpoint, "node", name, "error", err)
	}
}

func writeJSON(w http.ResponseWriter, code int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	// A client that went away needs no answer.
	_ = json.NewEncoder(w).Encode(value)
}

func writeError(w http.ResponseWriter, err error) {
	status := apierrors.NewInternalError(err).Status()
	if known, ok := err.(apierrors.APIStatus); ok {
		status = known.Status()
	}
	status.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}
	writeJSON(w, int(status.Code), status)
}
