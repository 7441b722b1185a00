package controllers

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	testingclock "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/controllers/media"
	"github.com/beskar7/beskar7/pkg/bootmedia"
)

// TestBootstrapDataReachTheirMachineOnly is I12: what must be true of claim, machine and record before data are served, and what
// whoever asks is told otherwise.
func TestBootstrapDataReachTheirMachineOnly(t *testing.T) {
	unknown, notYet := bootmedia.ErrUnknown, bootmedia.ErrNotYet
	host := func(f func(*v1beta1.PhysicalHost)) func(*rig) {
		return func(r *rig) { edit(r, &v1beta1.PhysicalHost{}, "h", f) }
	}
	machine := func(f func(*v1beta1.Beskar7Machine)) func(*rig) {
		return func(r *rig) { edit(r, &v1beta1.Beskar7Machine{}, "m", f) }
	}
	owner := func(f func(*clusterv1.Machine)) func(*rig) {
		return func(r *rig) { edit(r, &clusterv1.Machine{}, "m", f) }
	}
	for name, c := range map[string]struct {
		change func(*rig)
		want   error
		late   bool // told only after a while, as this replica may be behind
	}{
		"no such machine":             {func(r *rig) { r.remove(machineWithoutFinalizer(r)) }, notYet, true},
		"machine names no host":       {machine(func(m *v1beta1.Beskar7Machine) { m.Spec.HostRef = nil }), notYet, true},
		"machine names another claim": {machine(func(m *v1beta1.Beskar7Machine) { m.Spec.HostRef.ClaimID = "fedcba9876543210" }), notYet, true},
		"no Machine":                  {func(r *rig) { r.remove(&clusterv1.Machine{ObjectMeta: named("m")}) }, notYet, true},
		"Machine without data":        {owner(func(m *clusterv1.Machine) { m.Spec.Bootstrap.DataSecretName = nil }), notYet, true},
		"Machine has other data":      {owner(func(m *clusterv1.Machine) { m.Spec.Bootstrap.DataSecretName = ptr.To("other") }), unknown, false},
		"claim names another Secret":  {host(func(h *v1beta1.PhysicalHost) { h.Spec.Boot.BootstrapSecret = "c-kubeconfig" }), unknown, false},
		"a hash without its record":   {host(func(h *v1beta1.PhysicalHost) { h.Spec.Claim.Media.MediumHash = "" }), unknown, false},
		"a hash of something else":    {host(func(h *v1beta1.PhysicalHost) { h.Spec.Claim.Media.MediumHash = strings.Repeat("0", 64) }), unknown, false},
		"the record is not there":     {func(r *rig) { r.remove(&corev1.Secret{ObjectMeta: named(media.RecordName("h", tokenHash))}) }, notYet, true},
		"the claim is another":        {host(func(h *v1beta1.PhysicalHost) { h.Spec.Claim.ID = "fedcba9876543210" }), unknown, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := newGranted(t)
			c.change(r)
			source := r.mediaSource()
			if g, err := source.Grant(t.Context(), tokenHash); !errors.Is(err, c.want) {
				t.Fatalf("%v, %+v, want %v", err, g.Content, c.want)
			}
			if told := len(r.refused) > 0; told == c.late {
				t.Errorf("told: %q", r.refused)
			}
			r.sleep(media.LateFor)
			if _, err := source.Grant(t.Context(), tokenHash); !errors.Is(err, c.want) || len(r.refused) == 0 {
				t.Errorf("later: %v, told %q", err, r.refused)
			}
		})
	}
}

// machineWithoutFinalizer lets the machine m go at once.
func machineWithoutFinalizer(r *rig) client.Object {
	m := &v1beta1.Beskar7Machine{}
	edit(r, m, "m", func(m *v1beta1.Beskar7Machine) { m.Finalizers = nil })
	return m
}

func (r *rig) remove(o client.Object) {
	r.t.Helper()
	if err := r.api.Delete(r.t.Context(), o); err != nil {
		r.t.Fatal(err)
	}
}

