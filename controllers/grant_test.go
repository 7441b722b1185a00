package controllers

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/controllers/media"
	"github.com/beskar7/beskar7/pkg/redfish"
	"github.com/beskar7/beskar7/pkg/redfish/redfishfake"
)

// I12: no medium is made of a Secret that the Machine does not name, whoever wrote it into spec.boot. The host says so, and that
// is all that its BMC notices.
func TestNoMediumIsMadeOfAnotherSecret(t *testing.T) {
	secret := func(name string) *corev1.Secret {
		s := bootstrapSecret()
		s.ObjectMeta = named(name)
		return s
	}
	for name, c := range map[string]struct {
		boot, machine *string
		reason        string
		says          []string
	}{
		"the claim names another":   {ptr.To("c-kubeconfig"), ptr.To("m"), v1beta1.ReasonBootstrapDataRefused, []string{`"c-kubeconfig"`, `Machine "m" is "m"`, "delete the Machine", "spec.boot"}},
		"the Machine names another": {ptr.To("m"), ptr.To("other"), v1beta1.ReasonBootstrapDataRefused, []string{`that of Machine "m" is "other"`}},
		"the Machine names none":    {ptr.To("m"), nil, v1beta1.ReasonBootstrapDataMissing, []string{`no Machine that names bootstrap Secret "m" (yet)`}},
		"the Secret is not there":   {ptr.To("gone"), ptr.To("gone"), v1beta1.ReasonBootstrapDataMissing, []string{`"gone" is not there (yet)`}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := claimedHost()
				h.Spec.Boot.BootstrapSecret = *c.boot
				r := newLifeRig(t, redfish.PowerOff, h, secret("c-kubeconfig"), secret("other"))
				edit(r.rig, &clusterv1.Machine{}, "m", func(m *clusterv1.Machine) { m.Spec.Bootstrap.DataSecretName = c.machine })
				now := r.rest(10 * time.Minute)
				if now.Spec.Claim.Media != nil || len(r.records()) > 0 || len(r.bmc.Changes()) > 0 {
					t.Fatalf("grant %+v, records %v, changes %v", now.Spec.Claim.Media, r.records(), r.bmc.Changes())
				}
				says(t, now, c.reason, c.says...)
				if c.machine != nil {
					r.machineSays(c.reason, c.says...)
				} else {
					r.machineSays(v1beta1.ReasonWaitingForBootstrapData)
				}
				// Once it is in order the host boots.
				edit(r.rig, &v1beta1.PhysicalHost{}, "h", func(h *v1beta1.PhysicalHost) { h.Spec.Boot.BootstrapSecret = "m" })
				edit(r.rig, &clusterv1.Machine{}, "m", func(m *clusterv1.Machine) { m.Spec.Bootstrap.DataSecretName = ptr.To("m") })
				if hash := r.booted(1).Spec.Claim.Media.TokenHash; !r.served(hash) {
					t.Error("the right data are not served")
				}
			})
		})
	}
}

// records are the names of the media that are recorded.
func (r *lifeRig) records() []string {
	r.t.Helper()
	list := &corev1.SecretList{}
	if err := r.api.List(r.t.Context(), list, client.HasLabels{v1beta1.MediumLabel}); err != nil {
		r.t.Fatal(err)
	}
	names := []string{}
	for _, s := range list.Items {
		names = append(names, s.Name)
	}
	return names
}

// changesSince are what a BMC was asked for after the n first requests.
func (r *lifeRig) changesSince(n int) []redfishfake.Op { return r.bmc.Changes()[n:] }

// A boot that is tried again takes the medium of the one before, if that is in order. If it is not, what is in the slots is taken
// out, and the boot gets a medium that can be served.
func TestAnotherBootGetsAMediumThatCanBeServed(t *testing.T) {
	record := func(r *lifeRig) *corev1.Secret {
		s := &corev1.Secret{}
		r.get(s, media.RecordName("h", r.getHost().Spec.Claim.Media.TokenHash))
		return s
	}
	for name, c := range map[string]struct {
		change func(*lifeRig)
		anew   bool
	}{
		"in order":           {func(*lifeRig) {}, false},
		"its record is gone": {func(r *lifeRig) { r.remove(record(r)) }, true},
		"its record is wrong": {func(r *lifeRig) {
			edit(r.rig, record(r), record(r).Name, func(s *corev1.Secret) { s.Data[media.RecordKey] = []byte("{}") })
		}, true},
		"its record is of another type": {func(r *lifeRig) {
			s := record(r)
			r.remove(s)
			s.ResourceVersion, s.Type = "", corev1.SecretTypeOpaque
			if err := r.api.Create(r.t.Context(), s); err != nil {
				r.t.Fatal(err)
			}
		}, true},
		"its hash is gone": {func(r *lifeRig) {
			edit(r.rig, &v1beta1.PhysicalHost{}, "h", func(h *v1beta1.PhysicalHost) { h.Spec.Claim.Media.MediumHash = "" })
		}, true},
		"this process does not know its URL": {(*lifeRig).restart, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newLifeRig(t, redfish.PowerOff, claimedHost())
				before := r.dies(1).Spec.Claim.Media
				c.change(r)
				done := len(r.bmc.Changes())
				now := r.booted(2).Spec.Claim.Media
				if anew := now.TokenHash != before.TokenHash; anew != c.anew {
					t.Errorf("a new medium: %v", anew)
				}
				want := wholeBoot[2:]
				if c.anew {
					want = append([]redfishfake.Op{redfishfake.OpEject, redfishfake.OpEject}, wholeBoot...)
				}
				if got := r.changesSince(done); !slices.Equal(got, want) {
					t.Errorf("its BMC was asked for %v, want %v", got, want)
				}
				if !r.served(now.TokenHash) || c.anew && r.served(before.TokenHash) {
					t.Errorf("served are the new one: %v, the old one: %v", r.served(now.TokenHash), r.served(before.TokenHash))
				}
				if got := r.records(); !slices.Contains(got, media.RecordName("h", now.TokenHash)) {
					t.Errorf("records %q", got)
				}
			})
		})
	}
}

// A grant serves its data for as many boots as it was made for. The one after those gets another.
func TestASpentGrantIsReplacedBeforeABoot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newLifeRig(t, redfish.PowerOff, claimedHost())
		first := r.booted(1).Spec.Claim.Media
		r.rest(first.DataUntil.Sub(r.clock.Now()) - defaultBootTimeout/2)
		hashes := map[string]bool{}
		for n := r.getHost().Status.Booted.Count; n <= 3; n++ {
			r.rest(defaultBootTimeout)
			now := r.booted(n + 1).Spec.Claim.Media
			hashes[now.TokenHash] = true
			if left := now.DataUntil.Sub(r.getHost().Status.Booted.At.Time); left < defaultBootTimeout-time.Minute || !r.served(now.TokenHash) {
				t.Errorf("boot %d may read its data for %s, served %v", n+1, left, r.served(now.TokenHash))
			}
		}
		if len(hashes) == 1 && hashes[first.TokenHash] {
			t.Error("the grant is the first one")
		}
	})
}
