//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/config"
	"github.com/beskar7/beskar7/test/lab"
)

// TestSettingsLive changes every live setting in the ConfigMap of a manager that runs, one after the other: each takes effect within
// a second and without a restart. Of some the effect is looked for where it counts. What is invalid changes nothing and is told, what
// needs a restart is told too.
func TestSettingsLive(t *testing.T) {
	l := newLab(t)
	s := newStory(t, l, "live", 4, func(i int, h *v1beta1.PhysicalHost) {
		h.Spec.FailureDomain = "" // or the control plane's choice of one would come first
		if i == 2 {
			h.Spec.Priority = 100
		}
	})
	g := NewWithT(t)
	pid, took := l.Manager.PID(), []time.Duration{}
	for _, key := range config.Table() {
		if key.Live && !key.Optional && key.Key != "log.level" {
			took = append(took, s.settle(key.Key, differs(key)))
		}
	}
	took = append(took, s.settle("vendors.dell.bmc.maxRetries", "7"), s.settle("log.level", "debug"))
	slices.Sort(took)
	t.Logf("%d settings took effect within %s, half of them within %s", len(took), took[len(took)-1], took[len(took)/2])
	// Half of them: a machine that is busy with other things may take a second for anything.
	g.Expect(took[len(took)/2]).To(BeNumerically("<", time.Second))

	s.invalid()
	s.needsRestart()
	s.effects()
	g.Expect(l.Manager.PID()).To(Equal(pid))
	g.Expect(l.Manager.Restarts()).To(BeZero())
	s.remove("live")
	s.available()
	s.witness()
}

// differs is a valid value that is neither the default nor what the lab sets.
func differs(s config.Setting) string {
	switch s.Type {
	case config.Boolean:
		return fmt.Sprint(s.Default != "true")
	case config.Choice:
		return s.Options[len(s.Options)-1]
	case config.Integer, config.Number, config.Duration, config.Text, config.URL, config.Address, config.Names, config.CipherSuites, config.Networks:
	}
	return s.Max
}

// set writes values into the ConfigMap; an empty one removes its key.
func (s *story) set(values map[string]string) *corev1.ConfigMap {
	s.t.Helper()
	g := NewWithT(s.t)
	object, err := lab.Object(s.t.Context(), s.Lab, "beskar7-system", "beskar7-config", &corev1.ConfigMap{})
	g.Expect(err).NotTo(HaveOccurred())
	base := object.DeepCopy()
	for key, value := range values {
		if object.Data[key] = value; value == "" {
			delete(object.Data, key)
		}
	}
	g.Expect(s.Client.Patch(s.t.Context(), object, client.MergeFrom(base))).To(Succeed())
	return object
}

// logLine is what the manager logs of a changed setting.
type logLine struct {
	TS      time.Time `json:"ts"`
	Level   string    `json:"level"`
	Message string    `json:"msg"`
	Key     string    `json:"key"`
	To      string    `json:"to"`
}

// settle changes one setting and returns how long it took until it was in effect.
func (s *story) settle(key, value string) time.Duration {
	s.t.Helper()
	began := time.Now()
	s.set(map[string]string{key: value})
	var at time.Time
	NewWithT(s.t).Eventually(func() bool {
		return s.logged(func(l logLine) bool {
			at = l.TS
			return l.Message == "Setting changed" && l.Key == key && !l.TS.Before(began.Truncate(time.Millisecond))
		})
	}, patience, 20*time.Millisecond).Should(BeTrue(), "%s=%s", key, value)
	return at.Sub(began)
}

// logged says whether the manager logged a line like this, and stops at it.
func (s *story) logged(like func(logLine) bool) bool {
	s.t.Helper()
	text, err := os.ReadFile(s.Manager.Log())
	if err != nil {
		s.t.Fatal(err)
	}
	for line := range bytes.Lines(text) {
		var l struct {
			logLine
			TS string `json:"ts"`
		}
		if json.Unmarshal(line, &l) != nil {
			continue // the last one may be half written
		}
		l.logLine.TS, _ = time.Parse("2006-01-02T15:04:05.000Z0700", l.TS)
		if like(l.logLine) {
			return true
		}
	}
	return false
}

// told waits for an event on the ConfigMap with all of these words.
func (s *story) told(reason string, words ...string) {
	s.t.Helper()
	s.until("an event "+reason, func(ctx context.Context) (bool, string, error) {
		out, err := s.Plane.Kubectl(ctx, nil, "-n", "beskar7-system", "get", "events", "--field-selector", "involvedObject.name=beskar7-config,reason="+reason, "-o", "jsonpath={range .items[*]}{.message}{\"\\n\"}{end}")
		return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(out, w) }), out, err
	})
}

