package integration

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"

	"github.com/beskar7/beskar7/pkg/cli"
)

// guide is what the configuration guide gives each environment.
var guide = map[string]struct {
	replicas int32
	args     string // at least these
	// resources are the requests and limits of memory and of processors.
	resources string
	env       string
	// liveness and readiness are the seconds between two probes.
	liveness, readiness, surge int32
	// apart is whether replicas must be, or better are, on nodes of their own.
	apart, budget string
	data          string // exactly these
}{
	"development": {replicas: 1, resources: "128Mi 256Mi 100m 200m", env: "BESKAR7_LOG_LEVEL=debug", liveness: 10, readiness: 5,
		args: "--leader-elect=false --max-concurrent-reconciles=3 --metrics-bind-address=:8080 --health-probe-bind-address=:8081",
		data: "provisioning.maxConcurrentOps=2 provisioning.maxQueueSize=10 provisioning.operationTimeout=10m provisioning.bmcCooldownPeriod=15s provisioning.workerCount=2 " +
			"hostSelection.algorithm=deterministic hostSelection.retryLimit=3 hostSelection.backoffMultiplier=1.5 log.level=debug log.stacktraceLevel=error"},
	"staging": {replicas: 2, resources: "256Mi 512Mi 200m 500m", env: "BESKAR7_LOG_LEVEL=info", liveness: 20, readiness: 10, surge: 1, apart: "better",
		args: "--leader-elect=true --leader-elect-lease-duration=15s --leader-elect-renew-deadline=10s --leader-elect-retry-period=2s " +
			"--max-concurrent-reconciles=8 --metrics-bind-address=:8080 --health-probe-bind-address=:8081",
		data: "provisioning.maxConcurrentOps=5 provisioning.maxQueueSize=30 provisioning.operationTimeout=8m provisioning.bmcCooldownPeriod=10s provisioning.workerCount=4 provisioning.retryAttempts=3 " +
			"hostSelection.algorithm=deterministic hostSelection.retryLimit=5 hostSelection.backoffMultiplier=2.0 reconcile.syncPeriod=30s reconcile.timeout=5m metrics.interval=30s log.level=info"},
	"production": {replicas: 3, resources: "512Mi 1Gi 300m 1", env: "BESKAR7_LOG_LEVEL=info", liveness: 20, readiness: 10, surge: 1, apart: "must", budget: "2",
		args: productionArgs + " --claim-coordinator-lease-duration=15s --claim-coordinator-renew-deadline=10s --claim-coordinator-retry-period=2s " +
			"--max-concurrent-reconciles=12 --kube-api-qps=20 --kube-api-burst=30",
		data: "provisioning.maxConcurrentOps=10 provisioning.maxQueueSize=75 provisioning.operationTimeout=5m provisioning.bmcCooldownPeriod=8s provisioning.workerCount=8 provisioning.retryAttempts=5 " +
			"reconcile.maxConcurrentReconciles=12 " + productionData},
	"large-scale": {replicas: 5, resources: "1Gi 2Gi 500m 2", env: "BESKAR7_LOG_LEVEL=info", liveness: 20, readiness: 10, surge: 1, apart: "must", budget: "2",
		args: productionArgs + " --claim-coordinator-lease-duration=20s --claim-coordinator-renew-deadline=15s --claim-coordinator-retry-period=3s " +
			"--max-concurrent-reconciles=20 --kube-api-qps=50 --kube-api-burst=100",
		data: "provisioning.maxConcurrentOps=20 provisioning.maxQueueSize=150 provisioning.operationTimeout=4m provisioning.bmcCooldownPeriod=5s provisioning.workerCount=15 provisioning.retryAttempts=7 " +
			"provisioning.exponentialBackoff=true provisioning.maxRetryDelay=60s reconcile.maxConcurrentReconciles=20 " + productionData},
}

// What the large installation has of the one for production.
const (
	productionArgs = "--leader-elect=true --leader-elect-lease-duration=15s --leader-elect-renew-deadline=10s --leader-elect-retry-period=2s " +
		"--leader-elect-resource-namespace=beskar7-system --enable-claim-coordinator-leader-election=true --metrics-bind-address=:8080 " +
		"--health-probe-bind-address=:8081 --enable-pprof=true --pprof-bind-address=:8082"
	productionData = "hostSelection.algorithm=deterministic hostSelection.retryLimit=5 hostSelection.backoffMultiplier=1.5 hostSelection.maxBackoffDelay=30s " +
		"bmc.connectionTimeout=30s bmc.requestTimeout=60s bmc.maxRetries=3 bmc.retryDelay=5s reconcile.syncPeriod=10s reconcile.timeout=3m " +
		"leaderElection.leaseDuration=15s leaderElection.renewDeadline=10s leaderElection.retryPeriod=2s metrics.interval=15s metrics.enableProfiling=true " +
		"log.level=info log.format=json log.timeEncoding=iso8601"
)

