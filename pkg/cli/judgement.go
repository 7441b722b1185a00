package cli

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/beskar7/beskar7/pkg/config"
)

// Metrics that the judgement reads.
const (
	metricQueue     = "beskar7_provisioning_queue_length"
	metricClaims    = "beskar7_host_claim_attempts_total"
	metricCooldowns = "beskar7_bmc_cooldown_waits_total"
	metricRuns      = "beskar7_bmc_operations_total"
	metricValid     = "beskar7_config_valid"
	metricPanics    = "beskar7_bmc_operation_panics_total"
	metricDriver    = "beskar7_driver_is_leader"
)

// busy are the outcomes of runs that say a BMC is asked for too much.
var busy = label("outcome", "busy", "5xx")

// The thresholds of the configuration guide, in percent, and for waits in numbers. Its waits are counts of a lifetime, which
// only grow; ours are what an hour at the rate of the window would count.
const (
	queueHigh, queueLow, queueAdvice             = 80, 20, 70
	conflictsHigh, conflictsLow, conflictsAdvice = 15, 5, 10
	waitsHigh, waitsAdvice                       = 100, 50
)

// measure is one judged number.
type measure struct {
	Name string `json:"name"`
	// Value in the unit of Text; Known is false where only one look was taken.
	Value float64 `json:"value"`
	Known bool    `json:"known"`
	// Verdict is ok, watch, action, optimise or unknown.
	Verdict string `json:"verdict"`
	Text    string `json:"text"`
}

// advice is one recommendation and the setting that would follow it.
type advice struct {
	Text string `json:"text"`
	Key  string `json:"key"`
	From string `json:"from"`
	To   string `json:"to"`
}

// judgement is the effectiveness of settings over a window.
type judgement struct {
	Replicas int       `json:"replicas"`
	Window   string    `json:"window"`
	Measures []measure `json:"measures"`
	Advice   []advice  `json:"recommendations"`
}

// judge compares what was measured with the guide's thresholds.
func judge(w window, s config.Settings) judgement {
	j := judgement{Replicas: len(w.after), Window: w.length.Round(time.Second).String()}
	rates := len(w.before) > 0 && w.length > 0
	j.queue(w, s)
	if !rates {
		j.Window = "none: rates need two looks"
		for _, name := range []string{"conflict rate", "cooldown waits"} {
			j.Measures = append(j.Measures, measure{Name: name, Verdict: "unknown", Text: "unknown: one look at counters says nothing of now"})
		}
		return j
	}
	j.conflicts(w, s)
	j.cooldowns(w, s)
	return j
}

func (j *judgement) queue(w window, s config.Settings) {
	length, limit := w.gauge(metricQueue), s.Provisioning.MaxQueueSize
	m := measure{Name: "queue utilisation", Value: 100 * length / float64(limit), Known: true, Verdict: "ok"}
	words := "optimal"
	switch {
	case m.Value > queueHigh:
		m.Verdict, words = "action", "high: increase maxQueueSize"
	case m.Value < queueLow:
		m.Verdict, words = "optimise", "low: maxQueueSize could be smaller"
	}
	m.Text = fmt.Sprintf("%.0f %% (%.0f of %d): %s", m.Value, length, limit, words)
	j.Measures = append(j.Measures, m)
	if larger := raised(limit, 500, 5); m.Value > queueAdvice && larger > limit {
		j.Advice = append(j.Advice, advice{"increase maxQueueSize for the present load", "provisioning.maxQueueSize", strconv.Itoa(limit), strconv.Itoa(larger)})
	}
}

func (j *judgement) conflicts(w window, s config.Settings) {
	attempts, lost := w.counted(metricClaims, every), w.counted(metricClaims, label("outcome", "conflict"))
	nothing := w.counted(metricClaims, label("outcome", "no_host"))
	m := measure{Name: "conflict rate", Known: true, Verdict: "ok", Text: "no claim was tried"}
	if attempts > 0 {
		m.Value = 100 * lost / attempts
		words := "moderate: watch it"
		switch {
		case m.Value > conflictsHigh:
			m.Verdict, words = "action", "high: enable the claim coordinator's leader election"
		case m.Value < conflictsLow:
			words = "optimal"
		default:
			m.Verdict = "watch"
		}
		m.Text = fmt.Sprintf("%.0f %% (%.0f of %.0f attempts): %s", m.Value, lost, attempts, words)
		if nothing > 0 {
			m.Text += fmt.Sprintf("; %.0f attempts found no host that fits", nothing)
		}
	}
	if s.ClaimCoordinator.Enabled && m.Verdict == "action" {
		m.Text += " (it is enabled: something else writes to hosts)"
	}
	j.Measures = append(j.Measures, m)
	if m.Value > conflictsAdvice && !s.ClaimCoordinator.Enabled {
		j.Advice = append(j.Advice, advice{"let one elected arbiter make all claims", "claimCoordinator.enabled", "false", "true"})
	}
}

// cooldowns: many waits alone say that there is work; a longer cooldown helps only BMCs that say they are asked for too much.
func (j *judgement) cooldowns(w window, s config.Settings) {
	waits, overloads := w.counted(metricCooldowns, every), w.counted(metricRuns, busy)
	m := measure{Name: "cooldown waits", Value: waits / w.length.Hours(), Known: true, Verdict: "ok"}
	words := "fine"
	switch {
	case m.Value > waitsHigh && overloads > 0:
		m.Verdict, words = "action", "frequent, and BMCs answer that they are busy: increase bmcCooldownPeriod"
	case m.Value > waitsHigh:
		words = "frequent, but no BMC says that it is busy: a longer cooldown would only slow down"
	case m.Value > waitsAdvice && overloads > 0:
		m.Verdict, words = "watch", "BMCs answer that they are busy"
	}
	m.Text = fmt.Sprintf("%.0f an hour (%.0f in the window), %.0f answers of busy BMCs: %s", m.Value, waits, overloads, words)
	j.Measures = append(j.Measures, m)
	present := s.Provisioning.BMCCooldownPeriod
	longer := time.Duration(raised(int(math.Ceil(present.Seconds())), 60, 1)) * time.Second
	if m.Value > waitsAdvice && overloads > 0 && longer > present {
		j.Advice = append(j.Advice, advice{"increase bmcCooldownPeriod to relieve the BMCs", "provisioning.bmcCooldownPeriod", present.String(), longer.String()})
	}
}

// raised is half as much again, rounded up to a multiple of step, and at most limit.
func raised(value, limit, step int) int {
	return min(limit, (value*3/2+value*3%2+step-1)/step*step)
}
