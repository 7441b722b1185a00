package integration

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/test/controlplane"
	"github.com/beskar7/beskar7/test/lab"
)

const (
	firstClaim  = "0123456789abcdef"
	secondClaim = "fedcba9876543210"
)

// TestRulesOfTheAPI shows each rule of the schema refusing, on the real API server and for a client that may do anything.
func TestRulesOfTheAPI(t *testing.T) {
	c := apiServer(t)
	t.Run("PhysicalHost", func(t *testing.T) { hostRules(t, c) })
	t.Run("Beskar7Machine", func(t *testing.T) { machineRules(t, c) })
	t.Run("create", func(t *testing.T) { createRules(t, c) })
}

// apiServer starts a management cluster and installs our CRDs as they are shipped.
func apiServer(t *testing.T) client.Client {
	t.Helper()
	c, _ := apiServerAndConfig(t)
	return c
}

func apiServerAndConfig(t *testing.T) (client.Client, *rest.Config) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	plane, err := controlplane.Start(ctx, controlplane.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := plane.Stop(); err != nil {
			t.Error(err)
		}
	})
	scheme, err := lab.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(plane.Config(), client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("../../config/crd/bases/*.yaml")
	if err != nil || len(files) != 5 {
		t.Fatalf("found the CRDs %v: %v", files, err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		crd := &apiextensionsv1.CustomResourceDefinition{}
		if err := yaml.UnmarshalStrict(data, crd); err != nil {
			t.Fatal(err)
		}
		if err := c.Create(ctx, crd); err != nil {
			t.Fatal(err)
		}
	}
	if err := lab.Until(ctx, "the CRDs to be served", time.Minute, func(ctx context.Context) (bool, string, error) {
		for _, list := range []client.ObjectList{&v1beta1.PhysicalHostList{}, &v1beta1.Beskar7MachineList{}, &v1beta1.Beskar7ClusterList{}} {
			if err := c.List(ctx, list); err != nil {
				return false, err.Error(), nil //nolint:nilerr // why it is not there yet
			}
		}
		return true, "", nil
	}); err != nil {
		t.Fatal(err)
	}
	return c, plane.Config()
}

func newHost(name string) *v1beta1.PhysicalHost {
	return &v1beta1.PhysicalHost{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}, Spec: v1beta1.PhysicalHostSpec{
		RedfishConnection: v1beta1.RedfishConnection{Address: "https://192.0.2.1", CredentialsSecretRef: v1beta1.SecretReference{Name: "s"}}}}
}

func claim(h *v1beta1.PhysicalHost, id, machine string) {
	h.Spec.Claim = &v1beta1.Claim{ID: id, Machine: machine, Cluster: "c"}
	h.Spec.Boot = &v1beta1.Boot{ImageURL: "http://192.0.2.9/a.iso", OSFamily: "ubuntu", BootMode: v1beta1.BootModeLive, BootstrapSecret: "b"}
}

func unclaim(h *v1beta1.PhysicalHost) { h.Spec.Claim, h.Spec.Boot = nil, nil }

type hostChange func(*v1beta1.PhysicalHost)

func claimed(h *v1beta1.PhysicalHost) { claim(h, firstClaim, "m") }

func bound(h *v1beta1.PhysicalHost) { claimed(h); h.Spec.Claim.Bound = true }

func marked(h *v1beta1.PhysicalHost) {
	bound(h)
	h.Spec.Claim.Release = &v1beta1.Release{Reason: "MachineDeleted", RequestedAt: metav1.Now().Rfc3339Copy()}
}

// system is claimed as one system of a BMC, with its server on record.
func system(h *v1beta1.PhysicalHost) {
	claimed(h)
	h.Spec.RedfishConnection.SystemID, h.Spec.Claim.Server = "1", &v1beta1.Server{SystemUUID: "u", SerialNumber: "s"}
}

func quarantine(h *v1beta1.PhysicalHost) { h.Spec.Quarantine = &v1beta1.Quarantine{Reason: "R"} }

