package config

import (
	"slices"
	"strings"
	"unicode"
)

// Table returns all settings in the order of the reference, those of each vendor last. The caller owns the copy.
func Table() []Setting { return slices.Clone(table) }

// table is the only place where a setting is declared; vendorSettings repeats one pattern for every vendor.
var table = complete(slices.Concat(provisioning, hostSelection, bmc, reconcile, leaderElection, claimCoordinator, endpoints, logging, media, addresses, process, vendorSettings()))

// complete fills in the environment variables that follow from the keys.
func complete(settings []Setting) []Setting {
	for i := range settings {
		if settings[i].Env == "" {
			settings[i].Env = envOf(settings[i].Key)
		}
	}
	return settings
}

// envOf makes BESKAR7_BMC_MAX_RETRIES of bmc.maxRetries, and BESKAR7_KUBE_API_QPS of kubeAPI.qps.
func envOf(key string) string {
	var out strings.Builder
	out.WriteString("BESKAR7_")
	runes := []rune(key)
	for i, r := range runes {
		switch {
		case r == '.':
			out.WriteByte('_')
			continue
		case unicode.IsUpper(r) && i > 0 && unicode.IsLower(runes[i-1]):
			out.WriteByte('_')
		}
		out.WriteRune(unicode.ToUpper(r))
	}
	return out.String()
}

var provisioning = []Setting{
	{Key: "provisioning.maxConcurrentOps", Type: Integer, Default: "5", Min: "1", Max: "50", Unit: "operations", Live: true,
		Help:           "The most BMC operations in flight at a time, over all BMCs.",
		Recommendation: "Start with 8 to 12 and follow what the BMCs can take.",
		field:          func(s *Settings) any { return &s.Provisioning.MaxConcurrentOps }},
	{Key: "provisioning.maxQueueSize", Type: Integer, Default: "50", Min: "10", Max: "500", Unit: "operations", Live: true,
		Help:           "The most requested operations that wait. When it is full, more urgent ones displace the newest of the least urgent.",
		Recommendation: "Two to three times the demand of the busiest hour.",
		field:          func(s *Settings) any { return &s.Provisioning.MaxQueueSize }},
	{Key: "provisioning.operationTimeout", Type: Duration, Default: "5m", Min: "1m", Max: "30m", Live: true,
		Help:           "How long one operation may take. Waiting for its effect, such as a shutdown, does not count.",
		Recommendation: "3m to 8m, by the response times of the BMCs.",
		field:          func(s *Settings) any { return &s.Provisioning.OperationTimeout },
		chosen:         func(s *Settings) any { return &s.Chosen.OperationTimeout }},
	{Key: "provisioning.bmcCooldownPeriod", Type: Duration, Default: "10s", Min: "1s", Max: "60s", Live: true,
		Help:           "The quiet time between two changing operations on one BMC.",
		Recommendation: "5s to 15s, by vendor.",
		field:          func(s *Settings) any { return &s.Provisioning.BMCCooldownPeriod },
		chosen:         func(s *Settings) any { return &s.Chosen.Cooldown }},
	{Key: "provisioning.workerCount", Type: Integer, Default: "3", Min: "1", Max: "20", Unit: "goroutines", Live: true,
		Help:           "Goroutines that run operations. No more operations than this are in flight, whatever maxConcurrentOps says.",
		Recommendation: "1.5 to 2 times maxConcurrentOps.",
		field:          func(s *Settings) any { return &s.Provisioning.WorkerCount }},
	{Key: "provisioning.retryAttempts", Type: Integer, Default: "3", Min: "1", Max: "10", Unit: "tries", Live: true,
		Help:           "Tries of an operation before it is handed back to the host's controller, which decides anew. Nothing is given up for good.",
		Recommendation: "5 in production, 7 for large fleets.",
		field:          func(s *Settings) any { return &s.Provisioning.RetryAttempts }},
	{Key: "provisioning.exponentialBackoff", Type: Boolean, Default: "true", Live: true,
		Help:           "Whether the wait between tries doubles; otherwise it stays the same.",
		Recommendation: "true.",
		field:          func(s *Settings) any { return &s.Provisioning.ExponentialBackoff }},
	{Key: "provisioning.maxRetryDelay", Type: Duration, Default: "60s", Min: "1s", Max: "10m", Live: true,
		Help:           "The longest wait between tries.",
		Recommendation: "60s.",
		field:          func(s *Settings) any { return &s.Provisioning.MaxRetryDelay }},
	{Key: "provisioning.maxBoots", Type: Integer, Default: "5", Min: "1", Max: "50", Unit: "boots", Live: true,
		Help: "The most boots of a host in a row, for one claim, without a sign of life. They come ever less often; after the last one the host " +
			"is left as it is and reported. A change of its spec, or the retry-now annotation, begins anew.",
		Recommendation: "3 to 5; 1 to have a person look at the first failure.",
		field:          func(s *Settings) any { return &s.Provisioning.MaxBoots }},
}

