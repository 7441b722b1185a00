package kubeadmhost_test

import (
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/beskar7/beskar7/test/kubeadmhost"
)

// mistake is one thing wrong in the config drive of the first server.
type mistake struct {
	drive  func(t *testing.T, data string) []byte
	stage  kubeadmhost.Stage
	reason string
}

// withFiles makes a drive with files replaced, or left out where empty.
func withFiles(files map[string]string) func(*testing.T, string) []byte {
	return func(t *testing.T, data string) []byte {
		all := map[string]string{"user-data": data, "meta-data": metaData("cp1")}
		for name, content := range files {
			if content == "" {
				delete(all, name)
			} else {
				all[name] = content
			}
		}
		return image(t, "cidata", all)
	}
}

// edited makes a drive whose user data has one piece replaced.
func edited(old, new string) func(*testing.T, string) []byte {
	return func(t *testing.T, data string) []byte {
		if !strings.Contains(data, old) {
			t.Fatalf("the data does not contain %q", old)
		}
		return configDrive(t, "cp1", strings.Replace(data, old, new, 1))
	}
}

func mistakes() map[string]mistake {
	return map[string]mistake{
		"no meta-data":       {withFiles(map[string]string{"meta-data": ""}), kubeadmhost.StageMedium, "no meta-data"},
		"no user-data":       {withFiles(map[string]string{"user-data": ""}), kubeadmhost.StageMedium, "no user-data"},
		"meta-data not YAML": {withFiles(map[string]string{"meta-data": "a: b: c"}), kubeadmhost.StageCloudInit, "meta-data"},
		"no instance id":     {withFiles(map[string]string{"meta-data": "local-hostname: x\n"}), kubeadmhost.StageCloudInit, "instance id"},
		"no provider id":     {withFiles(map[string]string{"meta-data": "instance-id: x\nlocal-hostname: x\n"}), kubeadmhost.StageCloudInit, `"ds.meta_data.provider_id" is not defined`},
		"wrong label": {func(t *testing.T, data string) []byte {
			return image(t, "CONFIG", map[string]string{"user-data": data})
		}, kubeadmhost.StageMedium, "no volume labelled"},
		"truncated":           {func(t *testing.T, data string) []byte { d := configDrive(t, "cp1", data); return d[:len(d)-2048] }, kubeadmhost.StageMedium, "truncated"},
		"no ISO":              {func(*testing.T, string) []byte { return make([]byte, 64<<10) }, kubeadmhost.StageMedium, "no iso 9660"},
		"media server down":   {func(*testing.T, string) []byte { return nil }, kubeadmhost.StageMedium, "404"},
		"unknown variable":    {edited("ds.meta_data.local_hostname", "ds.meta_data.nonsense"), kubeadmhost.StageCloudInit, `"ds.meta_data.nonsense" is not defined`},
		"filter":              {edited("ds.meta_data.local_hostname", "ds.meta_data.local_hostname | upper"), kubeadmhost.StageCloudInit, "not a plain reference"},
		"no header":           {edited("#cloud-config", "#cloud-confog"), kubeadmhost.StageCloudInit, "#cloud-config"},
		"unknown module":      {edited("runcmd:", "runcmdd:"), kubeadmhost.StageCloudInit, `unknown key "runcmdd"`},
		"not YAML":            {edited("write_files:", "write_files: ["), kubeadmhost.StageCloudInit, "not valid YAML"},
		"no kubeadm":          {edited("kubeadm init --config", "echo"), kubeadmhost.StageCloudInit, "neither kubeadm init nor"},
		"file not written":    {edited("--config /run/kubeadm/kubeadm.yaml", "--config /run/kubeadm/other.yaml"), kubeadmhost.StageCloudInit, "not among write_files"},
		"permissions":         {edited("permissions: '0640'", "permissions: 'rw'"), kubeadmhost.StageCloudInit, "not octal"},
		"kubeadm field":       {edited("controlPlaneEndpoint:", "controlPlaneEndpont:"), kubeadmhost.StageCloudInit, "unknown field"},
		"kubeadm version":     {edited("kubeadm.k8s.io/v1beta4", "kubeadm.k8s.io/v1beta2"), kubeadmhost.StageCloudInit, "apiVersion"},
		"endpoint elsewhere":  {edited("controlPlaneEndpoint: 127.", "controlPlaneEndpoint: 192."), kubeadmhost.StageCloudInit, "not a loopback"},
		"no service accounts": {edited("path: /etc/kubernetes/pki/sa.pub", "path: /etc/kubernetes/pki/sa.pup"), kubeadmhost.StageCloudInit, "sa.pub"},
		"keys swapped": {func(t *testing.T, data string) []byte {
			swap := strings.NewReplacer("pki/ca.key", "pki/etcd/ca.key", "pki/etcd/ca.key", "pki/ca.key")
			return configDrive(t, "cp1", swap.Replace(data))
		}, kubeadmhost.StageCloudInit, "are not a pair"},
	}
}

