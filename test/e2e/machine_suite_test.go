//go:build e2e && e2emachine

package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/test/emulator"
	"github.com/beskar7/beskar7/test/lab"
	"github.com/beskar7/beskar7/test/machine"
)

// yard is a lab whose servers are real machines.
type yard struct {
	*lab.Lab
	image *machine.ImageServer
	// client trusts what BMCs trust for media.
	client *http.Client
}

// newYard starts a site whose media are reached by BMCs and by booted machines alike, over https.
func newYard(t *testing.T) *yard {
	t.Helper()
	g := NewWithT(t)
	g.Expect(machine.Missing()).To(Succeed())
	root, err := lab.Root("")
	g.Expect(err).NotTo(HaveOccurred())
	path, err := machine.FindImage(root)
	g.Expect(err).NotTo(HaveOccurred())
	certificates := t.TempDir()
	ca, err := machine.WriteCertificate(certificates)
	g.Expect(err).NotTo(HaveOccurred())
	port := mediaPort(t)
	y := &yard{}
	y.image, err = machine.ServeImage(path)
	g.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { _ = y.image.Close() })
	y.Lab = newLab(t, func(o *lab.Options) {
		o.ExtraArgs = []string{"--media-cert-dir=" + certificates, "--media-bind-address=127.0.0.1:" + port,
			"--media-advertise-url=https://127.0.0.1:" + port, "--phone-home-advertise-url=https://" + net.JoinHostPort(machine.HostAddress, port),
			"--leader-elect-lease-duration=15s", "--leader-elect-renew-deadline=10s", "--leader-elect-retry-period=2s"}
	})
	trust := x509.NewCertPool()
	trust.AppendCertsFromPEM(ca)
	y.Fleet.SetMediaTrust(trust)
	y.client = &http.Client{Timeout: time.Minute, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trust, MinVersion: tls.VersionTLS12}}}
	t.Cleanup(y.client.CloseIdleConnections)
	return y
}

// mediaPort is a free port of the loopback; the manager takes it a moment later.
func mediaPort(t *testing.T) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
}

// realStory is the story of one real machine.
type realStory struct {
	*story
	yard    *yard
	bmc     *emulator.BMC
	machine *machine.Machine
}

// newRealStory registers one real machine behind a BMC of the persona, and waits until it can be claimed. Its times are for an
// emulated processor, unless change says otherwise.
func newRealStory(t *testing.T, y *yard, namespace, persona string, o machine.Options, change ...func(*v1beta1.Tuning)) *realStory {
	t.Helper()
	g := NewWithT(t)
	root, err := lab.Root("")
	g.Expect(err).NotTo(HaveOccurred())
	o.Dir = filepath.Join(root, "out", "e2e", strings.ReplaceAll(t.Name(), "/", "_")+".machine")
	g.Expect(os.RemoveAll(o.Dir)).To(Succeed())
	r := &realStory{story: &story{Lab: y.Lab, t: t, namespace: namespace}, yard: y}
	r.machine, err = machine.New(o)
	g.Expect(err).NotTo(HaveOccurred())
	r.bmc, err = y.Fleet.Add(emulator.Spec{Name: namespace + "-0", Persona: persona, Username: "admin", Password: "b7-real-secret"})
	g.Expect(err).NotTo(HaveOccurred())
	r.bmc.SetGuest(r.machine)
	t.Cleanup(func() { // a failed story's machine does not go on beside the next one
		r.bmc.SetGuest(nil)
		r.bmc.CutPower()
		_ = os.Remove(filepath.Join(o.Dir, "disk.img"))
	})
	g.Expect(y.Client.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})).To(Succeed())
	g.Expect(y.Client.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "bmc-ca"},
		Data: map[string][]byte{"ca.crt": y.Fleet.CAPEM()}})).To(Succeed())
	g.Expect(y.Register(t.Context(), namespace, r.bmc, func(h *v1beta1.PhysicalHost) {
		tuning := &v1beta1.Tuning{ShutdownTimeout: &metav1.Duration{Duration: patience}, ReleaseTimeout: &metav1.Duration{Duration: 2 * patience}}
		for _, c := range change {
			c(tuning)
		}
		h.Spec.RedfishConnection.Tuning = tuning
	})).To(Succeed())
	r.available()
	return r
}

