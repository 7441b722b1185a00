package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/test/lab"
)

const (
	rawMode        = "raw"
	optimisticMode = "optimistic"
	leaderMode     = "leader"
)

// writeRaw writes claims and their ends to objects of its own, one for each worker, as fast as the API server takes them.
func writeRaw(ctx context.Context, config *rest.Config, o order, counts *counter, started <-chan struct{}) error {
	scheme, err := lab.Scheme()
	if err != nil {
		return err
	}
	c, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return err
	}
	writers := make([]*rawWriter, o.Workers)
	for i := range writers {
		n := o.Index*o.Workers + i
		writers[i] = &rawWriter{client: c, host: &v1beta1.PhysicalHost{}, machine: &v1beta1.Beskar7Machine{}}
		if err := c.Get(ctx, client.ObjectKey{Namespace: o.Namespace, Name: hostName(n)}, writers[i].host); err != nil {
			return err
		}
		if err := c.Get(ctx, client.ObjectKey{Namespace: o.Namespace, Name: machineName(n)}, writers[i].machine); err != nil {
			return err
		}
	}
	fmt.Println(ready)
	select {
	case <-started:
	case <-ctx.Done():
		return nil
	}
	began := time.Now()
	var group sync.WaitGroup
	for _, w := range writers {
		group.Go(func() {
			for time.Since(began) < o.RawFor && ctx.Err() == nil {
				if err := w.round(ctx); err != nil {
					counts.failed(err)
					return
				}
				counts.note(func(t *tally) { t.Writes += writesOfRound })
			}
		})
	}
	group.Wait()
	counts.note(func(t *tally) { t.For = time.Since(began) })
	return nil
}

// rawWriter writes to one host and one machine that nobody else knows.
type rawWriter struct {
	client  client.Client
	host    *v1beta1.PhysicalHost
	machine *v1beta1.Beskar7Machine
}

const writesOfRound = 4

// round is the two writes of a claim, with the bytes that the coordinator sends, and two that undo them.
func (w *rawWriter) round(ctx context.Context) error {
	const id = "0123456789abcdef"
	base := w.machine.DeepCopy()
	w.machine.Spec.HostRef = &v1beta1.HostRef{Name: w.host.Name, ClaimID: id}
	if err := w.client.Patch(ctx, w.machine, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{})); err != nil {
		return err
	}
	free := w.host.DeepCopy()
	boot := boot(w.machine)
	w.host.Spec.Claim = &v1beta1.Claim{ID: id, Machine: w.machine.Name, Cluster: clusterName, LeaseHolder: "storm-0", LeaseTransitions: 1}
	w.host.Spec.Boot = &boot
	if err := w.client.Patch(ctx, w.host, client.MergeFromWithOptions(free, client.MergeFromWithOptimisticLock{})); err != nil {
		return err
	}
	held, named := w.host.DeepCopy(), w.machine.DeepCopy()
	w.host.Spec.Claim, w.host.Spec.Boot, w.machine.Spec.HostRef = nil, nil, nil
	if err := w.client.Patch(ctx, w.host, client.MergeFromWithOptions(held, client.MergeFromWithOptimisticLock{})); err != nil {
		return err
	}
	return w.client.Patch(ctx, w.machine, client.MergeFromWithOptions(named, client.MergeFromWithOptimisticLock{}))
}
