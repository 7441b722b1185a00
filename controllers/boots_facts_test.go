package controllers

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/controllers/media"
	"github.com/beskar7/beskar7/pkg/bootmedia"
)

// The data of a claim are open until it is bound, and then only for the time of the one more boot that its owner's word allows (D14).
func TestWhenTheDataOfAClaimAreOpen(t *testing.T) {
	later := func(d time.Duration) *metav1.Time { return ptr.To(metav1.NewTime(epoch.Add(d))) }
	for name, c := range map[string]struct {
		bound bool
		until *metav1.Time
		open  bool
	}{
		"not bound":                    {false, later(time.Minute), true},
		"bound":                        {true, nil, false},
		"bound, and it boots again":    {true, later(time.Minute), true},
		"bound, and that time is over": {true, later(0), false},
	} {
		host, _ := grantedHost(t, func(h *v1beta1.PhysicalHost) { h.Spec.Claim.Bound = c.bound })
		host.Spec.Claim.Media.DataUntil = c.until
		r, g := newRig(t, host), &gathered{}
		r.host.gatherTenancy(host, host.Spec.Claim, g)
		if g.brief.Facts.DataOpen != c.open {
			t.Errorf("%s: open is %v", name, g.brief.Facts.DataOpen)
		}
	}
}

// The grant of a bound host is for one boot (D14).
func TestAGrantOfABoundHostIsForOneBoot(t *testing.T) {
	host := claimedHost()
	host.Spec.Claim.Bound = true
	r := newRig(t, host, bootstrapSecret(), newMachine(), ownerMachine(), newCluster())
	host = r.getHost()
	content, err := media.ContentOf(host, bootstrapSecret())
	if err != nil {
		t.Fatal(err)
	}
	content.Looks = &bootmedia.ImageLooksLike{}
	g := &gathered{content: &content}
	g.facts.Bound = true
	if err := r.host.mint(t.Context(), host, g); err != nil {
		t.Fatal(err)
	}
	if until := r.getHost().Spec.Claim.Media.DataUntil; until == nil || until.Sub(epoch) != bootsOfAnother*defaultBootTimeout {
		t.Errorf("data until %v, want %s", until, epoch.Add(bootsOfAnother*defaultBootTimeout))
	}
}

// Boots of a row are apart, ever further, and come to an end (D8).
func TestBootsRestAndEnd(t *testing.T) {
	host := claimedHost()
	r := newRig(t, host)
	for _, c := range []struct {
		boots          int32
		ago            time.Duration
		resting, spent bool
	}{
		{1, firstPause - time.Second, true, false},
		{1, firstPause, false, false},
		{2, firstPause, true, false},
		{2, 2 * firstPause, false, false},
		{defaultMaxBoots, time.Second, false, true},
		{defaultMaxBoots, time.Hour, false, true},
	} {
		at := metav1.NewTime(epoch.Add(-c.ago))
		host.Status.Booted = &v1beta1.BootRecord{ClaimID: host.Spec.Claim.ID, At: at, Count: c.boots}
		g := &gathered{}
		r.host.gatherBoots(host, g)
		if f := g.brief.Facts; f.BootResting != c.resting || f.BootsSpent != c.spent {
			t.Errorf("%d boots, the last %s ago: resting %v, spent %v", c.boots, c.ago, f.BootResting, f.BootsSpent)
		}
	}
}
