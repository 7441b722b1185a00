package integration

import (
	"flag"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/controllers/settings"
	"github.com/beskar7/beskar7/test/schema"
)

var (
	fuzzTime = flag.Duration("fuzz-for", 3*time.Second, "for how long random objects of each kind are sent")
	fuzzSeed = flag.Uint64("fuzz-seed", 1, "which random objects are sent")
)

// TestWhatTheAPIServerTakesDecodes: random objects that the schema accepts go through the real API server, whose word counts, and
// are read back as a list by a typed client: one object that cannot be decoded would fail the list for all.
func TestWhatTheAPIServerTakesDecodes(t *testing.T) {
	c := apiServer(t)
	kinds, err := schema.Load("../../config/crd/bases")
	if err != nil {
		t.Fatal(err)
	}
	for gvk, kind := range kinds {
		t.Run(gvk.Kind, func(t *testing.T) {
			random, began, taken := rand.New(rand.NewPCG(*fuzzSeed, 1)), time.Now(), 0
			for time.Since(began) < *fuzzTime && !t.Failed() {
				if sent := unstructuredOf(gvk, kind.Fuzz(random)); send(t, c, sent) {
					taken++
					decodesInAList(t, c, sent)
				}
			}
			if taken == 0 {
				t.Error("the API server took none")
			}
			t.Logf("%d objects", taken)
		})
	}
}

func unstructuredOf(gvk runtimeschema.GroupVersionKind, content map[string]any) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: content}
	u.SetGroupVersionKind(gvk)
	u.SetNamespace("default")
	u.SetName("o")
	return u
}

// send creates the object and then its status; false: the API server refuses the object.
func send(t *testing.T, c client.Client, u *unstructured.Unstructured) bool {
	t.Helper()
	status, given := u.Object["status"]
	if err := c.Create(t.Context(), u); err != nil {
		if !apierrors.IsInvalid(err) {
			t.Fatal(err)
		}
		return false
	}
	if given {
		u.Object["status"] = status
		if err := c.Status().Update(t.Context(), u); err != nil && !apierrors.IsInvalid(err) && !apierrors.IsNotFound(err) {
			t.Fatal(err)
		}
	}
	return true
}

// decodesInAList reads the object and removes it.
func decodesInAList(t *testing.T, c client.Client, u *unstructured.Unstructured) {
	t.Helper()
	list, err := c.Scheme().New(runtimeschema.GroupVersionKind{Group: v1beta1.GroupVersion.Group, Version: v1beta1.GroupVersion.Version, Kind: u.GetKind() + "List"})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.List(t.Context(), list.(client.ObjectList)); err != nil {
		t.Errorf("the API server takes what a typed client cannot read: %v\n%v", err, u.Object)
	}
	if err := c.Delete(t.Context(), u); err != nil {
		t.Fatal(err)
	}
}

// TestABadValueIsRefused: each of these was taken once, and stopped every manager that listed it, in whatever namespace.
func TestABadValueIsRefused(t *testing.T) {
	c := apiServer(t)
	for _, r := range []struct{ kind, path, value, refused string }{
		{"PhysicalHost", "spec.redfishConnection.tuning.bootTimeout", "1d", "a day is 24h"},
		{"PhysicalHost", "spec.redfishConnection.tuning.cooldown", "5 minutes", "must be from 1s to 10m"},
		{"PhysicalHost", "spec.redfishConnection.tuning.operationTimeout", "-5m", "must be from 10s to 1h"},
		{"PhysicalHost", "spec.redfishConnection.tuning.requestTimeout", "500ms", "or 0s, which is the default"},
		{"PhysicalHost", "spec.redfishConnection.tuning.releaseTimeout", "9999999999h", "must be from 1s to 168h"},
		{"PhysicalHost", "spec.quarantine.since", "2026-01-01t00:00:00z", "must be a time such as"},
		{"PhysicalHost", "spec.lastTenant.releasedAt", "2026-01-01T00:00:00Z", "releasedAt"},
		{"Beskar7Machine", "spec.hardwareRequirements.minMemory", "-5Gi", "minMemory"},
		{"Beskar7Machine", "spec.hardwareRequirements.minMemory", "1e999999999", "minMemory"},
		{"Beskar7Machine", "spec.hardwareRequirements.minDisk", "1e1.5", "minDisk"},
	} {
		spec := map[string]any{"imageURL": "https://a/b.iso"}
		if r.kind == "PhysicalHost" {
			spec = map[string]any{"redfishConnection": map[string]any{"address": "https://192.0.2.7", "credentialsSecretRef": map[string]any{"name": "s"}},
				"quarantine": map[string]any{"reason": "R"}, "lastTenant": map[string]any{"cluster": "c", "machine": "m", "releasedAt": "2026-01-01T00:00:00.000000Z"}}
		}
		u := unstructuredOf(v1beta1.GroupVersion.WithKind(r.kind), map[string]any{"spec": spec})
		u.SetGenerateName("bad-")
		u.SetName("")
		good := u.DeepCopy()
		if err := c.Create(t.Context(), good); err != nil {
			t.Fatalf("without the bad value it is refused, too: %v", err)
		}
		if err := unstructured.SetNestedField(u.Object, r.value, strings.Split(r.path, ".")...); err != nil {
			t.Fatal(err)
		}
		t.Run(r.path, func(t *testing.T) { expect(t, c.Create(t.Context(), u), r.refused) })
	}
}

// TestATimeOfNothingIsTheDefault: objects of before the bounds have it, and are created anew by a move or a restore.
func TestATimeOfNothingIsTheDefault(t *testing.T) {
	c := apiServer(t)
	h := newHost("old")
	none := &metav1.Duration{}
	h.Spec.RedfishConnection.Tuning = &v1beta1.Tuning{Cooldown: none, SettleTime: none, OperationTimeout: none,
		ConnectionTimeout: none, RequestTimeout: none, RetryDelay: none, BootTimeout: none, ShutdownTimeout: none, ReleaseTimeout: none}
	if err := c.Create(t.Context(), h); err != nil {
		t.Fatal(err)
	}
	stored := h.Spec.RedfishConnection.Tuning
	for name, own := range map[string]*metav1.Duration{"cooldown": stored.Cooldown, "bootTimeout": stored.BootTimeout} {
		if got := settings.Tuned(own, time.Minute); got != time.Minute {
			t.Errorf("%s of 0s is %s, and not the default", name, got)
		}
	}
}
