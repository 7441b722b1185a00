package controllers

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/controllers/clustercache"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/redfish"
)

// A Node of the claim's host name is a sign of life where its provider id is not ours: the server is not cut, and its host says
// what to do. One of another claim, or one that is older than the claim and dead, is a former tenant's.
func TestARunningNodeIsNeverCut(t *testing.T) {
	own := v1beta1.ProviderID(namespace, "h", claimID)
	before, since := epoch.Add(-time.Hour), epoch.Add(time.Minute)
	for name, c := range map[string]struct {
		name, providerID string
		ready            corev1.ConditionStatus
		since            time.Time
		lives            bool
		says             []string
	}{
		"ready, without an id": {"m", "", corev1.ConditionTrue, before, true,
			[]string{"Node m of cluster c runs without a provider id", `kubectl patch node m -p '{"spec":{"providerID":"` + own + `"}}'`}},
		"ready, with a cloud's id":       {"m", "other://m", corev1.ConditionTrue, before, true, []string{`provider id "other://m", which cannot be changed`, own, replaceIt}},
		"not ready, registered since":    {"m", "", corev1.ConditionFalse, since, true, []string{"runs without a provider id"}},
		"not ready, older":               {"m", "", corev1.ConditionFalse, before, false, nil},
		"ready, another claim's":         {"m", v1beta1.ProviderID(namespace, "h", "fedcba9876543210"), corev1.ConditionTrue, since, false, nil},
		"ready, another host's":          {"m", v1beta1.ProviderID(namespace, "a", claimID), corev1.ConditionTrue, since, false, nil},
		"ready, of another machine name": {"n", "", corev1.ConditionTrue, since, false, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := claimedHost()
				claimed := metav1.NewMicroTime(epoch)
				h.Spec.Claim.ClaimedAt = &claimed
				r := newLifeRig(t, redfish.PowerOff, h)
				r.booted(1)
				r.node(c.name, c.providerID, c.ready, c.since)
				now := r.rest(defaultBootTimeout + 10*time.Minute)
				if cut := !slices.Equal(r.bmc.Changes(), wholeBoot); cut == c.lives {
					t.Fatalf("state %s, changes %v", now.Status.State, r.bmc.Changes())
				}
				if now.Spec.Claim.Bound {
					t.Error("a Node that is not known to be the claim's bound the host")
				}
				if !c.lives {
					if got := conditions.GetReason(now, v1beta1.ReadyCondition); got == v1beta1.ReasonNodeNotOurs {
						t.Errorf("it says %s", got)
					}
					return
				}
				if now.Status.State != v1beta1.StateBooting {
					t.Errorf("state %s", now.Status.State)
				}
				says(t, now, v1beta1.ReasonNodeNotOurs, c.says...)
			})
		})
	}
}

// The command that the host says ends the wait: the Node is then the claim's, and the host is bound.
func TestANodeThatIsToldItsIDBindsItsHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newLifeRig(t, redfish.PowerOff, claimedHost())
		r.booted(1)
		r.node("m", "", corev1.ConditionTrue, epoch)
		r.rest(defaultBootTimeout)
		node := &corev1.Node{}
		if err := r.nodes.Get(t.Context(), client.ObjectKey{Name: "m"}, node); err != nil {
			t.Fatal(err)
		}
		base := node.DeepCopy()
		node.Spec.ProviderID = v1beta1.ProviderID(namespace, "h", claimID)
		if err := r.nodes.Patch(t.Context(), node, client.MergeFrom(base)); err != nil {
			t.Fatal(err)
		}
		now := r.settle()
		if !now.Spec.Claim.Bound || now.Status.State != v1beta1.StateProvisioned || !conditions.IsTrue(now, v1beta1.ReadyCondition) {
			t.Errorf("state %s, claim %+v, Ready %q", now.Status.State, now.Spec.Claim, conditions.GetMessage(now, v1beta1.ReadyCondition))
		}
	})
}

// While the workload cluster cannot be asked for its Nodes, nothing is concluded of one that is not seen: what runs is not cut, and
// what is off is not booted again. Before its control plane was up, nobody can have joined.
func TestAClusterThatCannotBeAskedProvesNothing(t *testing.T) {
	for _, initialized := range []bool{true, false} {
		for _, off := range []bool{true, false} {
			t.Run(fmt.Sprintf("initialized %v, off %v", initialized, off), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := newLifeRig(t, redfish.PowerOff, claimedHost())
					r.booted(1)
					edit(r.rig, &clusterv1.Cluster{}, "c", func(c *clusterv1.Cluster) { c.Status.Initialization.ControlPlaneInitialized = &initialized })
					answering := r.host.ClusterCache
					r.host.ClusterCache = clustercache.NewFakeEmptyClusterCache()
					if off {
						r.bmc.CutPower()
					}
					now := r.rest(defaultBootTimeout + time.Minute)
					if again := !slices.Equal(r.bmc.Changes(), wholeBoot); again == initialized {
						t.Fatalf("state %s, changes %v", now.Status.State, r.bmc.Changes())
					}
					if !initialized {
						return
					}
					reason := v1beta1.ReasonBootOverdue
					if off {
						reason = v1beta1.ReasonNodeUnknown
					}
					says(t, now, reason, "cluster c cannot be asked", replaceIt)
					r.machineSays(reason, "cluster c cannot be asked")
					r.host.ClusterCache = answering // which knows of no Node
					r.until("booted again", func(*v1beta1.PhysicalHost) bool { return r.boots() > 1 && r.power() == redfish.PowerOn })
				})
			})
		}
	}
}

// A Node that was there, and whose server is off now, may have used its bootstrap data: its host is not booted again.
func TestAServerWhoseNodeWasSeenIsNotBootedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newLifeRig(t, redfish.PowerOff, claimedHost())
		r.booted(1)
		r.node("m", "", corev1.ConditionTrue, epoch)
		r.settle()
		r.bmc.CutPower()
		now := r.rest(time.Hour)
		if got := r.bmc.Changes(); !slices.Equal(got, wholeBoot) {
			t.Fatalf("its BMC was asked for %v", got)
		}
		says(t, now, v1beta1.ReasonSystemLost, "Node m of cluster c was its system", replaceIt)
		r.machineSays(v1beta1.ReasonSystemLost, replaceIt)
		if words := conditions.GetMessage(now, v1beta1.ReadyCondition); strings.Contains(words, "AlwaysOn") {
			t.Errorf("an unbound host says %q", words)
		}
	})
}
