package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
)

// version is what one version of a host or a machine says of ownership.
type version struct {
	at       time.Time // when the watch showed it
	resource uint64
	host     bool // else a machine
	name     string
	uid      string
	gone     bool // the object was deleted
	leaving  bool // its deletion was asked for
	claimID  string
	// other is the name in the claim of a host or in the hostRef of a machine.
	other    string
	released bool // the claim has its release mark
}

// history collects all versions of the hosts and machines of a namespace.
type history struct {
	client    client.WithWatch
	namespace string

	mu       sync.Mutex
	versions []version
	hosts    map[string]version // by name, the latest
	machines map[string]version
	pairs    map[string]time.Time // machines whose host names them back, since when
	changed  chan struct{}        // closed and made anew at each version
	err      error
}

// watchHistory begins with what is there and follows until the context ends.
func watchHistory(ctx context.Context, c client.WithWatch, namespace string) (*history, error) {
	h := &history{client: c, namespace: namespace, hosts: map[string]version{}, machines: map[string]version{}, pairs: map[string]time.Time{}, changed: make(chan struct{})}
	hosts, machines := &v1beta1.PhysicalHostList{}, &v1beta1.Beskar7MachineList{}
	for _, list := range []client.ObjectList{hosts, machines} {
		if err := c.List(ctx, list, client.InNamespace(namespace)); err != nil {
			return nil, fmt.Errorf("list what is there: %w", err)
		}
	}
	for i := range hosts.Items {
		h.add(&hosts.Items[i], false)
	}
	for i := range machines.Items {
		h.add(&machines.Items[i], false)
	}
	go h.follow(ctx, &v1beta1.PhysicalHostList{}, hosts.ResourceVersion)
	go h.follow(ctx, &v1beta1.Beskar7MachineList{}, machines.ResourceVersion)
	return h, nil
}

// follow watches one kind. A watch that ends goes on where it ended; a gap ends the history with an error.
func (h *history) follow(ctx context.Context, list client.ObjectList, since string) {
	for ctx.Err() == nil {
		w, err := h.client.Watch(ctx, list, client.InNamespace(h.namespace), &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: since}})
		if err == nil {
			since, err = h.drain(w, since)
			w.Stop()
		}
		if err != nil && ctx.Err() == nil {
			h.fail(fmt.Errorf("the history has a gap: %w", err))
			return
		}
	}
}

func (h *history) drain(w watch.Interface, since string) (string, error) {
	for e := range w.ResultChan() {
		object, ok := e.Object.(client.Object)
		if !ok || e.Type == watch.Error {
			return since, fmt.Errorf("the watch reported %v", e.Object)
		}
		since = object.GetResourceVersion()
		h.add(object, e.Type == watch.Deleted)
	}
	return since, nil
}

func (h *history) fail(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.err = errors.Join(h.err, err)
	h.wakeLocked()
}

func (h *history) wakeLocked() {
	close(h.changed)
	h.changed = make(chan struct{})
}

// add records a version.
func (h *history) add(object client.Object, gone bool) {
	v := version{at: time.Now(), name: object.GetName(), uid: string(object.GetUID()), gone: gone, leaving: object.GetDeletionTimestamp() != nil}
	v.resource, _ = strconv.ParseUint(object.GetResourceVersion(), 10, 64) // zero would sort first; the API server counts in decimals
	switch o := object.(type) {
	case *v1beta1.PhysicalHost:
		v.host = true
		if c := o.Spec.Claim; c != nil {
			v.claimID, v.other, v.released = c.ID, c.Machine, c.Release != nil
		}
	case *v1beta1.Beskar7Machine:
		if r := o.Spec.HostRef; r != nil {
			v.claimID, v.other = r.ClaimID, r.Name
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.versions = append(h.versions, v)
	latest := h.machines
	if v.host {
		latest = h.hosts
	}
	latest[v.name] = v
	if v.claimID != "" {
		h.pairLocked(v)
	}
	h.wakeLocked()
}

// pairLocked notes a machine and a host that name each other now.
func (h *history) pairLocked(v version) {
	host, machine := h.hosts[v.name], h.machines[v.other]
	if !v.host {
		host, machine = h.hosts[v.other], v
	}
	if _, known := h.pairs[machine.name]; !known && host.claimID == machine.claimID && host.other == machine.name && machine.other == host.name {
		h.pairs[machine.name] = v.at
	}
}

// until waits until a condition on the history holds; it is called with the mutex held, after every version.
func (h *history) until(ctx context.Context, what string, holds func() bool) error {
	for {
		h.mu.Lock()
		err, done, changed := h.err, holds(), h.changed
		n := len(h.pairs)
		h.mu.Unlock()
		switch {
		case err != nil:
			return err
		case done:
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w (%d machines have a host)", what, context.Cause(ctx), n)
		}
	}
}

// allPaired waits until n machines have had a host.
func (h *history) allPaired(ctx context.Context, n int) error {
	return h.until(ctx, fmt.Sprintf("%d machines to have a host", n), func() bool { return len(h.pairs) >= n })
}

// times are when each machine got its host, since a start.
func (h *history) times(start time.Time) []time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []time.Duration
	for _, at := range h.pairs {
		out = append(out, at.Sub(start))
	}
	return out
}

// snapshot is a copy of all versions.
func (h *history) snapshot() []version {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]version(nil), h.versions...)
}
