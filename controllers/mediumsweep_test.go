package controllers

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	testingclock "k8s.io/utils/clock/testing"
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
