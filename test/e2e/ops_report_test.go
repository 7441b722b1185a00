//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/test/emulator"
	"github.com/beskar7/beskar7/test/lab"
)

// TestReportOutcomes brings about each outcome of the effectiveness report at a manager that works: by what its servers and its
// API server do to it, not by written metrics. What the report advises is run as it is printed, and is then in effect.
func TestReportOutcomes(t *testing.T) {
	l := newLab(t, func(o *lab.Options) {
		o.Settings = basic()
		o.Settings["provisioning.maxConcurrentOps"], o.Settings["provisioning.workerCount"], o.Settings["provisioning.maxQueueSize"] = "1", "1", "10"
	})
	_, err := l.RunReplica(1) // for the surge of a roll-out
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	s := &story{Lab: l, t: t, namespace: "judged"}
	s.found(12)
	s.fullQueue()
	s.nothingToDo()
	s.apply(lab.ClusterSpec{Name: "judged", ControlPlanes: 1, Workers: 2})
	s.patientBMCs()
	s.running("judged", 1, 2)
	s.busyBMCs(5)
	s.running("judged", 1, 5)
	s.contested(8)
	s.running("judged", 1, 8)
	s.remove("judged")
	s.available()
	s.spent()
	s.witness()
}

// outcome is what "config report" said.
type outcome struct {
	Measures []struct{ Name, Verdict, Text string }
	Advice   []struct{ Key, From, To string } `json:"recommendations"`
	Commands []string
}

// text of a measure, after its verdict.
func (o outcome) text(name string) string {
	for _, m := range o.Measures {
		if m.Name == name {
			return m.Verdict + ": " + m.Text
		}
	}
	return ""
}

// advises says from what to what a setting is to go; empty if nothing is advised of it.
func (o outcome) advises(key string) string {
	for _, a := range o.Advice {
		if a.Key == key {
			return a.From + " to " + a.To
		}
	}
	return ""
}

func (s *story) judged(window time.Duration) outcome {
	s.t.Helper()
	var o outcome
	if err := json.Unmarshal([]byte(s.cli(0, "config", "report", "--window", window.String(), "-o", "json")), &o); err != nil {
		s.t.Fatal(err)
	}
	return o
}

// becomes asks until a measure is judged so.
func (s *story) becomes(window time.Duration, name, judgement string) outcome {
	s.t.Helper()
	var o outcome
	s.until(fmt.Sprintf("the %s to be %q", name, judgement), func(context.Context) (bool, string, error) {
		o = s.judged(window)
		said := o.text(name)
		return strings.Contains(said, judgement), said, nil
	})
	s.t.Log(o.text(name))
	return o
}

// follows runs what the report prints, by a shell, and expects one setting to have its value then.
func (s *story) follows(o outcome, key, value string) {
	s.t.Helper()
	g := NewWithT(s.t)
	g.Expect(o.Commands).NotTo(BeEmpty())
	for _, command := range o.Commands {
		s.t.Log(command)
		cmd := exec.CommandContext(s.t.Context(), "/bin/sh", "-c", command)
		cmd.Env = []string{"KUBECONFIG=" + s.Plane.Kubeconfig(), "HOME=" + s.t.TempDir(), "PATH=" + filepath.Dir(s.Plane.Bin().Kubectl)}
		out, err := cmd.CombinedOutput()
		g.Expect(err).NotTo(HaveOccurred(), "%s: %s", command, out)
	}
	g.Expect(s.shown()[key][0]).To(Equal(value))
}

// found registers servers that run already: nothing is done to them without their owner's consent.
func (s *story) found(n int) {
	s.t.Helper()
	g := NewWithT(s.t)
	g.Expect(s.AddHosts(s.t.Context(), s.namespace, s.namespace, 0)).To(Succeed()) // the namespace and the CA
	for i := range n {
		b, err := s.Fleet.Add(emulator.Spec{Name: fmt.Sprintf("%s-%d", s.namespace, i), Username: "admin", Password: fmt.Sprintf("b7-found-%d-secret", i), InitialPower: "On"})
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(s.Register(s.t.Context(), s.namespace, b, nil)).To(Succeed())
	}
	s.until("every server to be found running", func(ctx context.Context) (bool, string, error) {
		hosts, err := s.Hosts(ctx, s.namespace)
		for i := range hosts {
			if h := &hosts[i]; h.Status.State != v1beta1.StatePoweredOn {
				return false, h.Name + " is " + string(h.Status.State), err
			}
		}
		return len(hosts) == n, "", err
	})
}

