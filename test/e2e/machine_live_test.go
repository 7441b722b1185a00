//go:build e2e && e2emachine

package e2e

import (
	"context"
	"os"
	"testing"

	. "github.com/onsi/gomega"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/test/machine"
)

// ownFile is a file and a command of the user's own in the bootstrap data, beside those of Cluster API.
var ownFile = []string{
	"files:", "- {path: /etc/machine/greeting, owner: 'root:root', permissions: '0640', content: written by cloud-init}",
	"preKubeadmCommands:", "- stat -c 'own-record %n %a %U' /etc/machine/greeting >/dev/ttyS0", "- sed 's/^/own-record /' /etc/machine/greeting >/dev/ttyS0",
}

// TestMachineLive: a real machine boots from one composed medium, runs the bootstrap data that Cluster API made, reports, survives a
// power cut under the same claim, as its owner says that the image bears that, and goes back to the pool by a graceful shutdown.
func TestMachineLive(t *testing.T) {
	r := newRealStory(t, newYard(t), "live", "supermicro-x12", machine.Options{})
	r.create("live", nil, ownFile...)
	claim := r.claim("the host to be claimed", claimed)
	r.console(1, "Linux version")
	r.streamed()
	r.console(1, "own-record /etc/machine/greeting 640 root", "own-record written by cloud-init")
	r.booted(1, claim)
	g := NewWithT(t)
	g.Expect(r.claim("the claim to be bound", bound).PhoneHome.Outcome).To(Equal(v1beta1.PhoneHomeSucceeded))
	g.Expect(r.bmc.State().Slots[0].Image).To(HaveSuffix("/composed.iso"))
	r.provisioned(claim)

	r.bearsAnotherBoot()
	r.bmc.CutPower()
	r.booted(2, claim)
	r.console(2, "cloud-init-record: done")
	g.Expect(r.claim("the claim to be bound", bound).ID).To(Equal(claim.ID), "the same claim boots again")
	r.ended("live", true)
}

// bearsAnotherBoot is the owner's word that a Live system which lost its power may boot again.
func (r *realStory) bearsAnotherBoot() {
	r.t.Helper()
	h := r.host()
	base := h.DeepCopy()
	h.Spec.PowerPolicy = v1beta1.PowerPolicyAlwaysOn
	NewWithT(r.t).Expect(r.Client.Patch(r.t.Context(), h, client.MergeFrom(base))).To(Succeed())
}

// streamed checks that a kernel runs of which the BMC, and the media server behind it, read no more than it needed: by ranges, and
// less than the image.
func (r *realStory) streamed() {
	r.t.Helper()
	g := NewWithT(r.t)
	info, err := os.Stat(r.yard.image.Path())
	g.Expect(err).NotTo(HaveOccurred())
	got, served := r.bmc.State().Slots[0].Bytes, r.yard.image.Served()
	r.t.Logf("the BMC has read %d of %d bytes; the image server gave %d, in %d ranges", got, info.Size(), served.Bytes, served.Ranged)
	g.Expect(got).To(BeNumerically(">", 1<<20))
	g.Expect(got).To(BeNumerically("<", info.Size()))
	g.Expect(served.Whole).To(BeZero(), "requests for the whole image")
	g.Expect(served.Ranged).To(BeNumerically(">", 10))
	g.Expect(served.Bytes).To(BeNumerically("<", info.Size()))
}

// provisioned waits until Cluster API knows the machine's infrastructure as provisioned, under the claim's provider id.
func (r *realStory) provisioned(claim *v1beta1.Claim) {
	r.t.Helper()
	r.until("Cluster API to see the machine provisioned", func(ctx context.Context) (bool, string, error) {
		list := &clusterv1.MachineList{}
		if err := r.Client.List(ctx, list, client.InNamespace(r.namespace)); err != nil || len(list.Items) != 1 {
			return false, "no machine, or several", err
		}
		m := &list.Items[0]
		done := m.Status.Initialization.InfrastructureProvisioned
		return done != nil && *done && m.Spec.ProviderID == v1beta1.ProviderID(r.namespace, r.bmc.Name(), claim.ID), "it is not provisioned yet", nil
	})
}
