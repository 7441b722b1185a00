package controlplane

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// balancer stands in for a Service: each connection is led to a replica of the Deployment that is Ready,
// in turn; when none is, to any that listens.
type balancer struct {
	plane      *ControlPlane
	deployment client.ObjectKey
	port       func(Addresses) int
	turn       atomic.Uint64
	carrying   sync.WaitGroup
}

// Balance returns an address on loopback that leads to one port of all replicas of a Deployment, as a
// Service does, until Stop.
func (p *ControlPlane) Balance(namespace, deployment string, port func(Addresses) int) (string, error) {
	l, err := (&net.ListenConfig{}).Listen(p.life, "tcp", loopback(0))
	if err != nil {
		return "", fmt.Errorf("listening for a Service: %w", err)
	}
	b := &balancer{plane: p, deployment: client.ObjectKey{Namespace: namespace, Name: deployment}, port: port}
	p.services.Go(func() {
		defer b.carrying.Wait()
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			b.carrying.Go(func() { b.lead(conn) })
		}
	})
	context.AfterFunc(p.life, func() { _ = l.Close() })
	return l.Addr().String(), nil
}

// webhookAddress is where the Service of a Deployment's webhooks leads to.
func (p *ControlPlane) webhookAddress(deployment client.ObjectKey) (string, error) {
	addr, err := p.addresses(deployment, 0)
	if err != nil {
		return "", err
	}
	if p.opts.Detach { // a balancer would not outlive this process
		return loopback(addr.Webhook), nil
	}
	p.addrMu.Lock()
	defer p.addrMu.Unlock()
	if known, ok := p.webhooks[deployment]; ok {
		return known, nil
	}
	found, err := p.Balance(deployment.Namespace, deployment.Name, func(a Addresses) int { return a.Webhook })
	if err == nil {
		p.webhooks[deployment] = found
	}
	return found, err
}

// replicas are those to try, in order.
func (b *balancer) replicas() []*Provider {
	b.plane.mu.Lock()
	all := slices.Clone(b.plane.providers)
	b.plane.mu.Unlock()
	all = slices.DeleteFunc(all, func(v *Provider) bool {
		return v.opts.Namespace != b.deployment.Namespace || v.opts.Deployment != b.deployment.Name
	})
	ready := slices.DeleteFunc(slices.Clone(all), func(v *Provider) bool { return !v.ready.Load() })
	if n := len(ready); n > 0 {
		first := int(b.turn.Add(1) % uint64(n)) //nolint:gosec // smaller than n
		ready = slices.Concat(ready[first:], ready[:first])
	}
	return append(ready, all...)
}

func (b *balancer) lead(from net.Conn) {
	defer from.Close()
	for _, v := range b.replicas() {
		to, err := (&net.Dialer{}).DialContext(b.plane.life, "tcp", loopback(b.port(v.addr)))
		if err == nil {
			b.carry(from, to)
			return
		}
	}
}

func (b *balancer) carry(from, to net.Conn) {
	defer to.Close()
	defer context.AfterFunc(b.plane.life, func() { _ = from.Close(); _ = to.Close() })()
	b.carrying.Go(func() {
		_, _ = io.Copy(to, from)
		_ = to.(*net.TCPConn).CloseWrite()
	})
	_, _ = io.Copy(from, to)
}
