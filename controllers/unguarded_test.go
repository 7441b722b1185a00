package controllers

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/redfish"
)

// markRelease is what the machine controller writes before it lets its machine go.
func markRelease(h *v1beta1.PhysicalHost) {
	h.Spec.Claim.Release = &v1beta1.Release{Reason: "MachineDeleted", RequestedAt: metav1.NewTime(epoch)}
}

// A namespace is deleted right after a claim: the BMC's Secret is gone before it could be guarded. Nothing was done for the claim, so
// that it ends, and the host goes; nobody has to end it by hand.
func TestAClaimWithoutItsSecretEndsIfNothingWasBegun(t *testing.T) {
	for _, lost := range []string{"bmc", "ca"} {
		synctest.Test(t, func(t *testing.T) {
			h := claimedHost()
			h.Spec.RedfishConnection.CABundleSecretRef = &v1beta1.SecretReference{Name: "ca"}
			r := newLifeRig(t, redfish.PowerOff, h, newSecret("ca"))
			r.remove(newSecret(lost))
			now := r.rest(time.Minute)
			says(t, now, v1beta1.ReasonSecretNotFound, lost)
			if err := r.api.Delete(t.Context(), now); err != nil {
				t.Fatal(err)
			}
			edit(r.rig, &v1beta1.PhysicalHost{}, "h", markRelease)
			for range 6 {
				synctest.Wait()
				r.look(1)
			}
			if err := r.api.Get(t.Context(), client.ObjectKeyFromObject(now), &v1beta1.PhysicalHost{}); !apierrors.IsNotFound(err) {
				t.Errorf("%s: the host is still there: claim %+v", lost, r.getHost().Spec.Claim)
			}
			if len(r.bmc.Changes()) > 0 {
				t.Errorf("its BMC was asked for %v", r.bmc.Changes())
			}
		})
	}
}

// What may have been begun for a claim is proven undone, or ended by a person: a lost Secret is no proof.
func TestAClaimWithoutItsSecretStaysIfSomethingWasBegun(t *testing.T) {
	for name, begun := range map[string]func(*v1beta1.PhysicalHost){
		"granted": func(h *v1beta1.PhysicalHost) { h.Spec.Claim.Media = &v1beta1.MediaGrant{TokenHash: tokenHash} },
		"booted": func(h *v1beta1.PhysicalHost) {
			h.Status.Booted = &v1beta1.BootRecord{ClaimID: claimID, At: metav1.NewTime(epoch), Count: 1}
		},
		"bound": func(h *v1beta1.PhysicalHost) { h.Spec.Claim.Bound = true },
	} {
		h := inventoried(claimedHost())
		h.Finalizers = []string{v1beta1.HostFinalizer}
		markRelease(h)
		begun(h)
		r := newRig(t, h, newMachine(), newOwner(), newCluster())
		r.sleep(time.Hour)
		if r.look(4); r.getHost().Spec.Claim == nil {
			t.Errorf("%s: the claim was ended unproven", name)
		}
	}
}

// The cache shows no Secret, and it is there: the live read counts.
func TestALaggingCacheEndsNoClaim(t *testing.T) {
	h := inventoried(claimedHost())
	h.Finalizers = []string{v1beta1.HostFinalizer}
	markRelease(h)
	r := newRig(t, h, newMachine(), newOwner(), newCluster(), newSecret("bmc"))
	r.host.SecretMeta = interceptor.NewClient(r.api, interceptor.Funcs{
		Get: func(_ context.Context, _ client.WithWatch, key client.ObjectKey, _ client.Object, _ ...client.GetOption) error {
			return apierrors.NewNotFound(schema.GroupResource{Resource: "secrets"}, key.Name)
		}})
	if r.look(4); r.getHost().Spec.Claim == nil {
		t.Error("the claim was ended although its BMC can be asked")
	}
}

// A Secret that goes, and that could not be guarded any more, begins nothing: its next moment may take the means to end it.
func TestNothingIsBegunWithASecretThatGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newLifeRig(t, redfish.PowerOff, claimedHost())
		edit(r.rig, &corev1.Secret{}, "bmc", func(s *corev1.Secret) { s.Finalizers = []string{"example.com/somebody-elses"} })
		r.remove(newSecret("bmc"))
		now := r.rest(time.Minute)
		says(t, now, v1beta1.ReasonSecretNotFound, "being deleted")
		if now.Spec.Claim.Media != nil || len(r.bmc.Changes()) > 0 {
			t.Errorf("grant %+v, its BMC was asked for %v", now.Spec.Claim.Media, r.bmc.Changes())
		}
		r.machineSays(v1beta1.ReasonSecretNotFound)
	})
}

// It goes in the moment between the look at the cache and the patch.
func TestASecretThatGoesWhileItIsGuardedBeginsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newLifeRig(t, redfish.PowerOff, claimedHost())
		r.host.Client = interceptor.NewClient(r.api, interceptor.Funcs{
			Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
				if o.GetName() == "bmc" {
					return apierrors.NewNotFound(schema.GroupResource{Resource: "secrets"}, "bmc")
				}
				return c.Patch(ctx, o, p, opts...)
			}})
		now := r.rest(time.Minute)
		if now.Spec.Claim.Media != nil || len(r.bmc.Changes()) > 0 || ptr.Deref(now.Status.HealthScore, fullHealth) != fullHealth {
			t.Errorf("grant %+v, its BMC was asked for %v", now.Spec.Claim.Media, r.bmc.Changes())
		}
	})
}