// Whoever may write hosts and no Secrets names the kubeconfig of a cluster, and a token of his own: on a host of his, and on one
// that is granted to its machine.
func TestAWriterOfHostsGetsNoSecretServed(t *testing.T) {
	kubeconfig := &corev1.Secret{ObjectMeta: named("c-kubeconfig"), Type: clusterv1.ClusterSecretType, Data: map[string][]byte{"value": []byte("kind: Config\n")}}
	host := claimedHost()
	host.Spec.Boot.BootstrapSecret = kubeconfig.Name
	host.Spec.Claim.Media = &v1beta1.MediaGrant{TokenHash: tokenHash}
	r := newRig(t, host, kubeconfig, newMachine(), ownerMachine())
	for _, bound := range []bool{false, true} {
		edit(r, &v1beta1.PhysicalHost{}, "h", func(h *v1beta1.PhysicalHost) { h.Spec.Claim.Bound = bound })
		if g, err := r.mediaSource().Grant(t.Context(), tokenHash); err == nil && !g.Closed {
			t.Errorf("bound %v: served %q", bound, g.Content.UserData)
		}
	}
	r = newGranted(t)
	edit(r, &v1beta1.PhysicalHost{}, "h", func(h *v1beta1.PhysicalHost) { h.Spec.Claim.Media.TokenHash = "cc33" })
	if _, err := r.mediaSource().Grant(t.Context(), "cc33"); err == nil {
		t.Error("a token that nobody was given opens the machine's medium")
	}
}

// Two hosts with one hash: the one whose record names it is served, and no other takes it away.
func TestACopiedTokenHashOpensNothing(t *testing.T) {
	genuine, record := grantedHost(t)
	thief := claimedHost()
	thief.Name, thief.UID = "a", "uid-a"
	thief.Spec.Claim.Media = genuine.Spec.Claim.Media.DeepCopy()
	r := newRig(t, genuine, thief, record, bootstrapSecret(), newMachine(), ownerMachine())
	if g := r.granted(t); g.Host != "ns/h" || !servedData(g) {
		t.Errorf("%+v", g)
	}
	if err := r.mediaSource().PhoneHome(t.Context(), tokenHash, bootmedia.Succeeded, ""); err != nil || r.getHost().Spec.Claim.PhoneHome == nil {
		t.Errorf("the report was lost: %v", err)
	}
	if other := (&v1beta1.PhysicalHost{}); true {
		r.get(other, "a")
		if other.Spec.Claim.PhoneHome != nil {
			t.Error("the other host took the report")
		}
	}
}

func TestDataEndWhenTheirReaderHadThem(t *testing.T) {
	later := func(d time.Duration) *metav1.Time { return ptr.To(metav1.NewTime(epoch.Add(d))) }
	for name, c := range map[string]struct {
		change func(*v1beta1.PhysicalHost)
		served bool
	}{
		"not bound":                   {func(*v1beta1.PhysicalHost) {}, true},
		"not bound, its time is over": {func(h *v1beta1.PhysicalHost) { h.Spec.Claim.Media.DataUntil = later(0) }, false},
		"bound":                       {markBound, false},
		"bound, and it boots again":   {func(h *v1beta1.PhysicalHost) { markBound(h); h.Spec.Claim.Media.DataUntil = later(time.Minute) }, true},
		"bound, and it booted again":  {func(h *v1beta1.PhysicalHost) { markBound(h); h.Spec.Claim.Media.DataUntil = later(-time.Minute) }, false},
		"paused while it boots":       {func(h *v1beta1.PhysicalHost) { h.Spec.Paused = true }, true},
	} {
		r := newGranted(t)
		edit(r, &v1beta1.PhysicalHost{}, "h", c.change)
		if g := r.granted(t); servedData(g) != c.served || g.Closed == c.served {
			t.Errorf("%s: data served: %v", name, servedData(g))
		}
	}
	r := newGranted(t)
	if err := r.api.Delete(t.Context(), newMachine()); err != nil { // its finalizer keeps it
		t.Fatal(err)
	}
	if g := r.granted(t); !g.Closed {
		t.Error("the data of a machine that is being deleted are served")
	}
}

// A medium stays what it was, byte for byte: what it was rendered from changes, or is gone.
func TestAMediumStaysWhatItWas(t *testing.T) {
	tags := func(r *rig) string {
		drive, err := bootmedia.ConfigDrive(bootmedia.Content{Rendered: r.granted(t).Content.Rendered})
		if err != nil {
			t.Fatal(err)
		}
		return drive.ETag()
	}
	r := newGranted(t)
	before := tags(r)
	edit(r, &v1beta1.PhysicalHost{}, "h", func(h *v1beta1.PhysicalHost) {
		h.Spec.FailureDomain, h.Spec.PhoneHomeURL = "rack-9", "https://elsewhere"
		h.Spec.NetworkData = &v1beta1.NetworkData{Interfaces: []v1beta1.NetworkInterface{{Name: "eth0", MACAddress: "02:00:00:00:00:01", Addresses: []string{"192.0.2.10/24"}}}}
	})
	r.remove(bootstrapSecret())
	if tags(r) != before || !servedData(r.granted(t)) {
		t.Error("the medium changed before it was read")
	}
	if err := r.host.blankMedium(t.Context(), r.getHost()); err != nil {
		t.Fatal(err)
	}
	edit(r, &v1beta1.PhysicalHost{}, "h", markBound)
	if tags(r) != before {
		t.Error("the medium of a bound host has another tag")
	}
	g := r.granted(t)
	if !g.Closed || servedData(g) || slices.ContainsFunc(g.Content.Rendered.Drive.Files, func(f bootmedia.File) bool { return f.Data != nil && f.Size > 0 }) {
		t.Error("bootstrap data are kept after the host is bound")
	}
	if g.Content.ImageURL != "http://images/a.iso" || g.Content.ImagePin.Length != 1<<20 {
		t.Errorf("the image of a bound host: %+v", g.Content)
	}
}