// fullQueue: more servers are to be powered off at once than the queue holds, and their BMCs are slow.
func (s *story) fullQueue() {
	s.t.Helper()
	s.everyBMC(func(b *emulator.BMC) error { return b.SetFault("slow", "2s") })
	s.everyHost(func(h *v1beta1.PhysicalHost) { h.Spec.ConsentToErase = true })
	o := s.becomes(time.Second, "queue utilisation", "action")
	NewWithT(s.t).Expect(o.advises("provisioning.maxQueueSize")).To(Equal("10 to 15"))
	s.follows(o, "provisioning.maxQueueSize", "15")
	s.everyBMC(func(b *emulator.BMC) error { b.ClearFaults(); return nil })
	s.available()
	s.everyHost(func(h *v1beta1.PhysicalHost) { h.Spec.ConsentToErase = false })
}

func (s *story) everyHost(do func(*v1beta1.PhysicalHost)) {
	s.t.Helper()
	hosts, err := s.Hosts(s.t.Context(), s.namespace)
	NewWithT(s.t).Expect(err).NotTo(HaveOccurred())
	for i := range hosts {
		s.change(&hosts[i], func() { do(&hosts[i]) })
	}
}

// nothingToDo: the servers are there, and nobody wants one.
func (s *story) nothingToDo() {
	s.t.Helper()
	g := NewWithT(s.t)
	o := s.judged(time.Second)
	g.Expect(o.text("queue utilisation")).To(Equal("optimise: 0 % (0 of 15): low: maxQueueSize could be smaller"))
	g.Expect(o.text("conflict rate")).To(Equal("ok: no claim was tried"))
	g.Expect(o.Advice).To(BeEmpty())
	g.Expect(s.cli(0, "config", "report", "--window=1s")).To(ContainSubstring("Nothing to recommend."))
}

// patientBMCs: servers are provisioned, which takes several steps with a rest between them; that alone is no reason to rest longer.
func (s *story) patientBMCs() {
	s.t.Helper()
	o := s.becomes(5*time.Second, "cooldown waits", "frequent, but no BMC says that it is busy")
	NewWithT(s.t).Expect(o.advises("provisioning.bmcCooldownPeriod")).To(BeEmpty())
}

// busyBMCs: the same with BMCs that say they are asked for too much.
func (s *story) busyBMCs(workers int) {
	s.t.Helper()
	s.everyBMC(func(b *emulator.BMC) error { return b.SetFault("busy", "1,on=change,every=3") })
	s.scaleWorkers(workers)
	o := s.becomes(10*time.Second, "cooldown waits", "action")
	NewWithT(s.t).Expect(o.advises("provisioning.bmcCooldownPeriod")).To(Equal("1s to 2s"))
	s.follows(o, "provisioning.bmcCooldownPeriod", "2s")
	s.everyBMC(func(b *emulator.BMC) error { b.ClearFaults(); return nil })
}

// contested: whoever else writes to hosts takes them out of the pool and gives them back all the time, so that what the manager
// decided is outdated when it writes. The arbiter that is advised is elected then, and the machines get their hosts.
func (s *story) contested(workers int) {
	s.t.Helper()
	g := NewWithT(s.t)
	end := s.meddle()
	s.scaleWorkers(workers)
	o := s.becomes(5*time.Second, "conflict rate", "action")
	end()
	g.Expect(o.advises("claimCoordinator.enabled")).To(Equal("false to true"))
	s.follows(o, "claimCoordinator.enabled", "true")
	s.rolledOut(1)
	g.Expect(s.judged(time.Second).advises("claimCoordinator.enabled")).To(BeEmpty())
}

// meddle begins to switch the maintenance of every host that nobody has; end stops it with all of them in service.
func (s *story) meddle() (end func()) {
	s.t.Helper()
	g := NewWithT(s.t)
	hosts, err := s.Hosts(s.t.Context(), s.namespace)
	g.Expect(err).NotTo(HaveOccurred())
	ctx, stop := context.WithCancel(s.t.Context())
	var writers sync.WaitGroup
	maintenance := func(ctx context.Context, h *v1beta1.PhysicalHost, on bool) error {
		patch := fmt.Appendf(nil, `{"spec":{"maintenance":%t}}`, on)
		return s.Client.Patch(ctx, h.DeepCopy(), client.RawPatch("application/merge-patch+json", patch))
	}
	for i := range hosts {
		if hosts[i].Spec.Claim != nil {
			continue
		}
		writers.Go(func() {
			for on := true; ctx.Err() == nil; on = !on {
				if err := maintenance(ctx, &hosts[i], on); err != nil && ctx.Err() == nil {
					s.t.Error(err)
					return
				}
			}
		})
	}
	join := func() { stop(); writers.Wait() }
	s.t.Cleanup(join)
	return func() {
		join()
		for i := range hosts {
			if hosts[i].Spec.Claim == nil {
				g.Expect(maintenance(s.t.Context(), &hosts[i], false)).To(Succeed())
			}
		}
	}
}
