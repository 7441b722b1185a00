package metrics

import (
	"net/http"
	"slices"
	"strconv"
	"sync"

	"github.com/beskar7/beskar7/pkg/coordinator/bmcqueue"
)

// pollKind is what the gate calls the recurring reads of its lanes.
const pollKind = "Poll"

// Values that stand for many.
const (
	// other is whatever is not in a closed set.
	other = "other"
	// unknown is the vendor of polls, which are of no group, and of BMCs that did not say theirs yet.
	unknown = "unknown"
)

// maxNamespaces bounds the label namespace: those that come later share the value other.
const maxNamespaces = 200

// The closed label sets that are of this package.
var (
	claimOutcomes   = []string{"success", "conflict", "no_host", "error"}
	conflictReasons = []string{"", "host_changed", "host_taken", "host_gone", "machine_changed"}
	mediaFiles      = []string{"image", "seed", "composed"}
	methods         = []string{"GET", "PATCH", "POST", "PUT", "DELETE"}
	failures        = []bmcqueue.Failure{bmcqueue.None, bmcqueue.Unreachable, bmcqueue.Busy, bmcqueue.LoginFailed, bmcqueue.Other}
)

// endingLabels are the outcomes of operations that ended without a run.
var endingLabels = map[bmcqueue.Ending]string{
	bmcqueue.EndedRefused:    "refused",
	bmcqueue.EndedDisplaced:  "displaced",
	bmcqueue.EndedSuperseded: "superseded",
	bmcqueue.EndedWithdrawn:  "withdrawn",
}

func failureLabel(failure bmcqueue.Failure) string {
	switch failure {
	case bmcqueue.None:
		return "ok"
	case bmcqueue.Unreachable:
		return "unreachable"
	case bmcqueue.Busy:
		return "busy"
	case bmcqueue.LoginFailed:
		return "login_failed"
	case bmcqueue.Other:
	}
	return other
}

// codeLabel keeps the label set closed whatever a handler answers.
func codeLabel(code int) string {
	if http.StatusText(code) == "" {
		return other
	}
	return strconv.Itoa(code)
}

func known(set []string, value, otherwise string) string {
	if slices.Contains(set, value) {
		return value
	}
	return otherwise
}

func (r *Recorder) kind(kind string) string {
	if kind == pollKind {
		return kind
	}
	return known(r.options.Kinds, kind, other)
}

func (r *Recorder) vendor(group string) string {
	if group == "" {
		return unknown
	}
	return known(r.options.Vendors, group, other)
}

// namespaces are those that were seen, up to maxNamespaces.
type namespaces struct {
	mu   sync.Mutex
	seen map[string]bool
}

// label is the value for a namespace; first says that it is new.
func (n *namespaces) label(namespace string) (value string, first bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.seen[namespace] {
		return namespace, false
	}
	if len(n.seen) >= maxNamespaces {
		namespace = other
	}
	if n.seen == nil {
		n.seen = map[string]bool{}
	}
	first = !n.seen[namespace]
	n.seen[namespace] = true
	return namespace, first
}

// begin shows what has not happened yet as 0, where the labels are known before.
func (r *Recorder) begin() {
	for _, kind := range append([]string{pollKind}, r.options.Kinds...) {
		for _, failure := range failures {
			r.operations.WithLabelValues(kind, failureLabel(failure))
		}
		r.panics.WithLabelValues(kind)
		if kind == pollKind {
			continue
		}
		for _, ending := range endingLabels {
			r.operations.WithLabelValues(kind, ending)
		}
	}
	for _, file := range append([]string{other}, mediaFiles...) {
		r.mediaBytes.WithLabelValues(file)
	}
	for _, code := range []int{http.StatusOK, http.StatusPartialContent, http.StatusNotFound, http.StatusBadGateway, http.StatusServiceUnavailable} {
		r.mediaRequests.WithLabelValues(codeLabel(code))
	}
	for _, phase := range r.options.Phases {
		r.phaseDuration.WithLabelValues(phase)
	}
	for _, reason := range r.options.Failures {
		r.provisioningFailures.WithLabelValues(reason)
	}
}

// claims is the label of a namespace in the metrics of claims; all of them exist once one does.
func (r *Recorder) claims(namespace string) string {
	label, first := r.namespaces.label(namespace)
	if !first {
		return label
	}
	for _, outcome := range claimOutcomes {
		if outcome == "conflict" {
			for _, reason := range conflictReasons[1:] {
				r.claimAttempts.WithLabelValues(label, outcome, reason)
			}
			continue
		}
		r.claimAttempts.WithLabelValues(label, outcome, "")
	}
	r.claimRetries.WithLabelValues(label)
	r.claimDuration.WithLabelValues(label)
	return label
}