// The record is written before its grant, goes with it, and is never another's Secret.
func TestTheRecordLivesAsLongAsItsGrant(t *testing.T) {
	r := newRig(t, claimedHost(), bootstrapSecret(), newMachine(), ownerMachine(), newCluster())
	mint := func() *v1beta1.PhysicalHost {
		t.Helper()
		host := r.getHost()
		content, err := media.ContentOf(host, bootstrapSecret())
		if err != nil {
			t.Fatal(err)
		}
		content.Looks = &bootmedia.ImageLooksLike{}
		if err := r.host.mint(t.Context(), host, &gathered{content: &content}); err != nil {
			t.Fatal(err)
		}
		return r.getHost()
	}
	records := func() []string {
		t.Helper()
		list := &corev1.SecretList{}
		if err := r.api.List(t.Context(), list, client.HasLabels{v1beta1.MediumLabel}); err != nil {
			t.Fatal(err)
		}
		names := map[string]bool{}
		for _, s := range list.Items {
			names[s.Name] = true
		}
		return slices.Sorted(maps.Keys(names))
	}
	first := mint().Spec.Claim.Media
	if got := records(); !slices.Equal(got, []string{media.RecordName("h", first.TokenHash)}) {
		t.Fatalf("records %q", got)
	}
	if until := first.DataUntil; until == nil || until.Sub(epoch) != bootsOfGrant*defaultBootTimeout {
		t.Errorf("data until %v", until)
	}
	if g, err := r.mediaSource().Grant(t.Context(), first.TokenHash); err != nil || !servedData(g) {
		t.Errorf("what was minted is not served: %v", err)
	}
	second := mint().Spec.Claim.Media
	if got := records(); second.TokenHash == first.TokenHash || !slices.Equal(got, []string{media.RecordName("h", second.TokenHash)}) {
		t.Errorf("records %q after the second grant", got)
	}
	if err := r.host.clearClaim(t.Context(), r.getHost(), nil); err != nil || len(records()) != 0 {
		t.Errorf("records %q after the release, %v", records(), err)
	}
}

// What a crash leaves is collected: records whose grant is no more, and bootstrap data of hosts that are bound.
func TestTheSweepCollectsWhatACrashLeft(t *testing.T) {
	host, record := grantedHost(t)
	orphan := record.DeepCopy()
	orphan.Name = media.RecordName("h", "dd44")
	stranger := &corev1.Secret{ObjectMeta: named("x-medium-y"), Data: map[string][]byte{"a": nil}}
	stranger.Labels = map[string]string{v1beta1.MediumLabel: ""}
	for _, s := range []*corev1.Secret{record, orphan, stranger} {
		s.CreationTimestamp = metav1.NewTime(epoch)
	}
	r := newRig(t, host, record, orphan, stranger)
	sweep := &media.Sweep{Client: r.api, Reader: r.api, SecretReader: r.api, Clock: testingclock.NewFakeClock(epoch)}
	there := func(o *corev1.Secret) *corev1.Secret {
		s := &corev1.Secret{}
		if r.api.Get(t.Context(), client.ObjectKeyFromObject(o), s) != nil {
			return nil
		}
		return s
	}
	run := func(at time.Duration) {
		t.Helper()
		sweep.Clock.(*testingclock.FakeClock).SetTime(epoch.Add(at))
		if err := sweep.Once(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	run(media.SweepAge - time.Second)
	if there(orphan) == nil {
		t.Error("a record that may be waiting for its grant was deleted")
	}
	run(media.SweepAge)
	if there(orphan) != nil || there(stranger) == nil || there(record) == nil || len(there(record).Data) < 2 {
		t.Errorf("orphan %v, stranger %v, record %v", there(orphan), there(stranger), there(record))
	}
	edit(r, &v1beta1.PhysicalHost{}, "h", markBound)
	run(media.SweepAge)
	if got := there(record); got == nil || len(got.Data) != 1 {
		t.Error("the data of a bound host stay")
	}
}
