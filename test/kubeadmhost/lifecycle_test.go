package kubeadmhost_test

import (
	"context"
	"net"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/beskar7/beskar7/test/kubeadmhost"
)

// admin gives an administrator's REST configuration.
func admin(t *testing.T, w *kubeadmhost.World, endpoint string) *rest.Config {
	t.Helper()
	blob, err := w.AdminKubeconfig(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.RESTConfigFromKubeConfig(blob)
	if err != nil {
		t.Fatal(err)
	}
	config.QPS = -1
	return config
}

func clientset(t *testing.T, config *rest.Config) *kubernetes.Clientset {
	t.Helper()
	set, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func TestInitAndJoin(t *testing.T) {
	g := NewWithT(t)
	w, s := newWorld(t), newSite(t)
	cp1, cp2, cp3, worker := newServer(t, w, "cp1"), newServer(t, w, "cp2"), newServer(t, w, "cp3"), newServer(t, w, "worker")
	cp1.live("cp1", s.initData())
	ready(t, w, "cp1")
	worker.live("worker", s.workerData())
	cp2.live("cp2", s.controlPlaneData())
	cp3.live("cp3", s.controlPlaneData())
	ready(t, w, "worker", "cp2", "cp3")

	g.Expect(node(w, "worker")).To(Equal(kubeadmhost.Node{
		Cluster: s.endpoint, Name: "worker", ProviderID: providerID("worker"), Server: "bmc-worker",
		KubeletVersion: kubernetesVersion, On: true, Ready: true,
	}))
	clusters := w.Clusters()
	g.Expect(clusters).To(HaveLen(1))
	g.Expect(clusters[0].ControlPlanes).To(Equal([]string{"cp1", "cp2", "cp3"}))
	g.Expect(clusters[0].EtcdMembers).To(Equal([]string{"cp1", "cp2", "cp3"}))
	_, written := worker.disk.Get("run/cluster-api/bootstrap-success.complete")
	g.Expect(written).To(BeTrue(), "the success file of Cluster API")

	set := clientset(t, admin(t, w, s.endpoint))
	nodes, err := set.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(nodes.Items).To(HaveLen(4))
	object, err := set.CoreV1().Nodes().Get(t.Context(), "cp2", metav1.GetOptions{})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(object.Spec.ProviderID).To(Equal(providerID("cp2")))
	g.Expect(object.Status.NodeInfo.SystemUUID).To(Equal("uuid-of-cp2"))
	g.Expect(object.Labels).To(HaveKey("node-role.kubernetes.io/control-plane"))
	g.Expect(object.Spec.Taints).To(ContainElement(corev1.Taint{Key: "node-role.kubernetes.io/control-plane", Effect: corev1.TaintEffectNoSchedule}))
	pods, err := set.CoreV1().Pods("kube-system").List(t.Context(), metav1.ListOptions{LabelSelector: "tier=control-plane"})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(pods.Items).To(HaveLen(12))
	version, err := set.Discovery().ServerVersion()
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(version.GitVersion).To(Equal(kubernetesVersion))
}

func TestAPIServer(t *testing.T) {
	g := NewWithT(t)
	w, s := newWorld(t), newSite(t)
	newServer(t, w, "cp1").live("cp1", s.initData())
	ready(t, w, "cp1")
	config := admin(t, w, s.endpoint)
	set := clientset(t, config)

	patch := []byte(`{"status":{"conditions":[{"type":"Burning","status":"True"}]},"spec":{"providerID":"stolen"}}`)
	patched, err := set.CoreV1().Nodes().Patch(t.Context(), "cp1", types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(patched.Status.Conditions).To(HaveLen(5), "a strategic merge adds to the list")
	g.Expect(patched.Spec.ProviderID).To(Equal(providerID("cp1")), "the status subresource changes status only")
	patched.Status.Conditions = patched.Status.Conditions[:4]
	_, err = set.CoreV1().Nodes().UpdateStatus(t.Context(), patched, metav1.UpdateOptions{})
	g.Expect(err).NotTo(HaveOccurred())
	_, err = set.CoreV1().Nodes().UpdateStatus(t.Context(), patched, metav1.UpdateOptions{})
	g.Expect(apierrors.IsConflict(err)).To(BeTrue(), "an old resource version: %v", err)
	patch = []byte(`{"spec":{"unschedulable":true}}`)
	patched, err = set.CoreV1().Nodes().Patch(t.Context(), "cp1", types.StrategicMergePatchType, patch, metav1.PatchOptions{})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(patched.Spec.Unschedulable).To(BeTrue())
	_, err = set.CoreV1().Nodes().Patch(t.Context(), "nobody", types.MergePatchType, patch, metav1.PatchOptions{})
	g.Expect(apierrors.IsNotFound(err)).To(BeTrue(), "%v", err)

	pods := set.CoreV1().Pods("default")
	labels := map[string]string{"app": "web"}
	for _, name := range []string{"web-1", "web-2"} {
		_, err = pods.Create(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}, Spec: corev1.PodSpec{NodeName: "cp1"},
			Status: corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}}}, metav1.CreateOptions{})
		g.Expect(err).NotTo(HaveOccurred())
	}
	_, err = set.PolicyV1().PodDisruptionBudgets("default").Create(t.Context(), &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Name: "web"}, Spec: policyv1.PodDisruptionBudgetSpec{Selector: &metav1.LabelSelector{MatchLabels: labels}},
	}, metav1.CreateOptions{})
	g.Expect(err).NotTo(HaveOccurred())
	evict := func(namespace, name string) error {
		return set.CoreV1().Pods(namespace).EvictV1(context.Background(), &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace}})
	}
	g.Expect(evict("default", "web-1")).To(Succeed())
	g.Expect(apierrors.IsTooManyRequests(evict("default", "web-2"))).To(BeTrue())
	g.Expect(evict("kube-system", "etcd-cp1")).To(Succeed())
	_, err = set.CoreV1().Pods("kube-system").Get(t.Context(), "etcd-cp1", metav1.GetOptions{})
	g.Expect(err).NotTo(HaveOccurred(), "a static pod stays")
}