// gauge waits for a line of the manager's metrics.
func (s *story) gauge(line string) {
	s.t.Helper()
	NewWithT(s.t).Eventually(func() []string { return strings.Split(s.metrics(), "\n") }, patience, 200*time.Millisecond).Should(ContainElement(line))
}

// invalid: with one valid and two invalid values none takes effect, both errors are told at once, and what was in effect stays.
func (s *story) invalid() {
	s.t.Helper()
	g := NewWithT(s.t)
	s.settle("metrics.interval", "5s") // of 5m there is most left: the gauges below follow at once all the same
	s.gauge("beskar7_config_valid 1")
	s.set(map[string]string{"provisioning.maxQueueSize": "33", "bmc.maxRetries": "40", "provisioning.bmcCooldownPeriod": "soon"})
	s.told("InvalidSettings", "the last good settings stay in effect", "bmc.maxRetries", "40 is outside the range 1 to 10", "provisioning.bmcCooldownPeriod", `"soon" is not a duration`)
	s.gauge("beskar7_config_valid 0")
	s.gauge("beskar7_provisioning_queue_limit 500") // of the last good ones
	g.Expect(s.cli(0, "config", "show")).To(ContainSubstring("invalid, so that no change is in effect"))
	g.Expect(s.logged(func(l logLine) bool { return l.Key == "provisioning.maxQueueSize" && l.To == "33" })).To(BeFalse())
	s.startsNot("--kube-api-qps=1", "--log-format=xml")
	s.set(map[string]string{"bmc.maxRetries": "4", "provisioning.bmcCooldownPeriod": "5s", "hostSelection.algorithmm": "priority"})
	s.told("SettingsValid", "valid again")
	s.told("SettingsWarning", "did you mean hostSelection.algorithm?")
	s.gauge("beskar7_config_valid 1")
	s.gauge("beskar7_provisioning_queue_limit 33")
}

// startsNot: a manager that would start now ends at once, and says everything that is wrong, wherever it comes from.
func (s *story) startsNot(flags ...string) {
	s.t.Helper()
	cmd := s.command(flags...)
	cmd.Env = append(cmd.Env, "POD_NAMESPACE=beskar7-system", "BESKAR7_LOG_TIME_ENCODING=sundial")
	out, _ := cmd.CombinedOutput()
	g := NewWithT(s.t)
	g.Expect(cmd.ProcessState.ExitCode()).To(Equal(1))
	for _, key := range []string{"kubeAPI.qps (flag)", "log.format (flag)", "log.timeEncoding (environment)", "bmc.maxRetries (configmap beskar7-config)", "provisioning.bmcCooldownPeriod (configmap beskar7-config)"} {
		g.Expect(string(out)).To(ContainSubstring(key))
	}
}

// needsRestart: what only a new process can take over is told, and shown.
func (s *story) needsRestart() {
	s.t.Helper()
	s.set(map[string]string{"kubeAPI.qps": "55", "hostSelection.algorithmm": ""})
	s.told("RestartRequired", "takes effect after a restart of the manager", "kubeAPI.qps: 55 instead of 20")
	NewWithT(s.t).Expect(s.cli(0, "config", "show")).To(MatchRegexp(`kubeAPI\.qps .*needs a restart`))
}

// effects looks where the settings count: a cooldown of 5s between changes of a server, the host of highest priority, a chatty log.
func (s *story) effects() {
	s.t.Helper()
	g := NewWithT(s.t)
	s.set(map[string]string{"provisioning.operationTimeout": "5m", "bmc.requestTimeout": "10s", "bmc.connectionTimeout": "5s", "bmc.retryDelay": "1s",
		"provisioning.maxRetryDelay": "5s", "reconcile.syncPeriod": "5s", "metrics.interval": "5s"})
	s.apply(lab.ClusterSpec{Name: "live", ControlPlanes: 1})
	s.running("live", 1, 0)
	machines := s.machines("live")
	g.Expect(machines).To(HaveLen(1))
	g.Expect(machines[0].Spec.HostRef.Name).To(Equal("live-2"), "the host of the highest priority")
	g.Expect(s.cli(0, "hosts", "explain", "-n", s.namespace, machines[0].Name)).To(MatchRegexp(`Order: +priority`))
	g.Expect(s.doubled(5*time.Second)).To(BeEmpty(), "the cooldown is 5s")
	g.Expect(s.doubled(time.Minute)).NotTo(BeEmpty())
	g.Expect(s.logged(func(l logLine) bool { return l.Level == "debug" })).To(BeTrue())
}