// create applies a cluster of one control plane machine that boots the live image. lines are YAML for its kubeadmConfigSpec.
func (r *realStory) create(name string, variables map[string]string, lines ...string) {
	r.t.Helper()
	g := NewWithT(r.t)
	all := map[string]string{"BESKAR7_IMAGE_URL": r.yard.image.URL(), "BESKAR7_OS_FAMILY": "debian"}
	maps.Copy(all, variables)
	manifest, err := r.Generate(r.t.Context(), lab.ClusterSpec{Namespace: r.namespace, Name: name, ControlPlanes: 1, Variables: all})
	g.Expect(err).NotTo(HaveOccurred())
	const at = "  kubeadmConfigSpec:\n"
	g.Expect(string(manifest)).To(ContainSubstring(at))
	text := at
	for _, line := range lines {
		text += "    " + line + "\n"
	}
	_, err = r.Plane.Kubectl(r.t.Context(), []byte(strings.Replace(string(manifest), at, text, 1)), "apply", "--server-side", "-f", "-")
	g.Expect(err).NotTo(HaveOccurred())
}

// console waits until a power cycle of the machine wrote all the words.
func (r *realStory) console(cycle int, words ...string) {
	r.t.Helper()
	begun := time.Now()
	r.until(fmt.Sprintf("power cycle %d", cycle), func(context.Context) (bool, string, error) {
		return r.machine.Serial().Cycles() >= cycle, r.says(), nil
	})
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	if err := r.machine.Serial().Await(ctx, cycle, words...); err != nil {
		r.t.Fatalf("%v\nhost: %s", err, r.says())
	}
	r.t.Logf("power cycle %d wrote %q after %s", cycle, words[len(words)-1], time.Since(begun).Round(time.Second))
}

// says is what the host says of itself.
func (r *realStory) says() string {
	h, err := lab.Object(r.t.Context(), r.Lab, r.namespace, r.bmc.Name(), &v1beta1.PhysicalHost{})
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%s: %s", h.Status.State, conditions.GetMessage(h, v1beta1.ReadyCondition))
}

// claim waits until the host has a claim of which something holds, and returns it.
func (r *realStory) claim(what string, ok func(*v1beta1.PhysicalHost) bool) *v1beta1.Claim {
	r.t.Helper()
	h := &v1beta1.PhysicalHost{}
	r.until(what, func(ctx context.Context) (bool, string, error) {
		h = &v1beta1.PhysicalHost{}
		if err := r.Client.Get(ctx, client.ObjectKey{Namespace: r.namespace, Name: r.bmc.Name()}, h); err != nil {
			return false, "", err
		}
		return h.Spec.Claim != nil && ok(h), fmt.Sprintf("%s: %s", h.Status.State, conditions.GetMessage(h, v1beta1.ReadyCondition)), nil
	})
	return h.Spec.Claim
}

func claimed(h *v1beta1.PhysicalHost) bool { return h.Spec.Claim.ID != "" }

func bound(h *v1beta1.PhysicalHost) bool { return h.Spec.Claim.Bound }

// booted waits until a machine wrote on its console that cloud-init did what Cluster API's kubeadm bootstrap provider asked.
func (r *realStory) booted(cycle int, claim *v1beta1.Claim) {
	r.t.Helper()
	r.console(cycle, "kubeadm-record: called: init --config /run/kubeadm/kubeadm.yaml", "kind: ClusterConfiguration",
		"beskar7://"+r.namespace+"/"+r.bmc.Name()+"/"+claim.ID, "kubeadm-record: file: /etc/kubernetes/pki/ca.key 600", "kubeadm-record: done")
}

// ended deletes the story's cluster and sees its host back in the pool: off, empty, by the system's own doing if it ran one.
func (r *realStory) ended(name string, running bool) {
	r.t.Helper()
	r.remove(name)
	r.available()
	if running {
		r.shutDownByItself()
	}
	r.spentServer(r.bmc.Name())
	NewWithT(r.t).Expect(r.witness().Released).To(Equal(1))
}

// shutDownByItself says whether the last power-off was the system's own doing: power was not cut over Redfish since it booted.
func (r *realStory) shutDownByItself() {
	r.t.Helper()
	g := NewWithT(r.t)
	console := r.machine.Serial().Cycle(r.machine.Serial().Cycles())
	g.Expect(strings.Contains(console, "reboot: Power down")).To(BeTrue(), "the kernel's own last words are missing")
	graceful := false
	for _, e := range r.bmc.Events() {
		switch e.Kind {
		case emulator.EventGuestStart:
			graceful = false
		case emulator.EventReset:
			g.Expect(e.To == "ForceOff" && graceful).To(BeFalse(), "power was cut: %+v", e)
			graceful = e.To == "GracefulShutdown"
		default: // says nothing of power
		}
	}
	g.Expect(graceful).To(BeTrue(), "no graceful shutdown was asked for since the last boot")
}