func TestCredentials(t *testing.T) {
	g := NewWithT(t)
	w, s := newWorld(t), newSite(t)
	newServer(t, w, "cp1").live("cp1", s.initData())
	ready(t, w, "cp1")
	config := admin(t, w, s.endpoint)

	nobody := clientset(t, rest.AnonymousClientConfig(config))
	_, err := nobody.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	g.Expect(apierrors.IsForbidden(err)).To(BeTrue(), "%v", err)
	_, err = nobody.CoreV1().ConfigMaps("kube-public").Get(t.Context(), "cluster-info", metav1.GetOptions{})
	g.Expect(err).NotTo(HaveOccurred())
	_, err = nobody.CoreV1().ConfigMaps("kube-system").Get(t.Context(), "kubeadm-config", metav1.GetOptions{})
	g.Expect(apierrors.IsForbidden(err)).To(BeTrue(), "%v", err)
	_, err = nobody.Discovery().ServerVersion()
	g.Expect(err).NotTo(HaveOccurred())
	for _, path := range []string{"/readyz", "/healthz", "/livez"} {
		g.Expect(nobody.RESTClient().Get().AbsPath(path).Do(t.Context()).Error()).NotTo(HaveOccurred(), path)
	}

	bearer := rest.AnonymousClientConfig(config)
	bearer.BearerToken = token
	_, err = clientset(t, bearer).CoreV1().ConfigMaps("kube-system").Get(t.Context(), "kubeadm-config", metav1.GetOptions{})
	g.Expect(err).NotTo(HaveOccurred())
	_, err = clientset(t, bearer).CoreV1().Secrets("kube-system").List(t.Context(), metav1.ListOptions{})
	g.Expect(apierrors.IsForbidden(err)).To(BeTrue(), "%v", err)
	bearer.BearerToken = "abcdef.0123456789abcdee"
	_, err = clientset(t, bearer).CoreV1().ConfigMaps("kube-system").Get(t.Context(), "kubeadm-config", metav1.GetOptions{})
	g.Expect(apierrors.IsUnauthorized(err)).To(BeTrue(), "%v", err)

	// A certificate of another authority.
	other := newSite(t)
	other.certs = newCerts()
	w2 := newWorld(t)
	newServer(t, w2, "other").live("other", other.initData())
	ready(t, w2, "other")
	foreign := rest.CopyConfig(config)
	stranger := admin(t, w2, other.endpoint)
	foreign.CertData, foreign.KeyData = stranger.CertData, stranger.KeyData
	_, err = clientset(t, foreign).CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	g.Expect(apierrors.IsUnauthorized(err)).To(BeTrue(), "%v", err)
}

