package controllers

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/beskar7/beskar7/pkg/redfish"
	"github.com/beskar7/beskar7/pkg/redfish/redfishfake"
)

// A crash, or a lost write, between blankMedium and markBound: the system runs from its medium, and gets 503 for its own image.
func TestTheImageIsServedBetweenBlankAndBound(t *testing.T) {
	r := newGranted(t)
	if err := r.host.blankMedium(t.Context(), r.getHost()); err != nil {
		t.Fatal(err)
	}
	// the manager dies here: the host is not marked bound
	g, err := r.mediaSource().Grant(t.Context(), tokenHash)
	if err != nil || !g.Closed {
		t.Errorf("the image of a running Live system is not served: %+v, %v", g.Closed, err)
	}
}

// The same crash, and the host is found off: the grant counts as good, though its data are gone.
func TestABlankedGrantBootsNobody(t *testing.T) {
	r := newGranted(t)
	if err := r.host.blankMedium(t.Context(), r.getHost()); err != nil {
		t.Fatal(err)
	}
	g := &gathered{}
	g.brief.Hash = tokenHash
	g.observation.State.Power = redfish.PowerOff
	if err := r.host.gatherGrant(t.Context(), r.getHost(), g); err != nil {
		t.Fatal(err)
	}
	if g.brief.Hash != "" {
		t.Error("a medium without its data is taken for one that can be booted from")
	}
}

// After a restart the holder of a server is looked at first: it loses its right to an older registration that was a duplicate.
func TestTheHolderKeepsItsServerAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRunningRig(t, redfishfake.New(redfishfake.Options{Power: redfish.PowerOff}), registered(newHost(), "a", time.Hour), registered(newHost(), "h", 0), newSecret("bmc"))
		for range 20 {
			r.reconcileHost("h")
			r.reconcileHost("h")
			r.reconcileHost("a")
			synctest.Wait()
		}
		if !r.offered("h") || r.offered("a") {
			t.Fatalf("a %v, h %v", r.offered("a"), r.offered("h"))
		}
		r.host.twins = twins{} // a restart, after which the BMCs were read again
		both := false
		// h's status takes its time to be written; a is looked at meanwhile, by another worker
		slow := interceptor.NewClient(r.api, interceptor.Funcs{
			SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
				if o.GetName() == "h" {
					r.reconcileHost("a")
					both = both || r.offered("a") && r.offered("h")
				}
				return c.SubResource(sub).Patch(ctx, o, p, opts...)
			}})
		r.host.Client = slow
		r.reconcileHost("h")
		if !r.offered("h") {
			t.Error("the holder lost its server to a duplicate by a restart")
		}
		if both {
			t.Error("both registrations of one server were offered at once")
		}
	})
}