var hostSelection = []Setting{
	{Key: "hostSelection.algorithm", Type: Choice, Default: "deterministic", Options: []string{"deterministic", "round-robin", "priority"}, Live: true,
		Help:           "How hosts that fit are ordered: by hashing the machine's identity, by least recent use, or by priority, fit and health.",
		Recommendation: "deterministic, for consistency.",
		field:          func(s *Settings) any { return &s.HostSelection.Algorithm }},
	{Key: "hostSelection.retryLimit", Type: Integer, Default: "3", Min: "1", Max: "10", Unit: "hosts", Live: true,
		Help:           "Further hosts that are tried in the same pass after a lost race.",
		Recommendation: "3 to 5 in production.",
		field:          func(s *Settings) any { return &s.HostSelection.RetryLimit }},
	{Key: "hostSelection.backoffMultiplier", Type: Number, Default: "1.5", Min: "1.0", Max: "3.0", Live: true,
		Help:           "What the wait, beginning at one second, is multiplied with after each pass that lost all its races.",
		Recommendation: "1.5 to 2.0.",
		field:          func(s *Settings) any { return &s.HostSelection.BackoffMultiplier }},
	{Key: "hostSelection.maxBackoffDelay", Type: Duration, Default: "30s", Min: "5s", Max: "300s", Live: true,
		Help:           "The longest such wait.",
		Recommendation: "30s to 60s.",
		field:          func(s *Settings) any { return &s.HostSelection.MaxBackoffDelay }},
}

var bmc = []Setting{
	{Key: "bmc.connectionTimeout", Type: Duration, Default: "30s", Min: "5s", Max: "120s", Live: true,
		Help:           "How long the set-up of a TCP and TLS connection to a BMC may take.",
		Recommendation: "15s to 45s, by network.",
		field:          func(s *Settings) any { return &s.BMC.ConnectionTimeout },
		chosen:         func(s *Settings) any { return &s.Chosen.ConnectionTimeout }},
	{Key: "bmc.requestTimeout", Type: Duration, Default: "60s", Min: "10s", Max: "300s", Live: true,
		Help:           "How long one HTTP request to a BMC may take.",
		Recommendation: "30s to 120s, by vendor.",
		field:          func(s *Settings) any { return &s.BMC.RequestTimeout },
		chosen:         func(s *Settings) any { return &s.Chosen.RequestTimeout }},
	{Key: "bmc.maxRetries", Type: Integer, Default: "3", Min: "1", Max: "10", Unit: "repeats", Live: true,
		Help:           "How often a request that is safe to repeat is repeated.",
		Recommendation: "3 to 5.",
		field:          func(s *Settings) any { return &s.BMC.MaxRetries },
		chosen:         func(s *Settings) any { return &s.Chosen.MaxRetries }},
	{Key: "bmc.retryDelay", Type: Duration, Default: "5s", Min: "1s", Max: "30s", Live: true,
		Help:           "The wait before such a repeat, unless the BMC asks for longer.",
		Recommendation: "2s to 10s.",
		field:          func(s *Settings) any { return &s.BMC.RetryDelay },
		chosen:         func(s *Settings) any { return &s.Chosen.RetryDelay }},
}

var reconcile = []Setting{
	{Key: "reconcile.syncPeriod", Type: Duration, Default: "30s", Min: "5s", Max: "300s", Live: true,
		Help:           "How often every object is looked at again although nothing changed. It never causes a request to a BMC.",
		Recommendation: "10s to 60s, by the size of the fleet.",
		field:          func(s *Settings) any { return &s.Reconcile.SyncPeriod }},
	{Key: "reconcile.timeout", Type: Duration, Default: "5m", Min: "1m", Max: "30m", Live: true,
		Help:           "How long one reconcile may take. None of them waits for hardware.",
		Recommendation: "3m to 10m.",
		field:          func(s *Settings) any { return &s.Reconcile.Timeout }},
	{Key: "reconcile.maxConcurrentReconciles", Flag: "max-concurrent-reconciles", Type: Integer, Default: "10", Min: "1", Max: "50", Unit: "reconciles",
		Help:           "The most reconciles of one controller at a time.",
		Recommendation: "One for every 5 to 10 hosts.",
		field:          func(s *Settings) any { return &s.Reconcile.MaxConcurrentReconciles }},
	{Key: "kubeAPI.qps", Flag: "kube-api-qps", Type: Integer, Default: "20", Min: "5", Max: "100", Unit: "requests per second",
		Help:           "The most requests per second to the Kubernetes API server.",
		Recommendation: "50 for more than 100 hosts.",
		field:          func(s *Settings) any { return &s.KubeAPI.QPS }},
	{Key: "kubeAPI.burst", Flag: "kube-api-burst", Type: Integer, Default: "30", Min: "10", Max: "200", Unit: "requests",
		Help:           "Requests to the Kubernetes API server that may come at once.",
		Recommendation: "1.5 times kubeAPI.qps.",
		field:          func(s *Settings) any { return &s.KubeAPI.Burst }},
}
