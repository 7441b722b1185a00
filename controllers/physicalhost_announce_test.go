package controllers

import (
	"strings"
	"testing"
	"unicode/utf8"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/cluster-api/util/conditions"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/controllers/settings"
)

func hostSaying(state v1beta1.HostState, ready bool, reason, message string) *v1beta1.PhysicalHost {
	h, status := newHost(), metav1.ConditionFalse
	if ready {
		status = metav1.ConditionTrue
	}
	h.Status.State = state
	conditions.Set(h, condition(v1beta1.ReadyCondition, status, reason, message))
	return h
}

// Each step is what the status was when a reconcile read it, and what it wrote.
func TestEventsOfAHost(t *testing.T) {
	enrolling := hostSaying(v1beta1.StateEnrolling, false, v1beta1.ReasonNotObserved, "not read yet")
	available := hostSaying(v1beta1.StateAvailable, true, v1beta1.ReasonAvailable, "")
	refused := hostSaying(v1beta1.StateAvailable, false, v1beta1.ReasonLoginRefused, "mend Secret bmc")
	silent := hostSaying(v1beta1.StateAvailable, false, v1beta1.ReasonUnreachable, "no answer")
	r := newRig(t)
	recorder := r.host.Events.(*events.FakeRecorder)
	for i, step := range []struct {
		before, now *v1beta1.PhysicalHost
		want        string
	}{
		{newHost(), enrolling, "Normal Enrolling Enrolling: not read yet"},
		{enrolling, available, "Normal Available Available"},
		{enrolling, available, ""}, // read from a cache that was behind
		{available, available, ""},
		{available, refused, "Warning LoginRefused mend Secret bmc"},
		{refused, refused, ""},
		{refused, silent, "Warning Unreachable no answer"},
		{silent, available, "Normal Available Available"},
		{available, hostSaying(v1beta1.StateReleaseBlocked, false, v1beta1.ReasonReleaseOverdue, "end it with ..."), "Warning ReleaseOverdue end it with ..."},
	} {
		r.host.announce(step.now, step.before)
		got := ""
		select {
		case got = <-recorder.Events:
		default:
		}
		if got != step.want {
			t.Errorf("step %d: event %q, want %q", i, got, step.want)
		}
	}
	another := newRig(t) // a new process: the status says what was told
	another.host.announce(refused, refused)
	if n := len(another.host.Events.(*events.FakeRecorder).Events); n != 0 {
		t.Errorf("%d events after a restart", n)
	}
}

func TestClip(t *testing.T) {
	long := strings.Repeat("ä", settings.NoteLimit)
	got := clip(long, settings.NoteLimit)
	if len(got) > settings.NoteLimit || len(got) < settings.NoteLimit-8 || !utf8.ValidString(got) || !strings.HasSuffix(got, " ...") {
		t.Errorf("%d bytes: %q", len(got), got[len(got)-10:])
	}
	if got := clip("short", settings.NoteLimit); got != "short" {
		t.Errorf("%q", got)
	}
}
