package metrics

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/beskar7/beskar7/pkg/coordinator/bmcqueue"
)

// Recorder holds every metric of the product. It satisfies the observer interfaces of coordinator and bmcqueue; its methods
// are safe for concurrent use and never block.
type Recorder struct {
	queueLength, queueLimit, inFlight, configValid, isDriver prometheus.Gauge
	cooldownWaits                                            prometheus.Counter
	claimAttempts, claimRetries                              *prometheus.CounterVec
	claimDuration                                            *prometheus.HistogramVec
	hosts, backlog                                           *prometheus.GaugeVec
	operations, panics, mediaBytes, mediaRequests            *prometheus.CounterVec
	operationDuration, queueWait, phaseDuration              *prometheus.HistogramVec
	provisioningFailures                                     *prometheus.CounterVec
	arbiterElected                                           prometheus.Counter
	arbiterQueue, isArbiter                                  prometheus.Gauge
	arbiterProcessing                                        prometheus.Histogram
	clientWait, clientRequest                                *prometheus.HistogramVec

	options    Options
	namespaces namespaces
}

var _ bmcqueue.Observer = (*Recorder)(nil)

// ClaimAttempted counts one try to claim a host. Unknown outcomes and reasons count as "error" and "other".
func (r *Recorder) ClaimAttempted(namespace, outcome, reason string) {
	r.claimAttempts.WithLabelValues(r.claims(namespace), known(claimOutcomes, outcome, "error"), known(conflictReasons, reason, other)).Inc()
}

// ClaimTook records how long a call that won a host took.
func (r *Recorder) ClaimTook(namespace string, took time.Duration) {
	r.claimDuration.WithLabelValues(r.claims(namespace)).Observe(took.Seconds())
}

// ClaimRetried counts that another host was tried in the same call.
func (r *Recorder) ClaimRetried(namespace string) {
	r.claimRetries.WithLabelValues(r.claims(namespace)).Inc()
}

// ArbiterElected counts that this process became the claim arbiter.
func (r *Recorder) ArbiterElected() { r.arbiterElected.Inc() }

// ArbiterLeads says whether this process is the claim arbiter.
func (r *Recorder) ArbiterLeads(yes bool) { r.isArbiter.Set(number(yes)) }

// ArbiterQueue sets how many machines wait for a host at this process's arbiter.
func (r *Recorder) ArbiterQueue(length int) { r.arbiterQueue.Set(float64(length)) }

// ArbiterProcessed records how long serving one machine took.
func (r *Recorder) ArbiterProcessed(took time.Duration) { r.arbiterProcessing.Observe(took.Seconds()) }

// SetHosts replaces the number of hosts by state, and of those that wait for their next attempt by phase. What is absent is 0;
// nil maps show nothing at all, as on replicas that do not count.
func (r *Recorder) SetHosts(byState, awaiting map[string]int) {
	replace(r.hosts, r.options.States, byState)
	replace(r.backlog, r.options.Attempts, awaiting)
}

func replace(gauges *prometheus.GaugeVec, set []string, counts map[string]int) {
	if counts == nil {
		gauges.Reset()
		return
	}
	sums := map[string]int{}
	for value, n := range counts {
		sums[known(set, value, other)] += n
	}
	for _, value := range append([]string{other}, set...) {
		gauges.WithLabelValues(value).Set(float64(sums[value]))
	}
}

// PhaseTook records how long a host was in a state that it left. States that are no phase of provisioning are not counted.
func (r *Recorder) PhaseTook(state string, took time.Duration) {
	if slices.Contains(r.options.Phases, state) {
		r.phaseDuration.WithLabelValues(state).Observe(took.Seconds())
	}
}

// ProvisioningFailed counts a boot that came to nothing.
func (r *Recorder) ProvisioningFailed(reason string) {
	r.provisioningFailures.WithLabelValues(known(r.options.Failures, reason, other)).Inc()
}

// Tried records one run of an operation or poll at a BMC.
func (r *Recorder) Tried(kind, group string, _ bmcqueue.Class, failure bmcqueue.Failure, waited, took time.Duration) {
	kind, vendor := r.kind(kind), r.vendor(group)
	r.operations.WithLabelValues(kind, failureLabel(failure)).Inc()
	r.operationDuration.WithLabelValues(kind, vendor).Observe(took.Seconds())
	if kind != pollKind {
		r.queueWait.WithLabelValues(kind, vendor).Observe(waited.Seconds())
	}
}

// Ended records operations that left the gate without a run of their own; runs are counted by Tried.
func (r *Recorder) Ended(kind string, _ bmcqueue.Class, ending bmcqueue.Ending, _ bmcqueue.Failure) {
	if label, ok := endingLabels[ending]; ok {
		r.operations.WithLabelValues(r.kind(kind), label).Inc()
	}
}

// Panicked counts an operation that panicked.
func (r *Recorder) Panicked(_, kind string, _ []byte) { r.panics.WithLabelValues(r.kind(kind)).Inc() }

// CooldownWaited counts that an operation had to wait for the cooldown of its BMC.
func (r *Recorder) CooldownWaited() { r.cooldownWaits.Inc() }

// SetQueue sets how many operations wait at the gate, how many may, and how many are in flight.
func (r *Recorder) SetQueue(waiting, limit, inFlight int) {
	r.queueLength.Set(float64(waiting))
	r.queueLimit.Set(float64(limit))
	r.inFlight.Set(float64(inFlight))
}

// ClientWaited records how long one request to the API server waited for the client's own limit. verb is an HTTP method.
func (r *Recorder) ClientWaited(verb string, wait time.Duration) {
	r.clientWait.WithLabelValues(known(methods, verb, other)).Observe(wait.Seconds())
}

// ClientAsked records how long one request to the API server took, without the wait for the client's own limit.
func (r *Recorder) ClientAsked(verb string, took time.Duration) {
	r.clientRequest.WithLabelValues(known(methods, verb, other)).Observe(took.Seconds())
}

// SetConfigValid says whether the last settings that were read are valid.
func (r *Recorder) SetConfigValid(valid bool) { r.configValid.Set(number(valid)) }

// SetDriver says whether this process holds the driver lease.
func (r *Recorder) SetDriver(held bool) { r.isDriver.Set(number(held)) }

// MediaServed records one answered request of the media server. file is image, seed, composed or other; n counts body bytes.
func (r *Recorder) MediaServed(file string, code int, n int64) {
	r.mediaRequests.WithLabelValues(codeLabel(code)).Inc()
	r.mediaBytes.WithLabelValues(known(mediaFiles, file, other)).Add(max(0, float64(n)))
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
