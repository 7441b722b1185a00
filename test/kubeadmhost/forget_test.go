package kubeadmhost_test

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/cluster-api/util/secret"

	"github.com/beskar7/beskar7/test/kubeadmhost"
)

// names of the nodes of all clusters.
func names(w *kubeadmhost.World) []string {
	out := []string{}
	for _, n := range w.Nodes() {
		out = append(out, n.Name)
	}
	return out
}

// TestLiveControlPlaneBeginsAnew: the only control plane of a cluster lost its
// power, and with it the cluster. Its kubeadm init makes another one.
func TestLiveControlPlaneBeginsAnew(t *testing.T) {
	for name, lose := range map[string]func(*server){"power loss": (*server).off, "shutdown": (*server).shutdown} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			w, s := newWorld(t), newSite(t)
			cp1, worker := newServer(t, w, "cp1"), newServer(t, w, "worker")
			cp1.live("cp1", s.initData())
			ready(t, w, "cp1")
			worker.live("worker", s.workerData())
			ready(t, w, "worker")
			set := clientset(t, admin(t, w, s.endpoint))
			mine := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "mine", Namespace: "default"}}
			_, err := set.CoreV1().ConfigMaps("default").Create(t.Context(), mine, metav1.CreateOptions{})
			g.Expect(err).NotTo(HaveOccurred())

			lose(cp1)
			g.Expect(w.Clusters()).To(BeEmpty(), "nothing can bring it back")
			cp1.live("cp1", s.initData())
			ready(t, w, "cp1")
			g.Expect(names(w)).To(ConsistOf("cp1"))
			set = clientset(t, admin(t, w, s.endpoint))
			nodes, err := set.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(nodes.Items).To(HaveLen(1), "not the nodes of before")
			_, err = set.CoreV1().ConfigMaps("default").Get(t.Context(), "mine", metav1.GetOptions{})
			g.Expect(apierrors.IsNotFound(err)).To(BeTrue(), "an object of before: %v", err)
			g.Expect(w.Clusters()[0].EtcdMembers).To(Equal([]string{"cp1"}))

			worker.off()
			worker.live("worker", s.workerData())
			ready(t, w, "worker")
			g.Expect(names(w)).To(ConsistOf("cp1", "worker"), "the worker joins the new cluster")
		})
	}
}

// TestLiveWorkerJoinsAnew: it needs its token again.
func TestLiveWorkerJoinsAnew(t *testing.T) {
	g := NewWithT(t)
	w, s := newWorld(t), newSite(t)
	newServer(t, w, "cp1").live("cp1", s.initData())
	worker, installed := newServer(t, w, "worker"), newServer(t, w, "installed")
	ready(t, w, "cp1")
	worker.live("worker", s.workerData())
	installed.install("installed", s.workerData())
	ready(t, w, "worker", "installed")
	worker.off()
	g.Expect(node(w, "worker").Ready).To(BeFalse())
	g.Expect(node(w, "worker").Server).To(BeEmpty(), "nothing carries the Node any more")
	worker.live("worker", s.workerData())
	ready(t, w, "worker")

	worker.off()
	installed.off()
	secrets := clientset(t, admin(t, w, s.endpoint)).CoreV1().Secrets("kube-system")
	g.Expect(secrets.Delete(t.Context(), "bootstrap-token-abcdef", metav1.DeleteOptions{})).To(Succeed())
	installed.on("Hdd")
	ready(t, w, "installed") // a kubelet with an identity needs no token
	worker.live("worker", s.workerData())
	g.Expect(refused(t, w).Reason).To(ContainSubstring("with bootstrap token"))
	g.Expect(node(w, "worker").Ready).To(BeFalse())
}

// TestLiveControlPlaneLostItsEtcd: the others still count its member, of which the
// data are lost. It joins anew after that was removed.
func TestLiveControlPlaneLostItsEtcd(t *testing.T) {
	g := NewWithT(t)
	w, s := newWorld(t), newSite(t)
	cp1, cp2, cp3 := newServer(t, w, "cp1"), newServer(t, w, "cp2"), newServer(t, w, "cp3")
	cp1.live("cp1", s.initData())
	ready(t, w, "cp1")
	cp2.live("cp2", s.controlPlaneData())
	cp3.live("cp3", s.controlPlaneData())
	ready(t, w, "cp2", "cp3")
	cp3.off()
	cp3.live("cp3", s.controlPlaneData())
	g.Expect(refused(t, w).Reason).To(ContainSubstring("its data are lost"))
	cp3.off()
	g.Expect(w.Clusters()[0].EtcdMembers).To(Equal([]string{"cp1", "cp2", "cp3"}))

	client, _, err := dialEtcd(t, s, admin(t, w, s.endpoint), "cp1", clientCertificate(t, s, secret.EtcdCA), patience)
	g.Expect(err).NotTo(HaveOccurred())
	members, err := client.MemberList(t.Context())
	g.Expect(err).NotTo(HaveOccurred())
	for _, m := range members.Members {
		if m.Name == "cp3" {
			_, err = client.MemberRemove(t.Context(), m.ID)
			g.Expect(err).NotTo(HaveOccurred())
		}
	}
	cp3.live("cp3", s.controlPlaneData())
	g.Eventually(func() bool { return node(w, "cp3").Ready }, patience, 20*time.Millisecond).Should(BeTrue())
	g.Expect(w.Clusters()[0].EtcdMembers).To(Equal([]string{"cp1", "cp2", "cp3"}))
	g.Expect(w.Failures()).To(HaveLen(1))
}

// TestInstallerBegunAgain: what an installer overwrites is lost as what was in
// memory.
func TestInstallerBegunAgain(t *testing.T) {
	g := NewWithT(t)
	w, s := newWorld(t), newSite(t)
	cp1, worker := newServer(t, w, "cp1"), newServer(t, w, "worker")
	cp1.install("cp1", s.initData())
	ready(t, w, "cp1")
	worker.live("worker", s.workerData())
	ready(t, w, "worker")
	cp1.off()
	g.Expect(names(w)).To(ConsistOf("cp1", "worker"), "it could start from its disk")
	cp1.install("cp1", s.initData())
	ready(t, w, "cp1")
	g.Expect(names(w)).To(ConsistOf("cp1"))
}