// profiles are the ConfigMaps of the guide for special fleets.
var profiles = map[string]string{
	"latency-optimized": "bmc.connectionTimeout=60s bmc.requestTimeout=180s provisioning.operationTimeout=15m provisioning.bmcCooldownPeriod=20s bmc.maxRetries=5 bmc.retryDelay=10s provisioning.maxConcurrentOps=3",
	"high-throughput": "provisioning.maxConcurrentOps=15 provisioning.workerCount=20 provisioning.maxQueueSize=200 provisioning.operationTimeout=3m bmc.requestTimeout=45s " +
		"provisioning.bmcCooldownPeriod=3s hostSelection.backoffMultiplier=1.2 bmc.retryDelay=2s",
	"dell-idrac": "provisioning.maxConcurrentOps=8 provisioning.bmcCooldownPeriod=8s bmc.requestTimeout=120s provisioning.operationTimeout=8m bmc.maxRetries=4 bmc.retryDelay=5s",
	"hpe-ilo":    "provisioning.maxConcurrentOps=12 provisioning.bmcCooldownPeriod=5s bmc.requestTimeout=60s provisioning.operationTimeout=5m bmc.maxRetries=3 bmc.retryDelay=3s",
	"supermicro": "provisioning.maxConcurrentOps=4 provisioning.bmcCooldownPeriod=15s bmc.requestTimeout=90s provisioning.operationTimeout=10m bmc.maxRetries=5 bmc.retryDelay=8s",
}

// TestEnvironmentsOfTheGuide: each overlay gives the manager what the guide gives its environment, and our own pre-deployment check
// has nothing against it.
func TestEnvironmentsOfTheGuide(t *testing.T) {
	for name, want := range guide {
		t.Run(name, func(t *testing.T) {
			documents := built(t, "overlays/"+name)
			d := only[appsv1.Deployment](t, ofKind(documents, "Deployment"))
			c := d.Spec.Template.Spec.Containers[0]
			for flag := range strings.FieldsSeq(want.args) {
				if n := count(c.Args, func(a string) bool { return a == flag }); n != 1 {
					t.Errorf("%s is there %d times", flag, n)
				}
			}
			r := c.Resources
			if got := fmt.Sprint(r.Requests.Memory(), " ", r.Limits.Memory(), " ", r.Requests.Cpu(), " ", r.Limits.Cpu()); got != want.resources || *d.Spec.Replicas != want.replicas {
				t.Errorf("%d replicas with %s, want %d with %s", *d.Spec.Replicas, got, want.replicas, want.resources)
			}
			variable, value, _ := strings.Cut(want.env, "=")
			if !slices.Contains(c.Env, corev1.EnvVar{Name: variable, Value: value}) {
				t.Errorf("%s is missing in %v", want.env, c.Env)
			}
			if c.LivenessProbe.PeriodSeconds != want.liveness || c.ReadinessProbe.PeriodSeconds != want.readiness {
				t.Errorf("probes: %v, %v", c.LivenessProbe, c.ReadinessProbe)
			}
			if surge := d.Spec.Strategy.RollingUpdate; want.surge > 0 && (surge == nil || surge.MaxSurge.IntVal != want.surge || surge.MaxUnavailable.IntVal != want.surge) {
				t.Errorf("roll-out: %+v", d.Spec.Strategy)
			}
			if want.replicas > 1 && d.Spec.Template.Annotations["prometheus.io/port"] != "8080" {
				t.Errorf("annotations: %v", d.Spec.Template.Annotations)
			}
			if got := apart(d.Spec.Template.Spec.Affinity); got != want.apart {
				t.Errorf("replicas %q be on nodes of their own, want %q", got, want.apart)
			}
			budget := ""
			for _, b := range ofKind(documents, "PodDisruptionBudget") {
				budget = only[policyv1.PodDisruptionBudget](t, [][]byte{b}).Spec.MinAvailable.String()
			}
			if budget != want.budget {
				t.Errorf("at least %q are kept, want %q", budget, want.budget)
			}
			holds(t, documents, "beskar7-config", want.data)
		})
	}
	for name, data := range profiles {
		t.Run(name, func(t *testing.T) { holds(t, built(t, "profiles/"+name), "beskar7-config-"+name, data) })
	}
}

func count(args []string, is func(string) bool) (n int) {
	for _, a := range args {
		if is(a) {
			n++
		}
	}
	return n
}

func apart(a *corev1.Affinity) string {
	switch {
	case a == nil || a.PodAntiAffinity == nil:
		return ""
	case len(a.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution) > 0:
		return "must"
	}
	return "better"
}

// holds expects exactly these settings in the one ConfigMap, and no word against them by "config validate".
func holds(t *testing.T, documents [][]byte, name, data string) {
	t.Helper()
	want := map[string]string{}
	for pair := range strings.FieldsSeq(data) {
		key, value, _ := strings.Cut(pair, "=")
		want[key] = value
	}
	m := only[corev1.ConfigMap](t, ofKind(documents, "ConfigMap"))
	if m.Name != name || m.Namespace != ours || !maps.Equal(m.Data, want) {
		t.Errorf("ConfigMap %s/%s holds %v, want %v", m.Namespace, m.Name, m.Data, want)
	}
	var said, wrong bytes.Buffer
	c := cli.New(cli.Options{In: bytes.NewReader(bytes.Join(documents, []byte("\n---\n"))), Out: &said, Err: &wrong})
	if code := c.Run(t.Context(), []string{"config", "validate", "-"}); code != 0 || strings.Contains(said.String(), "there is no such") {
		t.Errorf("validate ends with %d:\n%s%s", code, &said, &wrong)
	}
	t.Log(said.String())
}