// TestRefusedInit: every mistake fails the boot with words and leaves no node.
func TestRefusedInit(t *testing.T) {
	for name, test := range mistakes() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			w, s := newWorld(t), newSite(t)
			machine := newServer(t, w, "cp1")
			machine.on("Cd", medium("CD1", bootImage(t, "")), medium("CD2", test.drive(t, s.initData())))
			failure := refused(t, w)
			g.Expect(failure.Reason).To(ContainSubstring(test.reason))
			g.Expect(failure.Stage).To(Equal(test.stage))
			g.Expect(failure.Server).To(Equal("bmc-cp1"))
			g.Expect(failure.Reason).NotTo(ContainSubstring("BEGIN"), "no key material in words")
			g.Expect(w.Nodes()).To(BeEmpty())
			if test.stage != kubeadmhost.StageMedium {
				machine.shutdown() // the system is up, only without a node
			}
		})
	}
}

func TestRefusedJoin(t *testing.T) {
	for name, test := range map[string]struct {
		spoil  func(s *site)
		data   func(s *site) string
		reason string
	}{
		"token secret":  {func(s *site) { s.token = "abcdef.ffffffffffffffff" }, (*site).workerData, "with bootstrap token"},
		"token unknown": {func(s *site) { s.token = "ffffff.0123456789abcdef" }, (*site).workerData, "with bootstrap token"},
		"token form":    {func(s *site) { s.token = "abcdef" }, (*site).workerData, "form id.secret"},
		"CA hash":       {func(s *site) { s.hashes = []string{"sha256:" + strings.Repeat("0", 64)} }, (*site).workerData, "not among caCertHashes"},
		"no CA hash":    {func(s *site) { s.hashes = nil }, (*site).workerData, "caCertHashes"},
		"CA of another": {func(s *site) { s.certs = newCerts() }, (*site).controlPlaneData, "not the one of the cluster"},
		"endpoint down": {func(s *site) { s.endpoint = newSite(s.t).endpoint }, (*site).workerData, "connection refused"},
		"second init":   {func(*site) {}, (*site).initData, "is live at"},
		"same node name": {func(*site) {}, func(s *site) string {
			return strings.ReplaceAll(s.workerData(), "{{ ds.meta_data.local_hostname }}", "cp1")
		}, "running on server bmc-cp1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			w, s := newWorld(t), newSite(t)
			newServer(t, w, "cp1").live("cp1", s.initData())
			ready(t, w, "cp1")
			test.spoil(s)
			newServer(t, w, "late").live("late", test.data(s))
			failure := refused(t, w)
			g.Expect(failure.Reason).To(ContainSubstring(test.reason))
			g.Expect(failure.Reason).NotTo(ContainSubstring("0123456789abcdef"), "no token in words")
			g.Expect(w.Nodes()).To(HaveLen(1))
		})
	}
}

func TestExpiredToken(t *testing.T) {
	g := NewWithT(t)
	w, s := newWorld(t), newSite(t)
	newServer(t, w, "cp1").live("cp1", s.initData())
	ready(t, w, "cp1")
	secrets := clientset(t, admin(t, w, s.endpoint)).CoreV1().Secrets("kube-system")
	object, err := secrets.Get(t.Context(), "bootstrap-token-abcdef", metav1.GetOptions{})
	g.Expect(err).NotTo(HaveOccurred())
	object.Data["expiration"] = []byte("2020-01-01T00:00:00Z")
	_, err = secrets.Update(t.Context(), object, metav1.UpdateOptions{})
	g.Expect(err).NotTo(HaveOccurred())
	newServer(t, w, "late").live("late", s.workerData())
	g.Expect(refused(t, w).Reason).To(ContainSubstring("401"))
}

func TestEmptyDisk(t *testing.T) {
	w := newWorld(t)
	newServer(t, w, "bare").on("Hdd")
	NewWithT(t).Expect(refused(t, w).Reason).To(Equal("no operating system on the disk"))
}

func TestConfigDrive2(t *testing.T) {
	g := NewWithT(t)
	w, s := newWorld(t), newSite(t)
	drive := image(t, "config-2", map[string]string{
		"openstack/latest/user_data":      s.initData(),
		"openstack/latest/meta_data.json": `{"uuid":"0123","hostname":"cp1","provider_id":"` + providerID("cp1") + `"}`,
	})
	newServer(t, w, "cp1").on("Cd", medium("CD1", bootImage(t, "")), medium("CD2", drive))
	ready(t, w, "cp1")
	g.Expect(node(w, "cp1").ProviderID).To(Equal(providerID("cp1")))
}
