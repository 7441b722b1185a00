//go:build e2e && e2emachine

package e2e

import (
	"testing"

	. "github.com/onsi/gomega"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/test/machine"
)

// TestMachineLive: a real machine boots from one composed medium, runs the bootstrap data that Cluster API made, reports, survives a
// power cut under the same claim, and goes back to the pool by a graceful shutdown.
func TestMachineLive(t *testing.T) {
	r := newRealStory(t, newYard(t), "live", "supermicro-x12", machine.Options{})
	r.create("live", nil)
	claim := r.claim("the host to be claimed", claimed)
	r.booted(1, claim)
	g := NewWithT(t)
	g.Expect(r.claim("the claim to be bound", bound).PhoneHome.Outcome).To(Equal(v1beta1.PhoneHomeSucceeded))
	g.Expect(r.bmc.State().Slots[0].Image).To(HaveSuffix("/composed.iso"))

	r.bmc.CutPower()
	r.booted(2, claim)
	r.console(2, "cloud-init-record: done")
	g.Expect(r.claim("the claim to be bound", bound).ID).To(Equal(claim.ID), "the same claim boots again")

	r.remove("live")
	r.available()
	r.shutDownByItself()
	g.Expect(r.bmc.State().Slots[0].Inserted).To(BeFalse())
	g.Expect(r.witness().Released).To(Equal(1))
}
