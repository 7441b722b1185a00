package metrics

import (
	"fmt"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// Description is one row of the reference.
type Description struct {
	Name, Type string
	Labels     []string
	Help       string
}

// builder makes metrics and remembers how they were described, so that code and reference cannot differ.
type builder struct {
	collectors []prometheus.Collector
	rows       []Description
}

func (b *builder) add(kind, name, help string, labels []string, collector prometheus.Collector) {
	b.rows = append(b.rows, Description{Name: name, Type: kind, Labels: labels, Help: help})
	b.collectors = append(b.collectors, collector)
}

func (b *builder) counters(name, help string, labels ...string) *prometheus.CounterVec {
	vec := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	b.add("counter", name, help, labels, vec)
	return vec
}

func (b *builder) counter(name, help string) prometheus.Counter {
	counter := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	b.add("counter", name, help, nil, counter)
	return counter
}

func (b *builder) gauges(name, help string, labels ...string) *prometheus.GaugeVec {
	vec := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	b.add("gauge", name, help, labels, vec)
	return vec
}

func (b *builder) gauge(name, help string) prometheus.Gauge {
	gauge := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	b.add("gauge", name, help, nil, gauge)
	return gauge
}

func (b *builder) histograms(name, help string, labels ...string) *prometheus.HistogramVec {
	return b.histogramsOf(seconds, name, help, labels...)
}

func (b *builder) histogramsOf(buckets []float64, name, help string, labels ...string) *prometheus.HistogramVec {
	vec := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
	b.add("histogram", name, help, labels, vec)
	return vec
}

func (b *builder) histogram(name, help string) prometheus.Histogram {
	histogram := prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: seconds})
	b.add("histogram", name, help, nil, histogram)
	return histogram
}

// build declares every metric.
func build() (*Recorder, *builder) {
	b := &builder{}
	return &Recorder{
		queueLength: b.gauge("beskar7_provisioning_queue_length",
			"Requested BMC operations that wait for their turn."),
		queueLimit: b.gauge("beskar7_provisioning_queue_limit",
			"Requested BMC operations that may wait: the setting provisioning.maxQueueSize."),
		cooldownWaits: b.counter("beskar7_bmc_cooldown_waits_total",
			"BMC operations that had to wait for the cooldown of their BMC."),
		claimAttempts: b.counters("beskar7_host_claim_attempts_total",
			"Tries to claim a host: success, conflict (lost to someone else or to a change), no_host, error.",
			"namespace", "outcome", "conflict_reason"),
		claimDuration: b.histograms("beskar7_host_claim_duration_seconds",
			"Time until a host was won: from the start of the call that won it or, with a claim arbiter, from when the machine began to wait.", "namespace"),
		claimRetries: b.counters("beskar7_host_claim_retries_total",
			"Further hosts that were tried after a lost race, in the same call.", "namespace"),
		arbiterElected: b.counter("beskar7_claim_coordinator_leader_election_total",
			"Times that this process was elected claim arbiter."),
		isArbiter: b.gauge("beskar7_claim_coordinator_is_leader", "1 while this process is the claim arbiter."),
		arbiterQueue: b.gauge("beskar7_claim_coordinator_queue_length",
			"Machines that wait for a host at the claim arbiter, whether one fits or not; 0 where it does not run."),
		arbiterProcessing: b.histogram("beskar7_claim_coordinator_processing_duration_seconds",
			"Time from the choice of a host by the claim arbiter to the answer to its write."),
		hosts: b.gauges("beskar7_hosts", "PhysicalHosts by the state in their status, as counted by the replica that drives BMCs.", "state"),
		backlog: b.gauges("beskar7_hosts_awaiting_attempt",
			"PhysicalHosts whose next attempt at their BMC is still to come, by why: it backs off, is parked after a refused log-in, or had no room in the queue.", "phase"),
		phaseDuration: b.histogramsOf(long, "beskar7_provisioning_phase_duration_seconds",
			"Time that a host was in a state, when it left it.", "phase"),
		provisioningFailures: b.counters("beskar7_provisioning_failures_total",
			"Boots that ended without a sign of life in time, or with a failed bootstrap.", "reason"),
		operations: b.counters("beskar7_bmc_operations_total",
			"Runs of BMC operations and polls by outcome, and operations that ended without a run.", "kind", "outcome"),
		operationDuration: b.histograms("beskar7_bmc_operation_duration_seconds",
			"Duration of one run of a BMC operation or poll, by kind and vendor (of polls unknown).", "kind", "vendor"),
		inFlight: b.gauge("beskar7_bmc_operations_in_flight", "BMC operations and polls that run now."),
		queueWait: b.histograms("beskar7_bmc_queue_wait_seconds",
			"Time that runnable BMC operations waited for their turn.", "kind", "vendor"),
		panics: b.counters("beskar7_bmc_operation_panics_total",
			"BMC operations that panicked: a bug, please report it.", "kind"),
		configValid: b.gauge("beskar7_config_valid",
			"1 while the last settings that were read are valid; 0 while older ones stay in effect instead."),
		isDriver: b.gauge("beskar7_driver_is_leader", "1 while this process holds the lease to drive BMCs."),
		clientWait: b.histograms("rest_client_rate_limiter_duration_seconds",
			"Time that requests to the API server waited for the client's own limit (kubeAPI.qps and kubeAPI.burst).", "verb"),
		clientRequest: b.histograms("rest_client_request_duration_seconds",
			"Time that requests to the API server took, without that wait.", "verb"),
		mediaBytes: b.counters("beskar7_media_bytes_total",
			"Bytes that the media server sent, by kind of file.", "file"),
		mediaRequests: b.counters("beskar7_media_requests_total",
			"Requests to the media server by HTTP status code.", "code"),
	}, b
}

//go:generate go run ./internal/reference ../../docs/metrics.md

// Descriptions lists every metric in the order of declaration.
func Descriptions() []Description {
	_, b := build()
	return b.rows
}

// Reference is the table of metrics in Markdown, for docs/metrics.md.
func Reference() string {
	var out strings.Builder
	out.WriteString("# Metrics\n\nGenerated from the code; do not edit.\n\n")
	out.WriteString("| Metric | Type | Labels | Meaning |\n| --- | --- | --- | --- |\n")
	for _, row := range Descriptions() {
		labels := "-"
		if len(row.Labels) > 0 {
			labels = "`" + strings.Join(row.Labels, "`, `") + "`"
		}
		fmt.Fprintf(&out, "| `%s` | %s | %s | %s |\n", row.Name, row.Type, labels, row.Help)
	}
	return out.String()
}
