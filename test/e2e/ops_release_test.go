//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/test/emulator"
	"github.com/beskar7/beskar7/test/lab"
)

// TestReleaseOfADeadBMC deletes a control-plane machine whose BMC is dead, and does what the messages say until its server can be
// claimed again.
func TestReleaseOfADeadBMC(t *testing.T) {
	l := newLab(t)
	s := newStory(t, l, "dead", 4, func(_ int, h *v1beta1.PhysicalHost) {
		h.Spec.RedfishConnection.Tuning = &v1beta1.Tuning{ReleaseTimeout: &metav1.Duration{Duration: 10 * time.Second}, ShutdownTimeout: &metav1.Duration{Duration: 5 * time.Second}}
	})
	s.apply(lab.ClusterSpec{Name: "dead", ControlPlanes: 3})
	s.running("dead", 3, 0)
	host, machine := s.controlPlaneHost()
	bmc := l.Fleet.Get(host.Name)
	g := NewWithT(t)
	g.Expect(bmc.Unplug(true)).To(Succeed())
	s.kubectl("delete", "machine", machine, "--wait=false")
	message := s.condition(host, v1beta1.ReleaseBlockedCondition, metav1.ConditionTrue, v1beta1.ReasonReleaseOverdue)
	s.until("the machine to show what its host says", func(ctx context.Context) (bool, string, error) {
		m, err := lab.Object(ctx, l, s.namespace, machine, &clusterv1.Machine{})
		if err != nil {
			return false, "", err
		}
		shown := conditions.GetMessage(m, clusterv1.InfrastructureReadyCondition)
		return strings.Contains(shown, v1beta1.ReleaseUnverifiedAnnotation), shown, nil
	})
	g.Expect(bmc.State().GuestRunning).To(BeTrue(), "nobody could stop it")
	s.follow(message)
	s.condition(host, v1beta1.AvailableCondition, metav1.ConditionFalse, v1beta1.ReasonQuarantined)
	s.until("the machine to be gone", func(ctx context.Context) (bool, string, error) {
		err := l.Client.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: machine}, &clusterv1.Machine{})
		return err != nil && client.IgnoreNotFound(err) == nil, "it is there", client.IgnoreNotFound(err)
	})
	s.running("dead", 3, 0)
	s.mend(host, bmc)
	s.remove("dead")
	s.available()
	s.spent()
	w := s.witness()
	g.Expect([]int{w.Provisioned, w.Released}).To(Equal([]int{4, 3}), "one was given up, not released")
}

// TestNamespaceDeleted deletes a namespace with a running cluster, its servers and their Secrets, all at once.
func TestNamespaceDeleted(t *testing.T) {
	s := newStory(t, newLab(t), "gone", 4)
	s.apply(lab.ClusterSpec{Name: "gone", ControlPlanes: 1, Workers: 2})
	s.running("gone", 1, 2)
	s.forget()
	for _, b := range s.Fleet.BMCs() {
		s.spentServer(b.Name())
	}
	s.witness()
}

// mend is the way of a quarantined, running server back into the pool; each step is what the message before it says.
func (s *story) mend(host *v1beta1.PhysicalHost, bmc *emulator.BMC) {
	s.t.Helper()
	g := NewWithT(s.t)
	g.Expect(bmc.Unplug(false)).To(Succeed())
	s.follow(s.condition(host, v1beta1.AvailableCondition, metav1.ConditionFalse, v1beta1.ReasonQuarantined))
	said := s.condition(host, v1beta1.AvailableCondition, metav1.ConditionFalse, v1beta1.ReasonPoweredOn)
	g.Expect(said).To(ContainSubstring("power it off"))
	bmc.CutPower()
	said = s.condition(host, v1beta1.AvailableCondition, metav1.ConditionFalse, v1beta1.ReasonForeignMedia)
	g.Expect(said).To(ContainSubstring("consent to have it emptied"))
	s.follow(said)
	s.condition(host, v1beta1.AvailableCondition, metav1.ConditionTrue, v1beta1.ReasonAvailable)
	s.spentServer(host.Name)
	s.change(host, func() { host.Spec.ConsentToErase = false })
}

// change patches the host as a user would.
func (s *story) change(host *v1beta1.PhysicalHost, f func()) {
	s.t.Helper()
	g := NewWithT(s.t)
	g.Expect(s.Client.Get(s.t.Context(), client.ObjectKeyFromObject(host), host)).To(Succeed())
	before := client.MergeFrom(host.DeepCopy())
	f()
	g.Expect(s.Client.Patch(s.t.Context(), host, before)).To(Succeed())
}

// controlPlaneHost is a host with the name of the Machine that runs on it.
func (s *story) controlPlaneHost() (*v1beta1.PhysicalHost, string) {
	s.t.Helper()
	g := NewWithT(s.t)
	machines := &clusterv1.MachineList{}
	g.Expect(s.Client.List(s.t.Context(), machines, client.InNamespace(s.namespace), client.HasLabels{clusterv1.MachineControlPlaneLabel})).To(Succeed())
	g.Expect(machines.Items).NotTo(BeEmpty())
	m := machines.Items[len(machines.Items)-1]
	hosts, err := s.Hosts(s.t.Context(), s.namespace)
	g.Expect(err).NotTo(HaveOccurred())
	for i := range hosts {
		if c := hosts[i].Spec.Claim; c != nil && c.Machine == m.Spec.InfrastructureRef.Name {
			return &hosts[i], m.Name
		}
	}
	s.t.Fatalf("no host of %s", m.Name)
	return nil, ""
}

// condition waits until a host has a condition, and returns its message.
func (s *story) condition(host *v1beta1.PhysicalHost, kind string, status metav1.ConditionStatus, reason string) string {
	s.t.Helper()
	message := ""
	s.until(fmt.Sprintf("%s=%s (%s) of host %s", kind, status, reason, host.Name), func(ctx context.Context) (bool, string, error) {
		h, err := lab.Object(ctx, s.Lab, s.namespace, host.Name, &v1beta1.PhysicalHost{})
		if err != nil {
			return false, "", err
		}
		c := ptr.Deref(conditions.Get(h, kind), metav1.Condition{})
		message = c.Message
		return c.Status == status && c.Reason == reason, fmt.Sprintf("%s=%s (%s): %s", kind, c.Status, c.Reason, c.Message), nil
	})
	s.t.Logf("%s: %s", reason, message)
	return message
}

// follow runs the command that ends a message in a shell, as a person who pastes it.
func (s *story) follow(message string) {
	s.t.Helper()
	at := strings.LastIndex(message, "kubectl ")
	if at < 0 {
		s.t.Fatalf("no command in %q", message)
	}
	shell := exec.CommandContext(s.t.Context(), "sh", "-c", message[at:])
	shell.Env = append(os.Environ(), "KUBECONFIG="+s.Plane.Kubeconfig(), "PATH="+filepath.Dir(s.Plane.Bin().Kubectl)+":"+os.Getenv("PATH"))
	if out, err := shell.CombinedOutput(); err != nil {
		s.t.Fatalf("%s: %v\n%s", message[at:], err, out)
	}
}
