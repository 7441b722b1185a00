package coordinator

import (
	"testing"

	"github.com/beskar7/beskar7/api/v1beta1"
)

func markRelease(t *testing.T, w *world, machine *v1beta1.Beskar7Machine) bool {
	t.Helper()
	done, err := MarkRelease(t.Context(), w.access(w.api), machine, "MachineDeleted")
	if err != nil {
		t.Fatal(err)
	}
	return done
}

func TestReleaseIsMarkedOnceAndDoneWhenTheClaimIsGone(t *testing.T) {
	w := newWorld(t, newHost("a"), newMachine("m"))
	mustClaim(t, w.claimer(), request(w.machine("m")), Claimed)
	if markRelease(t, w, w.machine("m")) {
		t.Fatal("done although the host was just marked")
	}
	marked := w.host("a")
	if r := marked.Spec.Claim.Release; r == nil || r.Reason != "MachineDeleted" || !r.RequestedAt.Time.Equal(epoch) {
		t.Fatalf("release %+v", r)
	}
	if markRelease(t, w, w.machine("m")) || w.host("a").ResourceVersion != marked.ResourceVersion {
		t.Fatal("done, or written again, although nothing changed")
	}
	edit(w, marked, func(h *v1beta1.PhysicalHost) { h.Spec.Claim, h.Spec.Boot = nil, nil })
	if !markRelease(t, w, w.machine("m")) || w.machine("m").Spec.HostRef != nil {
		t.Fatal("not done, or the intent is left, although the claim is gone")
	}
}

func TestWhichClaimsAMachineReleases(t *testing.T) {
	const id, other = "00000000000000aa", "00000000000000bb"
	ref := &v1beta1.HostRef{Name: "a", ClaimID: id}
	cases := map[string]struct {
		ref      *v1beta1.HostRef
		provider string
		claim    *v1beta1.Claim
		marked   bool
	}{
		"its own":                             {ref, "", &v1beta1.Claim{ID: id, Machine: "m", Bound: true}, true},
		"made by a lost reply, no intent":     {nil, "", &v1beta1.Claim{ID: id, Machine: "m"}, true},
		"made by an older intent":             {ref, "", &v1beta1.Claim{ID: other, Machine: "m"}, true},
		"another machine's":                   {ref, "", &v1beta1.Claim{ID: other, Machine: "x"}, false},
		"another machine's of the same id":    {ref, "", &v1beta1.Claim{ID: id, Machine: "x"}, false},
		"bound by a former one of its name":   {ref, "", &v1beta1.Claim{ID: other, Machine: "m", Bound: true}, false},
		"bound, hostRef lost, by provider id": {nil, v1beta1.ProviderID(namespace, "a", id), &v1beta1.Claim{ID: id, Machine: "m", Bound: true}, true},
		"bound, and provider id is of another": {nil, v1beta1.ProviderID(namespace, "a", other),
			&v1beta1.Claim{ID: id, Machine: "m", Bound: true}, false},
		"none": {ref, "", nil, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			host, machine := newHost("a"), newMachine("m")
			host.Spec.Claim, machine.Spec.HostRef, machine.Spec.ProviderID = c.claim, c.ref, c.provider
			w := newWorld(t, host, machine)
			done := markRelease(t, w, w.machine("m"))
			claim := w.host("a").Spec.Claim
			if marked := claim != nil && claim.Release != nil; marked != c.marked || done == c.marked {
				t.Fatalf("marked %v, done %v; want marked %v", marked, done, c.marked)
			}
		})
	}
}

func TestAVanishedMachineStillMarks(t *testing.T) {
	w := newWorld(t, newHost("a"), newMachine("m"))
	mustClaim(t, w.claimer(), request(w.machine("m")), Claimed)
	last := w.machine("m")
	edit(w, w.machine("m"), func(m *v1beta1.Beskar7Machine) { m.Finalizers = nil })
	if err := w.api.Delete(t.Context(), w.machine("m")); err != nil {
		t.Fatal(err)
	}
	if markRelease(t, w, last) || w.host("a").Spec.Claim.Release == nil {
		t.Fatal("the host of a vanished machine was not marked")
	}
}
