//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"

	"github.com/beskar7/beskar7/test/controlplane"
	"github.com/beskar7/beskar7/test/lab"
)

// The leases of TestRollingRestart, as low as the guide's ranges go.
const (
	leaseDuration = 5 * time.Second
	retryPeriod   = time.Second
)

// TestRollingRestart has three managers, restarts them one after the other while machines are made, and then kills the one that
// drives BMCs while machines are given back. Nothing is lost: every machine runs, every server is given back. Nothing is doubled:
// the servers' own records show no two requests at a time, no change within the cooldown of the last, and one boot for each machine.
func TestRollingRestart(t *testing.T) {
	for _, mode := range []string{"optimistic", "leader"} {
		t.Run(mode, func(t *testing.T) { rollingRestart(t, mode == "leader") })
	}
}

func rollingRestart(t *testing.T, coordinated bool) {
	l := newLab(t, func(o *lab.Options) {
		o.ExtraArgs = []string{"--leader-elect-lease-duration=5s", "--leader-elect-renew-deadline=3s", "--leader-elect-retry-period=1s"}
		if coordinated {
			o.ExtraArgs = append(o.ExtraArgs, "--enable-claim-coordinator-leader-election", "--claim-coordinator-lease-duration=5s",
				"--claim-coordinator-renew-deadline=3s", "--claim-coordinator-retry-period=1s")
		}
	})
	g := NewWithT(t)
	replicas := []*controlplane.Provider{l.Manager}
	for instance := 1; instance < 4; instance++ { // one for the surge
		v, err := l.RunReplica(instance)
		g.Expect(err).NotTo(HaveOccurred())
		replicas = append(replicas, v)
	}
	s := newStory(t, l, "roll", 6)
	s.manager("scale", "deployment", "beskar7-controller-manager", "--replicas=3")
	s.rolledOut(3)
	s.apply(lab.ClusterSpec{Name: "roll", ControlPlanes: 1, Workers: 2})
	s.until("work on a server to begin", func(context.Context) (bool, string, error) { return len(s.changes()) > 0, "no server was changed", nil })
	before := s.lease()
	s.manager("rollout", "restart", "deployment", "beskar7-controller-manager")
	s.rolledOut(3)
	g.Expect(*s.lease().Spec.LeaseTransitions).To(BeNumerically(">", *before.Spec.LeaseTransitions), "the driver was among those restarted")
	s.running("roll", 1, 2)
	s.scaleWorkers(5)
	s.manager("rollout", "restart", "deployment", "beskar7-controller-manager")
	s.rolledOut(3)
	s.running("roll", 1, 5)

	s.scaleWorkers(1)
	s.failOver(replicas)
	s.running("roll", 1, 1)
	s.remove("roll")
	s.available()
	s.spent()
	g.Expect(s.doubled(time.Second)).To(BeEmpty())
	g.Expect(s.doubled(time.Minute)).NotTo(BeEmpty(), "whoever looks for more rest than was asked for must find less")
	w, err := l.WitnessWith(t.Context(), s.namespace, lab.WitnessOptions{Cooldown: time.Second})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(w.Err()).To(Succeed())
	g.Expect([]int{w.Provisioned, w.Released}).To(Equal([]int{6, 6}), "machines provisioned and released")
}

// manager runs kubectl in the manager's namespace.
func (s *story) manager(args ...string) string {
	s.t.Helper()
	out, err := s.Plane.Kubectl(s.t.Context(), nil, append([]string{"-n", "beskar7-system"}, args...)...)
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

// rolledOut waits until every replica of the manager is of the newest template and ready, and no other is left.
func (s *story) rolledOut(replicas int32) {
	s.t.Helper()
	s.until(fmt.Sprintf("%d managers to be rolled out", replicas), func(ctx context.Context) (bool, string, error) {
		d, err := lab.Object(ctx, s.Lab, "beskar7-system", "beskar7-controller-manager", &appsv1.Deployment{})
		if err != nil {
			return false, "", err
		}
		st := d.Status
		done := *d.Spec.Replicas == replicas && st.ObservedGeneration == d.Generation && st.UpdatedReplicas == replicas && st.ReadyReplicas == replicas && st.Replicas == replicas
		return done, fmt.Sprintf("%d of %d replicas are new, %d ready", st.UpdatedReplicas, st.Replicas, st.ReadyReplicas), nil
	})
}

// lease is the one under which BMCs are driven.
func (s *story) lease() *coordinationv1.Lease {
	s.t.Helper()
	lease, err := lab.Object(s.t.Context(), s.Lab, "beskar7-system", "beskar7-bmc-driver", &coordinationv1.Lease{})
	if err != nil {
		s.t.Fatal(err)
	}
	return lease
}

// failOver kills the manager that drives BMCs while it works, and expects another to take over when the lease has run out and no
// sooner. The dead one is started again after that.
func (s *story) failOver(replicas []*controlplane.Provider) {
	s.t.Helper()
	g := NewWithT(s.t)
	before := len(s.changes())
	s.until("work on a server to go on", func(context.Context) (bool, string, error) {
		return len(s.changes()) > before, "no server was changed", nil
	})
	holder := *s.lease().Spec.HolderIdentity
	i := slices.IndexFunc(replicas, func(v *controlplane.Provider) bool { return v.Pod() != "" && strings.HasPrefix(holder, v.Pod()+"_") })
	g.Expect(i).To(BeNumerically(">=", 0), "no replica is the holder %s", holder)
	g.Expect(replicas[i].Kill9()).To(Succeed())
	dead := s.lease() // it renews no more
	g.Expect(*dead.Spec.HolderIdentity).To(Equal(holder))
	var next *coordinationv1.Lease
	s.until("another manager to drive", func(context.Context) (bool, string, error) {
		next = s.lease()
		return *next.Spec.HolderIdentity != holder && *next.Spec.HolderIdentity != "", "the holder is " + *next.Spec.HolderIdentity, nil
	})
	took := next.Spec.AcquireTime.Sub(dead.Spec.RenewTime.Time)
	s.t.Logf("fail-over: %s after the last renewal", took)
	g.Expect(took).To(BeNumerically(">=", leaseDuration), "before the lease had run out")
	// Candidates look every retryPeriod, and count the lease's time from when they saw it renewed; the rest is for a slow machine.
	g.Expect(took).To(BeNumerically("<", leaseDuration+4*retryPeriod+20*time.Second))
	g.Expect(replicas[i].Restart(s.t.Context())).To(Succeed())
	s.rolledOut(3)
}

// doubled says where, by each server's own record, a change began within the cooldown of another. That no two requests met is the
// witness's to judge, which knows that log-outs may.
func (s *story) doubled(cooldown time.Duration) (found []string) {
	for _, b := range s.servers() {
		last := time.Time{}
		for _, c := range b.Requests().Changes {
			if c.Session || c.Login {
				continue
			}
			if gap := c.Start.Sub(last); gap < cooldown {
				found = append(found, fmt.Sprintf("server %s: %s %s began %s after the last change", b.Name(), c.Method, c.Path, gap))
			}
			last = c.End
		}
	}
	return found
}
