package controlplane

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// probing is one probe of a container, as the Pod describes it. Only httpGet is known. Where a machine is busy with other things a
// probe takes its time: timeouts are those of the Pod, but leastTimeout at least.
type probing struct {
	url     string
	every   time.Duration
	timeout time.Duration
	// threshold of failures in a row; delay after the start.
	threshold int
	delay     time.Duration

	last   time.Time
	failed int
}

const leastTimeout = 5 * time.Second

// newProbing translates a probe; nil for none.
func (v *Provider) newProbing(pod *corev1.Pod, p *corev1.Probe) (*probing, error) {
	if p == nil {
		return nil, nil
	}
	if p.HTTPGet == nil {
		return nil, fmt.Errorf("Pod %s has a probe other than httpGet, which this kubelet does not know", pod.Name) //nolint:staticcheck // a kind begins with a capital
	}
	port, err := v.hostPort(pod, v.portOf(pod, p))
	if err != nil {
		return nil, fmt.Errorf("probing Pod %s: %w", pod.Name, err)
	}
	scheme := strings.ToLower(string(p.HTTPGet.Scheme))
	if scheme == "" {
		scheme = "http"
	}
	return &probing{
		url: scheme + "://" + loopback(port) + p.HTTPGet.Path, every: seconds(p.PeriodSeconds, 10), timeout: max(leastTimeout, seconds(p.TimeoutSeconds, 1)),
		threshold: int(max(1, p.FailureThreshold)), delay: seconds(p.InitialDelaySeconds, 0),
	}, nil
}

func seconds(n, otherwise int32) time.Duration {
	if n == 0 {
		n = otherwise
	}
	return time.Duration(n) * time.Second
}

// portOf is the number of a probe's port, which may be named.
func (v *Provider) portOf(pod *corev1.Pod, p *corev1.Probe) int {
	for _, c := range pod.Spec.Containers {
		for _, declared := range c.Ports {
			if c.Name == v.opts.Container && declared.Name == p.HTTPGet.Port.String() {
				return int(declared.ContainerPort)
			}
		}
	}
	return p.HTTPGet.Port.IntValue()
}

// ask asks once. No redirect is followed: a kubelet would only follow one to the same host.
func (p *probing) ask(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url, http.NoBody)
	if err != nil {
		return false
	}
	reply, err := probeClient.Do(req)
	if err != nil {
		return false
	}
	defer reply.Body.Close()
	return reply.StatusCode >= http.StatusOK && reply.StatusCode < http.StatusBadRequest
}

// dead says, at most once in each period, whether a process that was started some time ago has failed its probe too often.
func (p *probing) dead(ctx context.Context, now, started time.Time) bool {
	if now.Sub(started) < p.delay || now.Sub(p.last) < p.every {
		return false
	}
	p.last = now
	if p.ask(ctx) || ctx.Err() != nil {
		p.failed = 0
		return false
	}
	p.failed++
	return p.failed >= p.threshold
}

// checkLife ends a process whose liveness probe fails; the loop starts it again.
func (v *Provider) checkLife(ctx context.Context, pod *corev1.Pod) error {
	v.mu.Lock()
	proc, alive, started := v.proc, v.alive, v.started
	v.mu.Unlock()
	if alive == nil || proc == nil || proc.PID() == 0 || v.held.Load() || !alive.dead(ctx, time.Now(), started) {
		return nil
	}
	v.plane.house.log.Info("liveness probe failed: the process is ended", "name", v.Name(), "pod", pod.Name, "url", alive.url)
	alive.failed = 0
	return proc.Stop(grace(pod))
}
