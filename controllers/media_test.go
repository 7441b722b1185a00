package controllers

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/controllers/media"
	"github.com/beskar7/beskar7/pkg/bootmedia"
)

const tokenHash = "aa11"

const userData = "#cloud-config\nruncmd: [join]\n"

func bootstrapSecret() *corev1.Secret {
	return &corev1.Secret{ObjectMeta: named("m"), Data: map[string][]byte{"value": []byte(userData), "format": []byte("cloud-config")}}
}

// ownerMachine is the Machine of newMachine, with the bootstrap data of bootstrapSecret.
func ownerMachine() *clusterv1.Machine {
	return &clusterv1.Machine{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "m", UID: "uid-owner"},
		Spec: clusterv1.MachineSpec{ClusterName: "c", Bootstrap: clusterv1.Bootstrap{DataSecretName: ptr.To("m")}}}
}

// grantedHost is a claimed host whose BMC was given media, and the record of them.
func grantedHost(t *testing.T, change ...func(*v1beta1.PhysicalHost)) (*v1beta1.PhysicalHost, *corev1.Secret) {
	t.Helper()
	h := claimedHost()
	for _, f := range change {
		f(h)
	}
	content, err := media.ContentOf(h, bootstrapSecret())
	if err != nil {
		t.Fatal(err)
	}
	content.Looks, content.PhoneHomeURL, content.PhoneHomeCA = &bootmedia.ImageLooksLike{}, "https://all:8090/p/key", []byte("CA 1")
	rendered, err := bootmedia.Render(content)
	if err != nil {
		t.Fatal(err)
	}
	record := &media.Record{Host: h.Name, ClaimID: h.Spec.Claim.ID, TokenHash: tokenHash, BootstrapSecret: h.Spec.Boot.BootstrapSecret, Family: content.Family,
		ImageURL: content.ImageURL, ImageETag: "v1", ImageLength: 1 << 20, Rendered: rendered}
	secret, hash, err := record.Secret(h)
	if err != nil {
		t.Fatal(err)
	}
	h.Spec.Claim.Media = &v1beta1.MediaGrant{TokenHash: tokenHash, MediumHash: hash, DataUntil: ptr.To(metav1.NewTime(epoch.Add(time.Hour)))}
	return h, secret
}

// newGranted is a rig whose host h is granted to the machine m.
func newGranted(t *testing.T, change ...func(*v1beta1.PhysicalHost)) *rig {
	t.Helper()
	host, record := grantedHost(t, change...)
	return newRig(t, host, record, bootstrapSecret(), newMachine(), ownerMachine(), newCluster())
}

// mediaSource is a replica's, as it is after its start.
func (r *rig) mediaSource() *media.Source {
	return &media.Source{Client: r.api, SecretReader: r.api, Clock: r.clock, PhoneHomeURL: "https://all:8090",
		Refused: func(host, _ string, err error) { r.refused = append(r.refused, host+": "+err.Error()) }}
}

// granted asks for the host's medium.
func (r *rig) granted(t *testing.T) bootmedia.Grant {
	t.Helper()
	g, err := r.mediaSource().Grant(t.Context(), tokenHash)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// servedData says whether a grant has the user data and they may be served.
func servedData(g bootmedia.Grant) bool {
	if g.Closed || g.Content.Rendered == nil {
		return !g.Closed && len(g.Content.UserData) > 0
	}
	return slices.ContainsFunc(g.Content.Rendered.Drive.Files, func(f bootmedia.File) bool { return string(f.Data) == userData })
}

func TestURLsOfAHostComeBeforeThoseOfAll(t *testing.T) {
	r := newGranted(t)
	r.host.MediaURL = "https://media:8090"
	are := func(boot, phone string) {
		t.Helper()
		if m, p := r.host.mediaBase(r.getHost()), media.PhoneHomeBase(r.getHost(), "https://all:8090"); m != boot || p != phone {
			t.Errorf("media at %s and phone-home at %s, want %s and %s", m, p, boot, phone)
		}
	}
	are("https://media:8090", "https://all:8090")
	edit(r, &v1beta1.PhysicalHost{}, "h", func(h *v1beta1.PhysicalHost) {
		h.Spec.MediaURL, h.Spec.PhoneHomeURL = "https://oob.example", "https://prod.example/b7"
	})
	are("https://oob.example", "https://prod.example/b7")
}

func TestMediaCarryWhatTheMachineIsTold(t *testing.T) {
	host := claimedHost()
	host.Spec.FailureDomain = "rack-1"
	host.Spec.NetworkData = &v1beta1.NetworkData{Interfaces: []v1beta1.NetworkInterface{{Name: "eth0", MACAddress: "02:00:00:00:00:01", Addresses: []string{"192.0.2.10/24"}}}}
	c, err := media.ContentOf(host, bootstrapSecret())
	if err != nil {
		t.Fatal(err)
	}
	if c.Hostname != "m" || c.FailureDomain != "rack-1" || c.ProviderID != "beskar7://ns/h/"+claimID || c.InstanceID != "beskar7-"+claimID ||
		!strings.Contains(string(c.NetworkData), "192.0.2.10/24") || string(c.UserData) != userData {
		t.Errorf("%+v", c)
	}
}

func TestGrantEndsWithTheRelease(t *testing.T) {
	r := newGranted(t)
	source := r.mediaSource()
	if !servedData(r.granted(t)) {
		t.Error("a confirmed claim is not served its data")
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
	r := newGranted(t)
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
