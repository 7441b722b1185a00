package controllers

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/conditions"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/controllers/settings"
)

// announcements remembers what the events of each host last said. A cache may still show a status from before our own last write,
// and its comparison with the next one would say the same again. The zero value is ready for use.
type announcements struct {
	mu   sync.Mutex
	last map[string]announcement
}

// announcement is what an event is about: the state of a host and what is wrong with it, if anything is.
type announcement struct {
	state v1beta1.HostState
	wrong string // the reason; empty: nothing
}

// replace notes what is said now and returns what was said last: before, for a host of which this process has said nothing yet.
func (a *announcements) replace(host string, before, now announcement) announcement {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.last == nil {
		a.last = map[string]announcement{}
	}
	if known, found := a.last[host]; found {
		before = known
	}
	a.last[host] = now
	return before
}

func (a *announcements) forget(host string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.last, host)
}

// usual are the reasons of Ready, while it is not True, that nobody has to do anything about.
var usual = []string{v1beta1.ReasonNotYetContacted, v1beta1.ReasonNotObserved, v1beta1.ReasonInspecting, v1beta1.ReasonClaimed, v1beta1.ReasonWaitingForConfirm,
	v1beta1.ReasonBooting, v1beta1.ReasonReleasing, v1beta1.ReasonMaintenance, v1beta1.ReasonDeleting, v1beta1.ReasonCleaning, v1beta1.ReasonHostPaused,
	v1beta1.ReasonBusy, v1beta1.ReasonCredentialUnproven, v1beta1.ReasonMediaNotReady, v1beta1.ReasonBootstrapDataMissing}

// announcementOf reads it from the status.
func announcementOf(host *v1beta1.PhysicalHost) announcement {
	a := announcement{state: host.Status.State}
	if c := conditions.Get(host, v1beta1.ReadyCondition); c != nil && c.Status != metav1.ConditionTrue && !slices.Contains(usual, c.Reason) {
		a.wrong = c.Reason
	}
	return a
}

// announce makes an event of a changed state, and of something that went wrong or went wrong differently: a warning with the
// words of condition Ready, which say what to do. It returns what was said before.
func (r *PhysicalHostReconciler) announce(host, before *v1beta1.PhysicalHost) announcement {
	is := announcementOf(host)
	told := r.announced.replace(key(host), announcementOf(before), is)
	if told == is || is.state == "" {
		return told
	}
	message := conditions.GetMessage(host, v1beta1.ReadyCondition)
	if is.wrong != "" {
		r.event(host, corev1.EventTypeWarning, is.wrong, "Reconcile", message)
		return told
	}
	r.event(host, corev1.EventTypeNormal, string(is.state), "Reconcile", strings.TrimSuffix(fmt.Sprintf("%s: %s", is.state, message), ": "))
	return told
}

// event records an event whose note fits.
func (r *PhysicalHostReconciler) event(host *v1beta1.PhysicalHost, kind, reason, action, note string) {
	r.Events.Eventf(host, nil, kind, reason, action, "%s", clip(note, settings.NoteLimit))
}

// clip shortens a text to so many bytes, between two characters.
func clip(text string, limit int) string {
	const rest = " ..."
	if len(text) <= limit {
		return text
	}
	cut := limit - len(rest)
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + rest
}

// The commands that messages give to people: each ends a wait, or has something tried now, and can be copied as it stands, up to the
// end of the message: nothing follows the last one.

func annotateHost(h *v1beta1.PhysicalHost, annotation, value string) string {
	return fmt.Sprintf("kubectl -n %s annotate ph %s %s=%s --overwrite", h.Namespace, h.Name, annotation, value)
}

func patchHost(h *v1beta1.PhysicalHost, patch string) string {
	return fmt.Sprintf("kubectl -n %s patch ph %s --type merge -p '%s'", h.Namespace, h.Name, patch)
}

// retryNow has the BMC tried at once.
func retryNow(h *v1beta1.PhysicalHost) string {
	return annotateHost(h, v1beta1.RetryNowAnnotation, `"$(date +%s)"`)
}

// releaseUnverified ends the present claim, into quarantine.
func releaseUnverified(h *v1beta1.PhysicalHost) string {
	return annotateHost(h, v1beta1.ReleaseUnverifiedAnnotation, h.Spec.Claim.ID)
}

// consent has an unclaimed host powered off and emptied.
func consent(h *v1beta1.PhysicalHost) string {
	return patchHost(h, `{"spec":{"consentToErase":true}}`)
}

// deleteMachine gives the host back: the Machine of Cluster API, if the host's own machine is known to have one.
func deleteMachine(h *v1beta1.PhysicalHost, m *v1beta1.Beskar7Machine) string {
	if m != nil {
		for _, owner := range m.OwnerReferences {
			if owner.Kind == "Machine" {
				return fmt.Sprintf("kubectl -n %s delete machines.%s %s", h.Namespace, clusterv1.GroupVersion.Group, owner.Name)
			}
		}
	}
	return fmt.Sprintf("kubectl -n %s delete beskar7machines %s", h.Namespace, h.Spec.Claim.Machine)
}
