package controllers

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	testingclock "k8s.io/utils/clock/testing"
	clusterctlv1 "sigs.k8s.io/cluster-api/cmd/clusterctl/api/v1alpha3"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/controllers/media"
	"github.com/beskar7/beskar7/pkg/redfish"
)

// A record that the API server does not let go keeps no other one, and is named.
func TestTheSweepGoesOnAfterARecordThatStays(t *testing.T) {
	_, record := grantedHost(t)
	var objects []client.Object
	for _, hash := range []string{"aa11", "bb22", "cc33"} {
		s := record.DeepCopy()
		s.Name, s.CreationTimestamp = media.RecordName("h", hash), metav1.NewTime(epoch)
		objects = append(objects, s)
	}
	r := newRig(t, objects...)
	stays := objects[0].GetName()
	refusing := interceptor.NewClient(r.api, interceptor.Funcs{
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			if o.GetName() == stays {
				return apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, stays, nil)
			}
			return c.Delete(ctx, o, opts...)
		}})
	sweep := &media.Sweep{Client: refusing, Reader: r.api, SecretReader: r.api, Clock: testingclock.NewFakeClock(epoch.Add(media.SweepAge))}
	if err := sweep.Once(t.Context()); err == nil || !strings.Contains(err.Error(), stays) {
		t.Errorf("the record that stays is not told: %v", err)
	}
	left := &corev1.SecretList{}
	if err := r.api.List(t.Context(), left); err != nil {
		t.Fatal(err)
	}
	if len(left.Items) != 1 || left.Items[0].Name != stays {
		t.Errorf("left: %d", len(left.Items))
	}
}

// A system that runs is bound, and its data end, also where somebody made the record of its medium immutable or an admission webhook
// refuses every change of it.
func TestAHostIsBoundThoughItsRecordCannotBeChanged(t *testing.T) {
	for name, refusal := range map[string]error{
		"invalid":   apierrors.NewInvalid(schema.GroupKind{Kind: "Secret"}, "h", nil),
		"forbidden": apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, "h", nil),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newLifeRig(t, redfish.PowerOff, claimedHost())
				hash := r.booted(1).Spec.Claim.Media.TokenHash
				r.host.Client = interceptor.NewClient(r.api, interceptor.Funcs{
					Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
						if strings.Contains(o.GetName(), "-medium-") {
							return refusal
						}
						return c.Patch(ctx, o, p, opts...)
					}})
				now := r.bind()
				if r.served(hash) || now.Status.State != v1beta1.StateProvisioned {
					t.Errorf("state %s, data served: %v", now.Status.State, r.served(hash))
				}
			})
		})
	}
}

// A restore, or whatever else gives the host another UID, takes no medium from under the system that runs from it: the garbage collector
// deletes what is owned by a UID that is no more, so a record has no owner, and one that an older version made is disowned at once.
func TestARecordOutlivesTheUIDOfItsHost(t *testing.T) {
	host, record := grantedHost(t, func(h *v1beta1.PhysicalHost) { h.Spec.Claim.Bound = true })
	if _, moves := record.Labels[clusterctlv1.ClusterctlMoveLabel]; len(record.OwnerReferences) > 0 || !moves {
		t.Errorf("owners %v, labels %v", record.OwnerReferences, record.Labels)
	}
	record.OwnerReferences = []metav1.OwnerReference{{APIVersion: v1beta1.GroupVersion.String(), Kind: "PhysicalHost",
		Name: host.Name, UID: host.UID}}
	record.CreationTimestamp = metav1.NewTime(epoch)
	host.UID = "uid-after-a-restore"
	r := newRig(t, host, record)
	sweep := &media.Sweep{Client: r.api, Reader: r.api, SecretReader: r.api, Clock: testingclock.NewFakeClock(epoch)}
	for _, at := range []time.Duration{0, media.SweepAge, 24 * time.Hour} {
		sweep.Clock.(*testingclock.FakeClock).SetTime(epoch.Add(at))
		if err := sweep.Once(t.Context()); err != nil {
			t.Fatal(err)
		}
		now := &corev1.Secret{}
		r.get(now, record.Name)
		if len(now.OwnerReferences) > 0 {
			t.Fatalf("after %s it is owned by %v", at, now.OwnerReferences)
		}
	}
	if g := r.granted(t); g.Content.ImageURL == "" {
		t.Errorf("the medium is not served any more: %+v", g)
	}
}
