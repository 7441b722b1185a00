package lab

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/test/emulator"
	"github.com/beskar7/beskar7/test/kubeadmhost"
)

// records is a lab without managers: an API server whose history is real, and a server whose log is.
func records(ctx context.Context, t *testing.T) (*Lab, *emulator.BMC) {
	t.Helper()
	ctrl.SetLogger(logr.Discard())
	g := NewWithT(t)
	root, err := Root("")
	g.Expect(err).NotTo(HaveOccurred())
	l := &Lab{options: Options{Dir: t.TempDir(), Root: root, Progress: testWriter{t}}}
	t.Cleanup(func() { _ = l.Stop() })
	g.Expect(l.startPlane(ctx)).To(Succeed())
	for _, args := range [][]string{{"apply", "-f", filepath.Join(root, "config", "crd", "bases")},
		{"wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"}} {
		_, err = l.Plane.Kubectl(ctx, nil, args...)
		g.Expect(err).NotTo(HaveOccurred())
	}
	l.Fleet, err = emulator.New(emulator.Options{})
	g.Expect(err).NotTo(HaveOccurred())
	l.World, err = kubeadmhost.New(kubeadmhost.Options{})
	g.Expect(err).NotTo(HaveOccurred())
	l.owned = append(l.owned, l.Fleet, l.World)
	b, err := l.Fleet.Add(emulator.Spec{Name: "a"})
	g.Expect(err).NotTo(HaveOccurred())
	return l, b
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimRight(string(p), "\n"))
	return len(p), nil
}

// override writes the boot override, as any Redfish client could.
func override(ctx context.Context, g Gomega, l *Lab, b *emulator.BMC, body string) {
	trust := x509.NewCertPool()
	trust.AppendCertsFromPEM(l.Fleet.CAPEM())
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trust}}
	defer transport.CloseIdleConnections()
	r, err := http.NewRequestWithContext(ctx, http.MethodPatch, b.URL()+"/redfish/v1/Systems/"+b.SystemID(), strings.NewReader(`{"Boot":`+body+`}`))
	g.Expect(err).NotTo(HaveOccurred())
	r.SetBasicAuth(b.Username(), b.Password())
	answer, err := (&http.Client{Transport: transport}).Do(r)
	g.Expect(err).NotTo(HaveOccurred())
	defer func() { _ = answer.Body.Close() }()
	g.Expect(answer.StatusCode).To(Equal(http.StatusOK))
}

const (
	armed   = `{"BootSourceOverrideTarget":"Cd","BootSourceOverrideEnabled":"Once"}`
	cleared = `{"BootSourceOverrideEnabled":"Disabled"}`
)

func TestWitnessReadsBothRecords(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	g := NewWithT(t)
	l, b := records(ctx, t)
	meta := metav1.ObjectMeta{Namespace: "default", Name: "a", Finalizers: []string{"example.com/keep"}}
	host := &v1beta1.PhysicalHost{ObjectMeta: meta, Spec: v1beta1.PhysicalHostSpec{RedfishConnection: v1beta1.RedfishConnection{Address: b.URL() + "/",
		CredentialsSecretRef: v1beta1.SecretReference{Name: "s"}}}}
	machine := &v1beta1.Beskar7Machine{ObjectMeta: *meta.DeepCopy(), Spec: v1beta1.Beskar7MachineSpec{ImageURL: "http://127.0.0.1/a.iso"}}
	g.Expect(l.Client.Create(ctx, host)).To(Succeed())
	g.Expect(l.Client.Create(ctx, machine)).To(Succeed())
	host.Status.Conditions = []metav1.Condition{{Type: v1beta1.AvailableCondition, Status: metav1.ConditionTrue, Reason: "Available", LastTransitionTime: metav1.Now()}}
	g.Expect(l.Client.Status().Update(ctx, host)).To(Succeed())

	patched := func(o client.Object, change func(), opts ...client.PatchOption) {
		before := o.DeepCopyObject().(client.Object)
		change()
		g.Expect(l.Client.Patch(ctx, o, client.MergeFrom(before), opts...)).To(Succeed())
	}
	patched(machine, func() { machine.Spec.HostRef = &v1beta1.HostRef{Name: "a", ClaimID: claimID} })
	rehearsed := host.DeepCopy()
	patched(rehearsed, func() { rehearsed.Spec.Claim = &v1beta1.Claim{ID: "00000000000000bb", Machine: "b", Cluster: "c"} }, client.DryRunAll)
	patched(host, func() { host.Spec.Claim = &v1beta1.Claim{ID: claimID, Machine: "a", Cluster: "c"} })
	override(ctx, g, l, b, armed)
	override(ctx, g, l, b, cleared)
	patched(host, func() { host.Spec.Claim.Release = &v1beta1.Release{Reason: "Deleted", RequestedAt: metav1.Now()} })
	patched(host, func() { host.Spec.Claim = nil })
	patched(host, func() { host.Finalizers = nil })
	g.Expect(l.Client.Delete(ctx, machine)).To(Succeed())
	patched(machine, func() { machine.Finalizers = nil })
	g.Expect(l.Client.DeleteAllOf(ctx, &v1beta1.PhysicalHost{}, client.InNamespace("default"))).To(Succeed())

	w, err := l.Witness(ctx, "default")
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(w.Err()).NotTo(HaveOccurred())
	g.Expect(w.Released).To(Equal(1))
	writes, err := l.auditWrites(ctx, time.Now())
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(writes).To(HaveLen(11))
	last := ordered(writes)[len(writes)-3:]
	g.Expect([]bool{last[0].removed, last[1].removed, last[2].removed}).To(Equal([]bool{false, true, true}))

	override(ctx, g, l, b, armed)
	w, err = l.Witness(ctx, "")
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(w.Violations).To(HaveLen(1))
	g.Expect(w.Violations[0]).To(And(HavePrefix("I2/I4: "), ContainSubstring("server a (host default/a)")))
}
