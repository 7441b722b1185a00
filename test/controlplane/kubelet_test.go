package controlplane

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
)

// checkNode: the API server reaches a Pod's port and its log through the kubelet, and nobody else does.
func checkNode(ctx context.Context, g *WithT, p *ControlPlane, v *Provider) {
	pod := v.myPod()
	g.Expect(pod).NotTo(BeNil())
	clientset, err := kubernetes.NewForConfig(p.Config())
	g.Expect(err).NotTo(HaveOccurred())
	transport, upgrader, err := spdy.RoundTripperFor(p.Config())
	g.Expect(err).NotTo(HaveOccurred())
	url := clientset.CoreV1().RESTClient().Post().Resource("pods").Namespace(pod.Namespace).Name(pod.Name).SubResource("portforward").URL()
	dialer := spdy.NewDialer(upgrader, &http.Client{Transport: transport}, http.MethodPost, url)
	stop, ready, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	forward, err := portforward.NewOnAddresses(dialer, []string{"127.0.0.1"}, []string{"0:9440", "0:1"}, stop, ready, io.Discard, io.Discard)
	g.Expect(err).NotTo(HaveOccurred())
	go func() { ended <- forward.ForwardPorts() }()
	g.Eventually(ready, 20*time.Second).Should(BeClosed())
	ports, err := forward.GetPorts()
	g.Expect(err).NotTo(HaveOccurred())
	for range 3 { // one connection carries them all
		g.Expect(probe(ctx, fmt.Sprintf("http://127.0.0.1:%d/readyz", ports[0].Local))).To(BeTrue())
	}
	g.Expect(probe(ctx, fmt.Sprintf("http://127.0.0.1:%d/readyz", ports[1].Local))).To(BeFalse(), "a port that the Pod does not have")
	close(stop)
	g.Eventually(ended, 20*time.Second).Should(Receive())

	out, err := p.Kubectl(ctx, nil, "-n", pod.Namespace, "logs", pod.Name, "--tail=2")
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(out).NotTo(BeEmpty())

	node, err := p.Kubectl(ctx, nil, "get", "node", nodeName, "-o", "jsonpath={.status.daemonEndpoints.kubeletEndpoint.Port}")
	g.Expect(err).NotTo(HaveOccurred())
	admin, err := tls.X509KeyPair(p.pki.admin.certPEM, p.pki.admin.keyPEM)
	g.Expect(err).NotTo(HaveOccurred())
	for _, certificates := range [][]tls.Certificate{nil, {admin}} {
		c := http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true, Certificates: certificates}}}
		reply, err := c.Get("https://127.0.0.1:" + node + "/containerLogs/" + pod.Namespace + "/" + pod.Name + "/manager")
		if err == nil {
			reply.Body.Close()
			g.Expect(reply.StatusCode).To(Equal(http.StatusForbidden))
		}
	}
}

// checkRollOut: with a place to spare, the Pod of the new template runs beside the old one, which is ended only then; its
// webhooks are led to the new one.
func checkRollOut(ctx context.Context, g *WithT, p *ControlPlane, v *Provider) {
	o := v.opts
	o.Instance = 1
	spare, err := p.RunProvider(o)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(v.PID()).NotTo(BeZero())
	g.Consistently(spare.PID, 3*followInterval).Should(BeZero(), "there is one Pod")
	_, err = p.Kubectl(ctx, nil, "-n", o.Namespace, "rollout", "restart", "deployment", o.Deployment)
	g.Expect(err).NotTo(HaveOccurred())
	_, err = p.Kubectl(ctx, nil, "-n", o.Namespace, "rollout", "status", "deployment", o.Deployment, "--timeout=2m")
	g.Expect(err).NotTo(HaveOccurred())
	g.Eventually(v.PID, time.Minute).Should(BeZero())
	g.Expect(spare.Ready(ctx)).To(Succeed())
	g.Eventually(func() (string, error) {
		return p.Kubectl(ctx, nil, "-n", o.Namespace, "get", "pods", "-o", "jsonpath={range .items[*]}{.metadata.name} {end}")
	}, time.Minute).Should(Equal(spare.myPod().Name+" "), "the old Pod is gone")
}
