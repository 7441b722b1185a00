package lab

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Witness says whether the invariants of ownership held during a run. It believes two records only: the log that each emulated
// server kept of itself, and the API server's audit log. What our manager says of itself (metrics, logs, states) proves nothing,
// but for I3 and I6, which are about what it tells.
//
// # The ordering rule
//
// Writes to the API are ordered by resourceVersion, which one etcd counts for all objects. A removal has no version of its own:
// it comes after the last version of its object and as late as its time stamps allow. A write took effect at some moment between
// the arrival of its request and the end of its response, and not before the writes of lower versions arrived. A server's events
// have exact times; a request's is its arrival at the BMC. All clocks are this machine's.
// A violation is reported only if there is no order of the moments, within those bounds and clockSlack, in which it is none.
type Witness struct {
	// Provisioned counts the claims for which firmware started a boot from CD and the node came up.
	Provisioned int
	// Released counts the claims that were cleared after a release mark, the server being off, empty and disarmed.
	Released int
	// DoubleClaims counts the violations of I1: claims replaced, two claims on one server, two hosts of one machine.
	DoubleClaims int
	// Violations in words, in the order of time; each begins with the names of its invariants.
	Violations []string

	found []violation
}

// violation is one of Witness.Violations with its time.
type violation struct {
	at   time.Time
	text string
}

// WitnessOptions are what the two records cannot tell. The zero value is the strictest but for the cooldown.
type WitnessOptions struct {
	// Cooldown that must lie between the end of a changing request and the start of the next one at the same BMC; 0: not checked.
	Cooldown time.Duration
	// OrphanGrace after which hardware work on an unbound, unmarked claim whose machine is gone is a legitimate release; 0: never.
	OrphanGrace time.Duration
	// Since leaves out violations before it: until then another lab's manager had these servers. Zero: all are reported.
	Since time.Time
}

// Witness judges what happened so far to the hosts of a namespace, or of all namespaces when it is empty. It sees one API server:
// with servers shared between labs, what another lab's manager did legitimately is a violation here.
func (l *Lab) Witness(ctx context.Context, namespace string) (*Witness, error) {
	return l.WitnessWith(ctx, namespace, WitnessOptions{})
}

// WitnessWith is Witness with options.
func (l *Lab) WitnessWith(ctx context.Context, namespace string, o WitnessOptions) (*Witness, error) {
	until := time.Now()
	servers, err := l.serverLogs(until)
	if err != nil {
		return nil, err
	}
	writes, err := l.auditWrites(ctx, until)
	if err != nil {
		return nil, err
	}
	return judge(history{namespace: namespace, until: until, options: o, writes: writes}, servers), nil
}

// reportedViolations is how many violations an error spells out.
const reportedViolations = 5

// Err is nil if no invariant was violated; else it counts the violations and has the first ones in words.
func (w *Witness) Err() error {
	n := len(w.Violations)
	if n == 0 {
		return nil
	}
	text := strings.Join(w.Violations[:min(n, reportedViolations)], "\n  ")
	if n > reportedViolations {
		text += fmt.Sprintf("\n  and %d more", n-reportedViolations)
	}
	return fmt.Errorf("%d violations of invariants (%d double claims):\n  %s", n, w.DoubleClaims, text)
}

// Each calls do for every violation, in the order of time.
func (w *Witness) Each(do func(at time.Time, text string)) {
	for _, v := range w.found {
		do(v.at, v.text)
	}
}

// close puts the violations in the order of time.
func (w *Witness) close() *Witness {
	slices.SortStableFunc(w.found, func(a, b violation) int { return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.text, b.text)) })
	for _, v := range w.found {
		w.Violations = append(w.Violations, v.text)
	}
	return w
}