func TestPowerLossAndQuorum(t *testing.T) {
	g := NewWithT(t)
	w, s := newWorld(t), newSite(t)
	cp1, cp2, cp3 := newServer(t, w, "cp1"), newServer(t, w, "cp2"), newServer(t, w, "cp3")
	cp1.install("cp1", s.initData())
	ready(t, w, "cp1")
	cp2.install("cp2", s.controlPlaneData())
	cp3.install("cp3", s.controlPlaneData())
	ready(t, w, "cp2", "cp3")
	set := clientset(t, admin(t, w, s.endpoint))

	cp1.off()
	object, err := set.CoreV1().Nodes().Get(t.Context(), "cp1", metav1.GetOptions{})
	g.Expect(err).NotTo(HaveOccurred(), "two of three control planes are on")
	g.Expect(object.Status.Conditions).To(ContainElement(HaveField("Status", corev1.ConditionUnknown)))
	g.Expect(node(w, "cp1").On).To(BeFalse())

	cp2.shutdown()
	_, err = set.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	g.Expect(apierrors.IsServiceUnavailable(err)).To(BeTrue(), "no quorum: %v", err)
	cp3.off()
	_, err = net.DialTimeout("tcp", s.endpoint, time.Second)
	g.Expect(err).To(HaveOccurred(), "the endpoint is closed")

	// All are installed: each finds on its disk what it was.
	cp1.on("Hdd")
	cp2.on("Hdd")
	ready(t, w, "cp1", "cp2")
	nodes, err := set.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(nodes.Items).To(HaveLen(3))
}

func TestDeletedNodeJoinsAnew(t *testing.T) {
	g := NewWithT(t)
	w, s := newWorld(t), newSite(t)
	cp1, cp2, worker := newServer(t, w, "cp1"), newServer(t, w, "cp2"), newServer(t, w, "worker")
	cp1.live("cp1", s.initData())
	ready(t, w, "cp1")
	cp2.live("cp2", s.controlPlaneData())
	worker.live("worker", s.workerData())
	ready(t, w, "cp2", "worker")
	set := clientset(t, admin(t, w, s.endpoint))

	worker.off()
	g.Expect(set.CoreV1().Nodes().Delete(t.Context(), "worker", metav1.DeleteOptions{})).To(Succeed())
	g.Expect(node(w, "worker")).To(BeZero())
	worker.live("worker", s.workerData())
	ready(t, w, "worker")

	g.Expect(set.CoreV1().Nodes().Delete(t.Context(), "cp2", metav1.DeleteOptions{})).To(Succeed())
	pods, err := set.CoreV1().Pods("kube-system").List(t.Context(), metav1.ListOptions{LabelSelector: "tier=control-plane"})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(pods.Items).To(HaveLen(4), "only those of cp1")
	cp2.off()
	g.Expect(w.Clusters()[0].EtcdMembers).To(Equal([]string{"cp1"}))
}

func TestServerIsUsedAgain(t *testing.T) {
	g := NewWithT(t)
	w, s, next := newWorld(t), newSite(t), newSite(t)
	machine := newServer(t, w, "machine")
	machine.install("old", s.initData())
	ready(t, w, "old")
	machine.off()
	g.Expect(w.Clusters()).To(HaveLen(1), "it could boot again")
	machine.live("new", next.initData())
	ready(t, w, "new")
	g.Expect(w.Clusters()).To(HaveLen(1), "nothing can bring the old cluster back")
	g.Expect(w.Clusters()[0].Endpoint).To(Equal(next.endpoint))
}

func TestInstalledSystemBootsFromDisk(t *testing.T) {
	g := NewWithT(t)
	w, s := newWorld(t), newSite(t)
	machine := newServer(t, w, "cp1")
	machine.install("cp1", s.initData())
	ready(t, w, "cp1")
	machine.shutdown()
	g.Expect(node(w, "cp1").Ready).To(BeFalse())
	machine.on("Hdd")
	ready(t, w, "cp1")
}

func TestCloseFreesPorts(t *testing.T) {
	g := NewWithT(t)
	w, s := newWorld(t), newSite(t)
	newServer(t, w, "cp1").live("cp1", s.initData())
	ready(t, w, "cp1")
	g.Expect(w.Close()).To(Succeed())
	listener, err := net.Listen("tcp", s.endpoint)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(listener.Close()).To(Succeed())
	g.Expect(w.Clusters()).To(BeEmpty())
}
