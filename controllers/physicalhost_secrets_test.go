package controllers

import (
	"context"
	"fmt"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/beskar7/beskar7/api/v1beta1"
)

// sharing makes hosts h0, h1, ... that share the Secret bmc; the last claimed ones of them are claimed.
func sharing(hosts, claimed int) []client.Object {
	objects := []client.Object{newSecret("bmc"), newCluster()}
	for i := range hosts {
		h := newHost()
		if i >= hosts-claimed {
			h = claimedHost()
			h.Spec.Claim.Machine = fmt.Sprint("m", i)
			h.Spec.Claim.ID = fmt.Sprintf("%016x", i)
		}
		h.ObjectMeta = named(fmt.Sprint("h", i))
		h.Spec.RedfishConnection.Address = fmt.Sprintf("https://192.0.2.%d", i)
		objects = append(objects, h)
	}
	return objects
}

// countItems counts the objects that the controller gets out of lists of the cache.
func (r *rig) countItems() *int {
	items := new(int)
	counted := interceptor.NewClient(r.api, interceptor.Funcs{List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
		err := c.List(ctx, list, opts...)
		*items += meta.LenList(list)
		return err
	}})
	r.host.Client, r.host.SecretMeta = counted, counted
	return items
}

func unclaim(r *rig, host string) {
	edit(r, &v1beta1.PhysicalHost{}, host, func(h *v1beta1.PhysicalHost) {
		h.Spec.Claim, h.Spec.Boot = nil, nil
		h.Generation++
	})
}

// A look at a host costs the same however many share its Secret, while none, some or all others are claimed.
func TestALookCostsTheSameInEveryFleet(t *testing.T) {
	cost := func(hosts, claimed int) int {
		r := newRig(t, sharing(hosts, claimed)...)
		r.lookAt("h0", 4) // the first ones look for a witness, and sweep
		items := r.countItems()
		r.lookAt("h0", 1)
		edit(r, &v1beta1.PhysicalHost{}, "h0", func(h *v1beta1.PhysicalHost) { h.Generation++ })
		r.lookAt("h0", 1)
		return *items
	}
	for name, c := range map[string]struct{ small, large int }{
		"none is claimed": {cost(2, 0), cost(60, 0)}, "others are claimed": {cost(3, 2), cost(60, 59)}, "all are claimed": {cost(2, 2), cost(60, 60)},
	} {
		if c.small != c.large {
			t.Errorf("%s: %d objects are read in a small fleet, %d in a large one", name, c.small, c.large)
		}
	}
}

// A shared Secret is kept until its last claimed host gives its claim back, in any order.
func TestASharedSecretIsKeptForTheLastClaim(t *testing.T) {
	const hosts = 6
	for _, order := range [][]int{{0, 1, 2, 3, 4, 5}, {5, 4, 3, 2, 1, 0}, {3, 0, 5, 1, 4, 2}} {
		r := newRig(t, sharing(hosts, hosts)...)
		all := func() {
			for i := range hosts {
				r.lookAt(fmt.Sprint("h", i), 2)
			}
		}
		all()
		for n, i := range order {
			if !r.guarded("bmc") {
				t.Fatalf("%v: let go with %d claims left", order, hosts-n)
			}
			unclaim(r, fmt.Sprint("h", i))
			all()
		}
		if r.guarded("bmc") {
			t.Fatalf("%v: kept without a claim", order)
		}
	}
}

// What a process did not get to is done by the next: a Secret that no host names any more is let go.
func TestALeftSecretIsLetGoAfterARestart(t *testing.T) {
	before := newSecret("left")
	before.Finalizers = []string{v1beta1.CredentialsFinalizer}
	r := newRig(t, append(sharing(2, 1), before)...)
	r.lookAt("h1", 2)
	if r.guarded("left") || !r.guarded("bmc") {
		t.Fatalf("guarded: left %v, bmc %v", r.guarded("left"), r.guarded("bmc"))
	}
}

// A Secret that no host names any more, and that nobody may change, stops no host.
func TestALeftSecretThatStaysStopsNoHost(t *testing.T) {
	left := newSecret("left")
	left.Finalizers = []string{v1beta1.CredentialsFinalizer}
	r := newRig(t, append(sharing(2, 1), left)...)
	r.host.Client = interceptor.NewClient(r.api, interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			if o.GetName() == left.Name {
				return apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, left.Name, nil)
			}
			return c.Patch(ctx, o, p, opts...)
		}})
	r.lookAt("h1", 3)
	h := &v1beta1.PhysicalHost{}
	if r.get(h, "h1"); h.Status.State == "" || !r.guarded("bmc") {
		t.Errorf("state %q", h.Status.State)
	}
}
