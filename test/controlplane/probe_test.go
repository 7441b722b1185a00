package controlplane

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// TestLivenessProbe: three failures in a row are one too many, counted from the delay on and once in each period.
func TestLivenessProbe(t *testing.T) {
	g := NewWithT(t)
	var status atomic.Int32
	status.Store(http.StatusInternalServerError)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.Expect(r.URL.Path).To(Equal("/healthz"))
		w.WriteHeader(int(status.Load()))
	}))
	defer server.Close()
	_, text, err := net.SplitHostPort(server.Listener.Addr().String())
	g.Expect(err).NotTo(HaveOccurred())
	port, err := strconv.Atoi(text)
	g.Expect(err).NotTo(HaveOccurred())

	v := &Provider{opts: ProviderOptions{Container: "manager"}, addr: Addresses{Health: port}}
	pod := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "manager", Ports: []corev1.ContainerPort{{Name: "health", ContainerPort: 8081}}}}}}
	get := func(at intstr.IntOrString) *corev1.Probe {
		return &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/healthz", Port: at}},
			InitialDelaySeconds: 30, PeriodSeconds: 10, FailureThreshold: 3}
	}
	for _, at := range []intstr.IntOrString{intstr.FromInt32(8081), intstr.FromString("health")} {
		p, err := v.newProbing(pod, get(at))
		g.Expect(err).NotTo(HaveOccurred())
		started := time.Now()
		dead := func(after time.Duration) bool { return p.dead(t.Context(), started.Add(after*time.Second), started) }
		g.Expect([]bool{dead(0), dead(10), dead(29), dead(30), dead(35), dead(40), dead(45)}).NotTo(ContainElement(true))
		status.Store(http.StatusOK)
		g.Expect(dead(50)).To(BeFalse())
		status.Store(http.StatusServiceUnavailable)
		g.Expect([]bool{dead(60), dead(70), dead(75)}).NotTo(ContainElement(true))
		g.Expect(dead(80)).To(BeTrue())
	}
	_, err = v.newProbing(pod, get(intstr.FromInt32(8080)))
	g.Expect(err).To(MatchError(ContainSubstring("port 8080")), "the Pod has no such port")
	_, err = v.newProbing(pod, &corev1.Probe{})
	g.Expect(err).To(MatchError(ContainSubstring("other than httpGet")))
	none, err := v.newProbing(pod, nil)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(none).To(BeNil())
}
