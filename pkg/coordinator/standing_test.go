package coordinator

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"

	"github.com/beskar7/beskar7/api/v1beta1"
)

const claimID = "00000000000000aa"

// held is a confirmed claim, first seen at epoch; edits spoil it.
func held(edits ...func(*Holding)) Holding {
	h := Holding{Host: newHost("a"), Machine: newMachine("m"), Cluster: &clusterv1.Cluster{}, Now: epoch, ClaimedSince: epoch}
	h.Host.Spec.Claim = &v1beta1.Claim{ID: claimID, Machine: "m", Cluster: "c"}
	h.Machine.Spec.HostRef = &v1beta1.HostRef{Name: "a", ClaimID: claimID}
	for _, edit := range edits {
		edit(&h)
	}
	return h
}

func TestJudge(t *testing.T) {
	paused := map[string]string{clusterv1.PausedAnnotation: ""}
	late := func(h *Holding) { h.Now = epoch.Add(DefaultGrace) }
	gone := func(h *Holding) { h.Machine = nil }
	elsewhere := func(h *Holding) { h.Machine.Spec.HostRef.ClaimID = "00000000000000bb" }
	bound := func(h *Holding) { h.Host.Spec.Claim.Bound = true }
	granted := func(h *Holding) { h.Host.Spec.Claim.Media = &v1beta1.MediaGrant{} }
	booted := func(h *Holding) { h.Host.Status.Booted = &v1beta1.BootRecord{ClaimID: claimID} }
	noCluster := func(h *Holding) { h.Cluster = nil }
	marked := func(h *Holding) { h.Host.Spec.Claim.Release = &v1beta1.Release{Reason: "MachineDeleted"} }
	clusterPaused := func(h *Holding) { h.Cluster.Spec.Paused = ptr.To(true) }
	unclaimed := func(h *Holding) { h.Host.Spec.Claim = nil }
	deleting := func(h *Holding) { h.Machine.DeletionTimestamp = &metav1.Time{Time: epoch} }
	cases := []struct {
		name  string
		edits []func(*Holding)
		want  Standing
		words string
	}{
		{"unclaimed", []func(*Holding){unclaimed}, StandingNone, "not claimed"},
		{"both sides", nil, StandingConfirmed, "claimed by machine m"},
		{"for ever", []func(*Holding){late, bound}, StandingConfirmed, ""},
		{"machine deleting, unmarked", []func(*Holding){deleting, late}, StandingConfirmed, ""},
		{"marked", []func(*Holding){marked, late}, StandingReleasing, "gave the host back (MachineDeleted)"},
		{"marked, all else gone", []func(*Holding){marked, gone, noCluster}, StandingReleasing, ""},
		{"not named yet", []func(*Holding){func(h *Holding) { h.Machine.Spec.HostRef = nil }}, StandingUnconfirmed, "expires at 2026-05-04T12:05:00Z"},
		{"names another claim", []func(*Holding){elsewhere}, StandingUnconfirmed, "does not name claim " + claimID},
		{"names another host", []func(*Holding){func(h *Holding) { h.Machine.Spec.HostRef.Name = "b" }, late}, StandingUnconfirmedExpired, ""},
		{"another claim, expired", []func(*Holding){elsewhere, late}, StandingUnconfirmedExpired, "is cleared"},
		{"another claim, expired, cluster gone", []func(*Holding){elsewhere, late, noCluster}, StandingUnconfirmedExpired, ""},
		{"another claim, expired, granted", []func(*Holding){elsewhere, late, granted}, StandingOrphanExpired, ""},
		{"another claim, expired, booted", []func(*Holding){elsewhere, late, booted}, StandingOrphanExpired, ""},
		{"another claim, waiting, bound", []func(*Holding){elsewhere, bound}, StandingUnconfirmed, ""},
		{"another claim, expired, bound", []func(*Holding){elsewhere, late, bound}, StandingOrphanBound, ""},
		{"machine gone", []func(*Holding){gone}, StandingOrphaned, "nothing is done to the host before 2026-05-04T12:05:00Z; it is released then"},
		{"machine and cluster gone", []func(*Holding){gone, noCluster}, StandingOrphaned, "nor after it while cluster c is gone, too"},
		{"machine gone, expired", []func(*Holding){gone, late}, StandingOrphanExpired, "is released"},
		{"machine gone, expired, granted", []func(*Holding){gone, late, granted}, StandingOrphanExpired, ""},
		{"machine and cluster gone, expired", []func(*Holding){gone, late, noCluster}, StandingOrphaned, "restore them; or have the server powered off, emptied and given back: kubectl -n ns patch ph a"},
		{"machine gone, bound", []func(*Holding){gone, bound}, StandingOrphaned, "it is quarantined then, running"},
		{"machine gone, expired, bound", []func(*Holding){gone, late, bound}, StandingOrphanBound, "restore the machine"},
		{"machine and cluster gone, expired, bound", []func(*Holding){gone, late, bound, noCluster}, StandingOrphanBound, ""},
		{"cluster paused", []func(*Holding){clusterPaused}, StandingPaused, "unpaused"},
		{"cluster paused, machine gone, expired", []func(*Holding){clusterPaused, gone, late}, StandingPaused, ""},
		{"cluster paused, releasing", []func(*Holding){clusterPaused, marked}, StandingPaused, ""},
		{"cluster paused, unclaimed", []func(*Holding){clusterPaused, unclaimed}, StandingNone, ""},
		{"host paused by a move", []func(*Holding){func(h *Holding) { h.Host.Spec.Paused = true }, gone, late}, StandingPaused, ""},
		{"host annotated", []func(*Holding){func(h *Holding) { h.Host.Annotations = paused }, unclaimed}, StandingPaused, "until it is unpaused"},
		{"machine annotated", []func(*Holding){func(h *Holding) { h.Machine.Annotations = paused }}, StandingPaused, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			h := held(c.edits...)
			got := Judge(h)
			if got != c.want || !strings.Contains(h.Words(got), c.words) {
				t.Fatalf("standing %s (%s), want %s (…%s…)", got, h.Words(got), c.want, c.words)
			}
		})
	}
}

func TestGraceCountsFromTheFirstSight(t *testing.T) {
	h := held(func(h *Holding) { h.Machine, h.Grace = nil, time.Minute })
	for at, want := range map[time.Duration]Standing{
		0: StandingOrphaned, time.Minute - 1: StandingOrphaned, time.Minute: StandingOrphanExpired, -time.Hour: StandingOrphaned,
	} {
		h.Now = epoch.Add(at)
		if got := Judge(h); got != want {
			t.Errorf("after %v: %s, want %s", at, got, want)
		}
	}
}
