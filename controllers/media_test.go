package controllers

import (
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/bootmedia"
)

const tokenHash = "aa11"

// grantedHost is a claimed host whose BMC was given media.
func grantedHost() *v1beta1.PhysicalHost {
	h := claimedHost()
	h.Spec.Claim.Media = &v1beta1.MediaGrant{TokenHash: tokenHash}
	return h
}

func bootstrapSecret() *corev1.Secret {
	return &corev1.Secret{ObjectMeta: named("m"), Data: map[string][]byte{"value": []byte("#cloud-config\n"), "format": []byte("cloud-config")}}
}

func (r *rig) mediaSource() *MediaSource {
	return &MediaSource{Client: r.api, SecretReader: r.api, Clock: r.clock, PhoneHomeURL: "https://all:8090"}
}

func TestURLsOfAHostComeBeforeThoseOfAll(t *testing.T) {
	host := grantedHost()
	r := newRig(t, host, bootstrapSecret())
	r.host.MediaURL = "https://media:8090"
	source := r.mediaSource()
	are := func(media, phone string) {
		t.Helper()
		grant, err := source.Grant(t.Context(), tokenHash)
		if err != nil {
			t.Fatal(err)
		}
		if got := r.host.mediaBase(r.getHost()); got != media || grant.PhoneHomeBase != phone {
			t.Errorf("media at %s and phone-home at %s, want %s and %s", got, grant.PhoneHomeBase, media, phone)
		}
	}
	are("https://media:8090", "https://all:8090")
	edit(r, &v1beta1.PhysicalHost{}, "h", func(h *v1beta1.PhysicalHost) {
		h.Spec.MediaURL, h.Spec.PhoneHomeURL = "https://oob.example", "https://prod.example/b7"
	})
	are("https://oob.example", "https://prod.example/b7")
}

func TestGrantCarriesWhatTheMachineIsTold(t *testing.T) {
	host := grantedHost()
	host.Spec.FailureDomain = "rack-1"
	host.Spec.NetworkData = &v1beta1.NetworkData{Interfaces: []v1beta1.NetworkInterface{{Name: "eth0", MACAddress: "02:00:00:00:00:01", Addresses: []string{"192.0.2.10/24"}}}}
	r := newRig(t, host, bootstrapSecret())
	g, err := r.mediaSource().Grant(t.Context(), tokenHash)
	if err != nil {
		t.Fatal(err)
	}
	c := g.Content
	if c.Hostname != "m" || c.FailureDomain != "rack-1" || c.ProviderID != "beskar7://ns/h/"+claimID || c.InstanceID != "beskar7-"+claimID ||
		!strings.Contains(string(c.NetworkData), "192.0.2.10/24") || string(c.UserData) != "#cloud-config\n" {
		t.Errorf("%+v", c)
	}
}

func TestGrantEndsWithTheRelease(t *testing.T) {
	r := newRig(t, grantedHost(), bootstrapSecret())
	source := r.mediaSource()
	if _, err := source.Grant(t.Context(), tokenHash); err != nil {
		t.Fatal(err)
	}
	if _, err := source.Grant(t.Context(), "bb22"); !errors.Is(err, bootmedia.ErrUnknown) {
		t.Errorf("another token: %v", err)
	}
	edit(r, &v1beta1.PhysicalHost{}, "h", func(h *v1beta1.PhysicalHost) {
		h.Spec.Claim.Release = &v1beta1.Release{Reason: "MachineDeleted", RequestedAt: metav1.NewTime(epoch)}
	})
	if _, err := source.Grant(t.Context(), tokenHash); !errors.Is(err, bootmedia.ErrUnknown) {
		t.Errorf("after the release: %v", err)
	}
	if err := source.PhoneHome(t.Context(), tokenHash, bootmedia.Succeeded, ""); !errors.Is(err, bootmedia.ErrUnknown) || r.getHost().Spec.Claim.PhoneHome != nil {
		t.Errorf("a report after the release: %v", err)
	}
}

func TestPhoneHomeIsKeptOnceAndASuccessStays(t *testing.T) {
	r := newRig(t, grantedHost(), bootstrapSecret())
	source := r.mediaSource()
	report := func(o bootmedia.Outcome) {
		t.Helper()
		if err := source.PhoneHome(t.Context(), tokenHash, o, string(o)); err != nil {
			t.Fatal(err)
		}
	}
	is := func(want v1beta1.PhoneHomeOutcome, requests int) {
		t.Helper()
		if got := r.getHost().Spec.Claim.PhoneHome; got == nil || got.Outcome != want || len(r.requests) != requests {
			t.Errorf("receipt %+v after %d writes, want %s after %d", got, len(r.requests), want, requests)
		}
	}
	report(bootmedia.Failed)
	is(v1beta1.PhoneHomeFailed, 1)
	if r.getHost().Spec.Claim.Bound {
		t.Error("a failed command bound the host")
	}
	report(bootmedia.Failed)
	is(v1beta1.PhoneHomeFailed, 1)
	report(bootmedia.Succeeded)
	is(v1beta1.PhoneHomeSucceeded, 2)
	report(bootmedia.Failed)
	is(v1beta1.PhoneHomeSucceeded, 2)
	if err := source.PhoneHome(t.Context(), "bb22", bootmedia.Succeeded, ""); !errors.Is(err, bootmedia.ErrUnknown) {
		t.Errorf("another token: %v", err)
	}
}
