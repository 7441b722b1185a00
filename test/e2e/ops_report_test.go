//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/test/emulator"
	"github.com/beskar7/beskar7/test/lab"
)

// TestReportOutcomes drives a site into each state that the guide's effectiveness report calls for action in, and does what it says:
// a queue that is full, claims that lose their hosts to someone else's writes, BMCs that are asked for too much.
func TestReportOutcomes(t *testing.T) {
	l := newLab(t, func(o *lab.Options) {
		o.Settings = basic()
		o.Settings["provisioning.maxConcurrentOps"], o.Settings["provisioning.workerCount"], o.Settings["provisioning.maxQueueSize"] = "1", "1", "10"
		o.ExtraArgs = []string{"--leader-elect-lease-duration=5s", "--leader-elect-renew-deadline=3s", "--leader-elect-retry-period=1s"}
	})
	_, err := l.RunReplica(1) // for the surge of a roll-out
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	s := &story{Lab: l, t: t, namespace: "report"}
	s.queueIsFull()
	s.available()
	s.apply(lab.ClusterSpec{Name: "report", ControlPlanes: 1, Workers: 0})
	s.running("report", 1, 0)
	s.claimsConflict()
	s.running("report", 1, 9)
	s.bmcsAreBusy()
	s.running("report", 1, 1)
	s.remove("report")
	s.available()
	s.witness()
}

// effectiveness is what "config report" says.
type effectiveness struct {
	Measures []struct {
		Name, Verdict, Text string
		Value               float64
	}
	Recommendations []struct{ Text, Key, From, To string }
	Commands        []string
}

// verdict of a measure.
func (e effectiveness) verdict(name string) string {
	for _, m := range e.Measures {
		if m.Name == name {
			return m.Verdict
		}
	}
	return ""
}

// advised is the recommended value of a key, or "".
func (e effectiveness) advised(key string) string {
	for _, r := range e.Recommendations {
		if r.Key == key {
			return r.To
		}
	}
	return ""
}

func (s *story) effectiveness(window string) effectiveness {
	s.t.Helper()
	text := s.cli(0, "config", "report", "--window", window, "-o", "json")
	var e effectiveness
	NewWithT(s.t).Expect(json.Unmarshal([]byte(text), &e)).To(Succeed())
	s.t.Logf("%+v", e)
	return e
}

// untilAction waits until the report calls for action, and follows its advice about a setting as a person would: by its commands.
func (s *story) untilAction(measure, key, window string) {
	s.t.Helper()
	var e effectiveness
	s.until(measure+" to call for action", func(context.Context) (bool, string, error) {
		e = s.effectiveness(window)
		return e.verdict(measure) == "action" && e.advised(key) != "", fmt.Sprintf("%+v", e.Measures), nil
	})
	g := NewWithT(s.t)
	for _, command := range e.Commands {
		sh := exec.CommandContext(s.t.Context(), "sh", "-c", command)
		sh.Env = []string{"KUBECONFIG=" + s.Plane.Kubeconfig(), "PATH=" + filepath.Dir(s.Plane.Bin().Kubectl) + ":/usr/bin:/bin", "HOME=" + s.t.TempDir()}
		out, err := sh.CombinedOutput()
		g.Expect(err).NotTo(HaveOccurred(), "%s\n%s", command, out)
	}
	s.until(key+" to be "+e.advised(key), func(context.Context) (bool, string, error) {
		now := s.shown()[key]
		return now[0] == e.advised(key), fmt.Sprintf("%v", now), nil
	})
}

// queueIsFull: BMCs answer slowly, and one operation may run at a time.
func (s *story) queueIsFull() {
	s.t.Helper()
	g := NewWithT(s.t)
	g.Expect(s.AddHosts(s.t.Context(), s.namespace, s.namespace, 14, func(_ int, h *v1beta1.PhysicalHost) {
		g.Expect(s.Fleet.Get(h.Name).SetFault("slow", "2s")).To(Succeed())
	})).To(Succeed())
	s.untilAction("queue utilisation", "provisioning.maxQueueSize", "2s")
	s.system("patch", "configmap", "beskar7-config", "--type", "merge", "-p",
		`{"data":{"provisioning.maxConcurrentOps":"10","provisioning.workerCount":"15","provisioning.maxQueueSize":"100"}}`)
	s.everyBMC(func(b *emulator.BMC) error { b.ClearFaults(); return nil })
}

// claimsConflict: someone else writes to the hosts all the time, as a badly written tool would.
func (s *story) claimsConflict() {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	var writers sync.WaitGroup
	hosts := &v1beta1.PhysicalHostList{}
	NewWithT(s.t).Expect(s.Client.List(ctx, hosts, client.InNamespace(s.namespace))).To(Succeed())
	for i := range hosts.Items {
		writers.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				patch := fmt.Appendf(nil, `{"metadata":{"annotations":{"example.com/seen":"%d"}}}`, n)
				_ = s.Client.Patch(ctx, hosts.Items[i].DeepCopy(), client.RawPatch("application/merge-patch+json", patch)) // how it ends is nobody's matter
			}
		})
	}
	defer writers.Wait()
	defer cancel()
	s.scaleWorkers(9)
	s.untilAction("conflict rate", "claimCoordinator.enabled", "10s")
	s.rolledOut(1)
}

// bmcsAreBusy: every third change is answered with 503.
func (s *story) bmcsAreBusy() {
	s.t.Helper()
	s.everyBMC(func(b *emulator.BMC) error { return b.SetFault("busy", "1,on=change,every=3") })
	s.scaleWorkers(1)
	s.untilAction("cooldown waits", "provisioning.bmcCooldownPeriod", (10 * time.Second).String())
	s.everyBMC(func(b *emulator.BMC) error { b.ClearFaults(); return nil })
}
