package controllers

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/controllers/media"
	"github.com/beskar7/beskar7/pkg/actuator"
	"github.com/beskar7/beskar7/pkg/bootmedia"
	"github.com/beskar7/beskar7/pkg/provision"
	"github.com/beskar7/beskar7/pkg/redfish"
)

// A refused write of the grant (a conflict, a value that the API does not take) leaves a Secret with the bootstrap data.
func TestARefusedGrantLeavesNoRecord(t *testing.T) {
	r := newRig(t, claimedHost(), bootstrapSecret(), newMachine(), ownerMachine(), newCluster())
	stale := r.getHost()
	edit(r, &v1beta1.PhysicalHost{}, "h", func(h *v1beta1.PhysicalHost) { h.Spec.FailureDomain = "rack-1" })
	content, err := media.ContentOf(stale, bootstrapSecret())
	if err != nil {
		t.Fatal(err)
	}
	content.Looks = &bootmedia.ImageLooksLike{}
	for range 3 {
		if err := r.host.mint(t.Context(), stale.DeepCopy(), &gathered{content: &content}); err == nil {
			t.Fatal("no conflict")
		}
	}
	list := &corev1.SecretList{}
	if err := r.api.List(t.Context(), list, client.HasLabels{v1beta1.MediumLabel}); err != nil {
		t.Fatal(err)
	}
	if len(list.Items) != 0 {
		t.Errorf("%d records of grants that were refused are left, each with the bootstrap data", len(list.Items))
	}
}

// One reading "off" that the next one contradicts counts as a failed boot, for good.
func TestOneSlipOfABMCIsNoFailedBoot(t *testing.T) {
	h := claimedHost()
	at := metav1.NewTime(epoch)
	h.Status.Booted = &v1beta1.BootRecord{ClaimID: claimID, At: at, Count: 1, First: at, Wish: wishOf(h)}
	g := &gathered{}
	g.facts = provision.Facts{Claim: provision.ClaimHeld, Observed: true, Power: provision.PowerStateOff}
	g.observation = actuator.Observation{At: epoch.Add(5 * time.Minute), State: redfish.State{Power: redfish.PowerOff}, Steady: false}
	now := metav1.NewTime(epoch.Add(5 * time.Minute))
	d := provision.Decision{State: provision.Provisioning, Action: provision.Observe, Rule: "boot-confirm"}
	reportBoots(h, g, d, false, now)
	reportHealth(h, g, d, now)
	// the next reading says on
	g.facts.Power, g.observation = provision.PowerStateOn, actuator.Observation{At: epoch.Add(6 * time.Minute), State: redfish.State{Power: redfish.PowerOn}}
	d = provision.Decision{State: provision.Booting, Action: provision.None, Rule: "wait-for-boot"}
	reportBoots(h, g, d, false, metav1.NewTime(epoch.Add(6*time.Minute)))
	if h.Status.HealthScore != nil || h.Status.LastFailure != nil {
		t.Errorf("health %v, last failure %v after one slip", ptr.Deref(h.Status.HealthScore, 100), h.Status.LastFailure)
	}
	if h.Status.Booted.OffAt != nil {
		t.Errorf("it is on, and status.booted.offAt says %v", h.Status.Booted.OffAt)
	}
}

// The Cluster is not there (yet), as in a restore: nobody can say whether a Node is there.
func TestWithoutAClusterNobodyKnowsTheNode(t *testing.T) {
	h := claimedHost()
	h.Status.Booted = &v1beta1.BootRecord{ClaimID: claimID, At: metav1.NewTime(epoch), Count: 1}
	r := newRig(t, h, bootstrapSecret(), newMachine(), ownerMachine(), newSecret("bmc"))
	g, err := r.host.gather(t.Context(), r.api, r.getHost())
	if err != nil {
		t.Fatal(err)
	}
	f := g.facts
	f.Observed, f.Steady, f.Power, f.Media, f.Armed, f.ArmedOurs, f.Granted, f.BootResting = true, true, provision.PowerStateOff, provision.MediaOurs, true, true, true, false
	if d := provision.Decide(f); d.Action == provision.PowerOn {
		t.Errorf("claim %s: a host that ran is booted again with its bootstrap data, though its Cluster is not there to be asked: %+v", f.Claim, d)
	}
}
