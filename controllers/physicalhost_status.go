package controllers

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/actuator"
	"github.com/beskar7/beskar7/pkg/coordinator/bmcqueue"
	"github.com/beskar7/beskar7/pkg/provision"
	"github.com/beskar7/beskar7/pkg/redfish"
)

// report writes the status of a host: one patch, and none if nothing changed.
func (r *PhysicalHostReconciler) report(ctx context.Context, host *v1beta1.PhysicalHost, g *gathered, d provision.Decision) error {
	before := host.DeepCopy()
	now := metav1.NewTime(r.Clock.Now().Truncate(time.Second))
	s := &host.Status
	state := v1beta1.HostState(d.State)
	if s.State != state {
		s.State, s.StateSince = state, now
	}
	s.ObservedGeneration = host.Generation
	retry := retryAsked(host)
	if retry {
		s.RetryNow = host.Annotations[v1beta1.RetryNowAnnotation]
	}
	if g.facts.Observed {
		s.Power = string(g.facts.Power)
	}
	s.Progress = g.progress
	reportInventory(host, g.observation)
	g.now = now.Time
	g.queue = r.Actuator.Status(key(host))
	reportOperation(s, g.queue, g)
	reportBoots(host, g, d, retry, now)
	reportPause(s, host, g, d)
	reportHealth(host, g, d, now)
	reportParked(s, g, now)
	hostConditions(host, g, d)
	if equality.Semantic.DeepEqual(before.Status, host.Status) {
		return nil
	}
	switch err := r.Client.Status().Patch(ctx, host, client.MergeFrom(before)); {
	case client.IgnoreNotFound(err) != nil:
		return fmt.Errorf("write status: %w", err)
	case err != nil:
		return nil //nolint:nilerr // the host is gone: there is nobody to tell
	}
	told := r.announce(host, before)
	r.measure(told, before, host, g)
	return nil
}

// measure tells the metrics what was written: once for each state that was left, by what was told of the host last, and for each
// boot that failed.
func (r *PhysicalHostReconciler) measure(told announcement, before, host *v1beta1.PhysicalHost, g *gathered) {
	if r.Metrics == nil {
		return
	}
	was, is := &before.Status, &host.Status
	if told.state != "" && told.state == was.State && was.State != is.State {
		r.Metrics.PhaseTook(string(was.State), is.StateSince.Sub(was.StateSince.Time))
	}
	if is.LastFailure == nil || is.LastFailure.Equal(was.LastFailure) {
		return
	}
	reason := v1beta1.ReasonBootOverdue
	if g.facts.Report == provision.ReportFailed {
		reason = v1beta1.ReasonBootstrapFailed
	}
	r.Metrics.ProvisioningFailed(reason)
}

// reportInventory keeps the last good inventory: an observation without one, or of another server, changes nothing.
func reportInventory(host *v1beta1.PhysicalHost, o actuator.Observation) {
	s := &host.Status
	if o.Learned != (redfish.Learned{}) && s.BMC != nil {
		s.BMC.Learned = ptr.To(v1beta1.Learned(o.Learned))
	}
	if o.Identity == nil || o.Hardware == nil {
		return
	}
	server, ours := inspectedAs(host, o)
	if !ours {
		return
	}
	before := s.BMC
	id, hw := o.Identity, o.Hardware
	s.BMC = &v1beta1.BMCReport{Vendor: id.Vendor, Product: id.Product, FirmwareVersion: id.FirmwareVersion, RedfishVersion: id.RedfishVersion,
		SystemID: id.SystemID, ResetTypes: id.ResetTypes, BootTargets: id.BootTargets, Capabilities: id.Capabilities, Problems: id.Problems}
	if before != nil {
		s.BMC.Learned = before.Learned
	}
	for _, slot := range id.MediaSlots {
		s.BMC.MediaSlots = append(s.BMC.MediaSlots, v1beta1.MediaSlot{ID: slot.ID, Types: slot.Types, CanInsert: slot.CanInsert})
	}
	s.Hardware = &v1beta1.Hardware{Manufacturer: id.Manufacturer, Model: id.Model, SerialNumber: server.Serial, SystemUUID: strings.ToLower(server.UUID),
		CPU: v1beta1.CPU{Model: hw.CPU.Model, Architecture: hw.CPU.Architecture, Sockets: countOf(hw.CPU.Sockets), Cores: countOf(hw.CPU.Cores), Threads: countOf(hw.CPU.Threads)},
	}
	s.Hardware.Memory = *resource.NewQuantity(max(hw.MemoryBytes, 0), resource.BinarySI)
	for _, d := range hw.Disks[:min(len(hw.Disks), maxDisks)] {
		s.Hardware.Disks = append(s.Hardware.Disks, v1beta1.Disk{Name: d.Name, Model: d.Model, SerialNumber: d.Serial, Type: d.Type, Size: *resource.NewQuantity(max(d.Bytes, 0), resource.BinarySI),
			WWN: d.WWN, BlockSize: countOf(d.BlockBytes), Protocol: d.Protocol, Location: d.Location})
	}
	for _, a := range hw.Accelerators[:min(len(hw.Accelerators), maxAccelerators)] {
		s.Hardware.Accelerators = append(s.Hardware.Accelerators, v1beta1.Accelerator{Kind: a.Kind, Vendor: a.Vendor, Model: a.Model, Count: countOf(a.Count)})
	}
	for _, n := range hw.NICs {
		s.Hardware.NICs = append(s.Hardware.NICs, v1beta1.NIC{Name: n.Name, MAC: n.MAC, SpeedMbps: countOf(n.SpeedMbps), LinkUp: n.LinkUp})
	}
}