// hostRules: from a start, a change is refused with these words, or allowed.
func hostRules(t *testing.T, c client.Client) {
	none := func(*v1beta1.PhysicalHost) {}
	for i, r := range []struct {
		name          string
		start, change hostChange
		refused       string
	}{
		{"set a claim", none, claimed, ""},
		{"clear a claim", claimed, unclaim, ""},
		{"replace the claim's id", claimed, func(h *v1beta1.PhysicalHost) { h.Spec.Claim.ID = secondClaim }, "set or cleared, never replaced"},
		{"replace the claim's machine", claimed, func(h *v1beta1.PhysicalHost) { h.Spec.Claim.Machine = "n" }, "set or cleared, never replaced"},
		{"replace the claim's cluster", claimed, func(h *v1beta1.PhysicalHost) { h.Spec.Claim.Cluster = "d" }, "set or cleared, never replaced"},
		{"boot without a claim", none, func(h *v1beta1.PhysicalHost) { claimed(h); h.Spec.Claim = nil }, "boot requires a claim"},
		{"another boot under the claim", claimed, func(h *v1beta1.PhysicalHost) { h.Spec.Boot.ImageURL = "http://192.0.2.9/b.iso" }, "boot is set with the claim"},
		{"bind", claimed, func(h *v1beta1.PhysicalHost) { h.Spec.Claim.Bound = true }, ""},
		{"unbind", bound, func(h *v1beta1.PhysicalHost) { h.Spec.Claim.Bound = false }, "stays bound"},
		{"clear a bound claim without a mark", bound, unclaim, "only after its release was marked"},
		{"clear a bound claim into quarantine", bound, func(h *v1beta1.PhysicalHost) { unclaim(h); quarantine(h) }, ""},
		{"mark a release", bound, marked, ""},
		{"take a release back", marked, func(h *v1beta1.PhysicalHost) { h.Spec.Claim.Release = nil }, "cannot be taken back"},
		{"clear a marked claim", marked, unclaim, ""},
		{"claim a quarantined host", quarantine, claimed, "quarantined host cannot be claimed"},
		{"quarantine a claimed host", claimed, quarantine, ""},
		{"end a quarantine", quarantine, func(h *v1beta1.PhysicalHost) { h.Spec.Quarantine = nil }, ""},
		{"a claim id of another form", none, func(h *v1beta1.PhysicalHost) { claim(h, "short", "m") }, "spec.claim.id"},
		{"another address under the claim", claimed, func(h *v1beta1.PhysicalHost) { h.Spec.RedfishConnection.Address = "https://192.0.2.2" }, "address does not change while the host is claimed"},
		{"another address of a claim that ends", marked, func(h *v1beta1.PhysicalHost) { unclaim(h); h.Spec.RedfishConnection.Address = "https://192.0.2.2" }, ""},
		{"another address of a free host", none, func(h *v1beta1.PhysicalHost) { h.Spec.RedfishConnection.Address = "https://192.0.2.2" }, ""},
		{"a system under the claim", claimed, func(h *v1beta1.PhysicalHost) { h.Spec.RedfishConnection.SystemID = "2" }, "systemID does not change while the host is claimed"},
		{"no system under the claim", system, func(h *v1beta1.PhysicalHost) { h.Spec.RedfishConnection.SystemID = "" }, "systemID does not change while the host is claimed"},
		{"other credentials under the claim", system, func(h *v1beta1.PhysicalHost) { h.Spec.RedfishConnection.CredentialsSecretRef.Name = "other" }, ""},
		{"a server under a claim without one", claimed, func(h *v1beta1.PhysicalHost) { h.Spec.Claim.Server = &v1beta1.Server{SerialNumber: "S"} }, ""},
		{"another server under the claim", system, func(h *v1beta1.PhysicalHost) { h.Spec.Claim.Server.SerialNumber = "S" }, "the server of a claim is recorded once"},
		{"no server under the claim", system, func(h *v1beta1.PhysicalHost) { h.Spec.Claim.Server = nil }, "the server of a claim is recorded once"},
		{"a server with the claim", none, system, ""},
		{"a token in place of its hash", claimed, func(h *v1beta1.PhysicalHost) { h.Spec.Claim.Media = &v1beta1.MediaGrant{TokenHash: "token"} }, "tokenHash"},
	} {
		t.Run(r.name, func(t *testing.T) {
			host := newHost(fmt.Sprintf("h%d", i))
			r.start(host)
			if err := c.Create(t.Context(), host); err != nil {
				t.Fatal(err)
			}
			r.change(host)
			expect(t, c.Update(t.Context(), host), r.refused)
		})
	}
}

