package coordinator

import (
	"context"
	"testing"

	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/beskar7/beskar7/api/v1beta1"
)

// TestATakeOverKeepsWhatItReads: the version of a list is higher than those of the objects in it, which are no stale news.
func TestATakeOverKeepsWhatItReads(t *testing.T) {
	w := newWorld(t, newHost("a"), newMachine("m"))
	listed := interceptor.NewClient(w.api, interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			err := c.List(ctx, list, opts...)
			list.SetResourceVersion("1000000")
			return err
		}})
	arbiter := NewArbiter(ArbiterOptions{Options: w.options(listed), Clock: clocktesting.NewFakeClock(w.clock.Now()),
		Wish: func(_ context.Context, m *v1beta1.Beskar7Machine) (ClaimRequest, bool) { return request(m), true }})
	if err := arbiter.takeOver(t.Context()); err != nil {
		t.Fatal(err)
	}
	if hosts, machines := len(arbiter.term.view.hosts), len(arbiter.term.queue.tickets); hosts != 1 || machines != 1 {
		t.Errorf("of one host and one machine it knows %d and %d", hosts, machines)
	}
	stale := newHost("b")
	stale.ResourceVersion = "999999"
	arbiter.HostChanged(stale)
	if len(arbiter.term.view.hosts) != 1 {
		t.Error("a host that was deleted before the take-over came back with old news")
	}
}