// maxDisks and maxAccelerators are how many the API takes.
const (
	maxDisks        = 1024
	maxAccelerators = 64
)

// countOf is n as the API takes it: a BMC may say anything, and one number beyond would keep the whole status from being written.
func countOf(n int) int32 { return int32(min(max(n, 0), math.MaxInt32)) }

// learnedOf is what an earlier process learned of the host's BMC.
func learnedOf(host *v1beta1.PhysicalHost) redfish.Learned {
	if r := host.Status.BMC; r != nil && r.Learned != nil {
		return redfish.Learned(*r.Learned)
	}
	return redfish.Learned{}
}

// reportOperation shows what the gate does for the host. Times are whole seconds, so that they do not churn.
func reportOperation(s *v1beta1.PhysicalHostStatus, q bmcqueue.Status, g *gathered) {
	before := s.Operation
	s.Operation, s.Attempts, s.NextAttempt = nil, 0, nil
	if g.refused != "" {
		// Without the time of the next try: it would be written every few seconds, for as many hosts as there is no room for.
		s.Operation = &v1beta1.HostOperation{Kind: string(g.refused), Phase: phaseRefused, Since: metav1.NewTime(g.now),
			LastError: "the queue of BMC operations is full (provisioning.maxQueueSize), and what waits in it is as urgent"}
		if before != nil && before.Kind == s.Operation.Kind && before.Phase == s.Operation.Phase {
			s.Operation.Since = before.Since
		}
		return
	}
	if g.fault != nil {
		return
	}
	if f := g.observation.Failure; f != nil && !f.Outdated && q.Kind == "" {
		q.Attempts = max(q.Attempts, f.Count) // of its polls: nothing else is under way
	}
	// The gate hands a wish back after some tries, and gets it again at once: what was said then holds until the next try.
	if o := q.Outcome; o.Ending == bmcqueue.EndedFailed && o.Kind == q.Kind && o.ID == q.ID {
		q.Attempts += o.Attempts
		if q.LastError == "" {
			q.LastError = o.Message
		}
	}
	s.Attempts = countOf(q.Attempts)
	if q.Kind != "" {
		s.Operation = &v1beta1.HostOperation{Kind: q.Kind, Phase: phase(q.State), LastError: q.LastError, Since: metav1.NewTime(q.Since.Truncate(time.Second))}
		if before != nil && before.Kind == q.Kind {
			s.Operation.Since = before.Since
		}
	}
	if q.State == bmcqueue.StateBackOff || q.State == bmcqueue.StateParked {
		s.NextAttempt = ptr.To(metav1.NewTime(q.NextAttempt.Truncate(time.Second)))
	}
}

// The phases of operations whose next attempt is still to come.
const (
	phaseBackingOff = "BackingOff"
	phaseParked     = "Parked"
	phaseRefused    = "Refused"
)

var attemptPhases = []string{phaseBackingOff, phaseParked, phaseRefused}

func phase(s bmcqueue.State) string {
	switch s {
	case bmcqueue.StateRunning, bmcqueue.StateSettling, bmcqueue.StateWaiting:
		// One word for all of them: an operation changes between them many times a second, and nobody should write that.
		return "InProgress"
	case bmcqueue.StateBackOff:
		return phaseBackingOff
	case bmcqueue.StateParked:
		return phaseParked
	case bmcqueue.StateIdle:
	}
	return ""
}

// Health: a boot that ends without a sign of life, or with a failed bootstrap, halves the score; one that ends well gives ten
// points back. Host selection lets a host with a low score cool off.
const (
	fullHealth    = 100
	healthRegains = 10
)

// reportHealth counts every boot at most once: a failure is of the present boot, unless one was counted since that boot.
func reportHealth(host *v1beta1.PhysicalHost, g *gathered, d provision.Decision, now metav1.Time) {
	s, b := &host.Status, host.Status.Booted
	score := ptr.Deref(s.HealthScore, fullHealth)
	off := g.facts.Observed && g.facts.Power == provision.PowerStateOff // now: what fell silent once may run again
	dark := g.facts.Claim == provision.ClaimHeld && !g.facts.Bound && off && b != nil && b.OffAt != nil && d.Action != provision.MarkBound
	failed := dark || (d.State == provision.Booting || d.State == provision.BootFailed) && (g.facts.BootOverdue || g.facts.Report == provision.ReportFailed)
	switch {
	case d.Action == provision.MarkBound && score < fullHealth:
		s.HealthScore = ptr.To(min(score+healthRegains, fullHealth))
	case d.Action == provision.MarkBound:
	case failed && b != nil && (s.LastFailure == nil || s.LastFailure.Before(&b.At)):
		s.HealthScore, s.LastFailure = ptr.To(score/2), ptr.To(now)
	}
}

// reportParked keeps a refused credential, so that a restart does not try it again. The record follows the Secret's version while
// nothing but its metadata changes.
func reportParked(s *v1beta1.PhysicalHostStatus, g *gathered, now metav1.Time) {
	if g.connected == nil {
		return
	}
	failure, p := g.observation.Failure, s.ParkedCredential
	refused, same := failure != nil && failure.LoginFailed && !failure.Outdated, g.connected.isOf(p)
	switch {
	case refused && !same:
		s.ParkedCredential = &v1beta1.ParkedCredential{SecretUID: string(g.connected.secretUID), SecretVersion: g.connected.version(), Since: now}
	case p == nil:
	case !same, failure == nil && g.facts.Observed && g.observation.At.After(p.Since.Time):
		s.ParkedCredential = nil
	default:
		p.SecretVersion = g.connected.version()
	}
}