func machineRules(t *testing.T, c client.Client) {
	ref := func(m *v1beta1.Beskar7Machine) { m.Spec.HostRef = &v1beta1.HostRef{Name: "h", ClaimID: firstClaim} }
	id := func(m *v1beta1.Beskar7Machine) { m.Spec.ProviderID = v1beta1.ProviderID("default", "h", firstClaim) }
	none := func(*v1beta1.Beskar7Machine) {}
	for i, r := range []struct {
		name          string
		start, change func(*v1beta1.Beskar7Machine)
		refused       string
	}{
		{"intend", none, ref, ""},
		{"withdraw", ref, func(m *v1beta1.Beskar7Machine) { m.Spec.HostRef = nil }, ""},
		{"another host", ref, func(m *v1beta1.Beskar7Machine) { m.Spec.HostRef.Name = "g" }, "set or cleared, never replaced"},
		{"another claim", ref, func(m *v1beta1.Beskar7Machine) { m.Spec.HostRef.ClaimID = secondClaim }, "set or cleared, never replaced"},
		{"provider id", none, id, ""},
		{"another provider id", id, func(m *v1beta1.Beskar7Machine) { m.Spec.ProviderID += "0" }, "cannot change once it is set"},
		{"another image before there is a host", none, func(m *v1beta1.Beskar7Machine) { m.Spec.ImageURL = "http://192.0.2.9/b.iso" }, ""},
		{"another image", ref, func(m *v1beta1.Beskar7Machine) { m.Spec.ImageURL = "http://192.0.2.9/b.iso" }, "boots what it was given"},
		{"another image of a provisioned machine", id, func(m *v1beta1.Beskar7Machine) { m.Spec.ImageURL = "http://192.0.2.9/b.iso" }, "boots what it was given"},
		{"a checksum", ref, func(m *v1beta1.Beskar7Machine) { m.Spec.ImageChecksum = "sha256:" + strings.Repeat("ab", 32) }, "boots what it was given"},
		{"another family", ref, func(m *v1beta1.Beskar7Machine) { m.Spec.OSFamily = "talos" }, "boots what it was given"},
		{"another boot mode", ref, func(m *v1beta1.Beskar7Machine) { m.Spec.BootMode = v1beta1.BootModeInstall }, "boots what it was given"},
		{"a selector", ref, func(m *v1beta1.Beskar7Machine) { m.Spec.HostSelector = &metav1.LabelSelector{} }, "looks for none"},
		{"a requirement", ref, func(m *v1beta1.Beskar7Machine) { m.Spec.HardwareRequirements.MinCores = 4 }, "looks for none"},
		{"a priority", ref, func(m *v1beta1.Beskar7Machine) { m.Spec.Priority = 4 }, "looks for none"},
		{"a spread", ref, func(m *v1beta1.Beskar7Machine) { m.Spec.Spread = v1beta1.SpreadHard }, "looks for none"},
		{"a reuse", ref, func(m *v1beta1.Beskar7Machine) { m.Spec.Reuse = v1beta1.ReusePrefer }, "looks for none"},
		{"labels of a provisioned machine", id, func(m *v1beta1.Beskar7Machine) { m.Labels = map[string]string{"a": "b"} }, ""},
		{"no provider id any more", id, func(m *v1beta1.Beskar7Machine) { m.Spec.ProviderID = "" }, "cannot change once it is set"},
	} {
		t.Run(r.name, func(t *testing.T) {
			m := &v1beta1.Beskar7Machine{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: fmt.Sprintf("m%d", i)}, Spec: v1beta1.Beskar7MachineSpec{ImageURL: "http://192.0.2.9/a.iso"}}
			r.start(m)
			if err := c.Create(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			r.change(m)
			expect(t, c.Update(t.Context(), m), r.refused)
		})
	}
}

// createRules: what may be created. A claimed host may: `clusterctl move` needs it.
func createRules(t *testing.T, c client.Client) {
	for i, r := range []struct {
		name    string
		change  hostChange
		refused string
	}{
		{"claimed, bound and marked, as move does", marked, ""},
		{"address with a password", func(h *v1beta1.PhysicalHost) { h.Spec.RedfishConnection.Address = "https://u:p@192.0.2.1" }, "address"},
		{"address with a path", func(h *v1beta1.PhysicalHost) { h.Spec.RedfishConnection.Address = "https://192.0.2.1/redfish" }, "address"},
		{"fingerprint", func(h *v1beta1.PhysicalHost) {
			h.Spec.RedfishConnection.CertificateFingerprint = strings.Repeat("AB:", 31) + "AB"
		}, ""},
		{"short fingerprint", func(h *v1beta1.PhysicalHost) { h.Spec.RedfishConnection.CertificateFingerprint = "AB:CD" }, "certificateFingerprint"},
		{"media URL with a query", func(h *v1beta1.PhysicalHost) { h.Spec.MediaURL = "https://a/b?c=d" }, "mediaURL"},
		{"interface that is two things", func(h *v1beta1.PhysicalHost) {
			h.Spec.NetworkData = &v1beta1.NetworkData{Interfaces: []v1beta1.NetworkInterface{{Name: "a", MACAddress: "02:00:00:00:00:01", VLAN: &v1beta1.VLAN{ID: 1, Link: "b"}}}}
		}, "exactly one of"},
		{"bond", func(h *v1beta1.PhysicalHost) {
			h.Spec.NetworkData = &v1beta1.NetworkData{Interfaces: []v1beta1.NetworkInterface{{Name: "a", Bond: &v1beta1.Bond{Mode: "802.3ad", Interfaces: []string{"b", "c"}}}}}
		}, ""},
		{"unknown power policy", func(h *v1beta1.PhysicalHost) { h.Spec.PowerPolicy = "Sometimes" }, "powerPolicy"},
	} {
		t.Run(r.name, func(t *testing.T) {
			host := newHost(fmt.Sprintf("c%d", i))
			r.change(host)
			expect(t, c.Create(t.Context(), host), r.refused)
		})
	}
}

func expect(t *testing.T, err error, refused string) {
	t.Helper()
	switch {
	case refused == "" && err != nil:
		t.Errorf("refused: %v", err)
	case refused != "" && err == nil:
		t.Error("allowed")
	case refused != "" && !strings.Contains(err.Error(), refused):
		t.Errorf("refused, but not in these words %q: %v", refused, err)
	}
}
