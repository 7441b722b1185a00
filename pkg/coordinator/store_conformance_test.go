package coordinator

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
)

// The model's store answers as the fake client does, to the same requests in the same order: what is written, and which requests are
// refused and how. Resource versions differ; that both refuse an old one is what counts.
func TestTheStoreAnswersAsTheFakeClientDoes(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 7))
	stored := newStore(newHost("a"), newHost("b"), newMachine("m"), newMachine("n"))
	apis := []client.Client{newWorld(t, newHost("a"), newHost("b"), newMachine("m"), newMachine("n")).api, stored}
	for _, host := range stored.hosts { // made a moment later
		if err := apis[0].Get(t.Context(), keyOf(host), host); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 600 {
		kind, change, locked := random.IntN(8), random.IntN(6), random.IntN(2) == 0
		name := []string{"a", "b"}[kind%2]
		if kind >= 4 {
			name = []string{"m", "n"}[kind%2]
		}
		var answers [2]string
		for i, api := range apis {
			if kind < 4 {
				answers[i] = play(t, api, &v1beta1.PhysicalHost{}, name, n, change, locked, changeHost)
			} else {
				answers[i] = play(t, api, &v1beta1.Beskar7Machine{}, name, n, change, locked, changeMachine)
			}
		}
		if answers[0] != answers[1] {
			t.Fatalf("change %d (locked: %v) of %s:\nfake client %s\nstore       %s", change, locked, name, answers[0], answers[1])
		}
	}
}

// play reads, changes, and patches an object, after someone else has changed it too if it is to be a conflict.
func play[T client.Object](t *testing.T, api client.Client, o T, name string, n, change int, locked bool, apply func(T, int)) string {
	t.Helper()
	ctx, key := t.Context(), client.ObjectKey{Namespace: namespace, Name: name}
	if err := api.Get(ctx, key, o); err != nil {
		if !apierrors.IsNotFound(err) {
			t.Fatal(err)
		}
		return "missing"
	}
	base := o.DeepCopyObject().(T)
	if change == 5 {
		other := base.DeepCopyObject().(T)
		other.SetAnnotations(map[string]string{"other": fmt.Sprint(n)})
		if err := api.Patch(ctx, other, client.MergeFrom(base)); err != nil {
			t.Fatal(err)
		}
	}
	apply(o, change)
	patch := client.MergeFrom(base)
	if locked {
		patch = client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{})
	}
	err := api.Patch(ctx, o, patch)
	if err := api.Get(ctx, key, o); err != nil {
		return "gone"
	}
	o.SetResourceVersion("")
	o.SetCreationTimestamp(metav1.Time{})
	text, marshalled := json.Marshal(o)
	if marshalled != nil {
		t.Fatal(marshalled)
	}
	return fmt.Sprintf("%v %s", apierrors.ReasonForError(err), text)
}

func changeHost(h *v1beta1.PhysicalHost, change int) {
	switch change {
	case 0:
		h.Spec.Claim = &v1beta1.Claim{ID: "00000000000000aa", Machine: "m", Cluster: "c"}
		h.Spec.Boot = &v1beta1.Boot{ImageURL: "http://images/a.iso"}
	case 1:
		h.Spec.Claim, h.Spec.Boot = nil, nil
	case 2:
		if h.Spec.Claim != nil {
			h.Spec.Claim.Release = &v1beta1.Release{Reason: "MachineDeleted"}
		}
	case 3:
		h.Annotations = nil
		h.Spec.Paused = !h.Spec.Paused
	case 4, 5:
		h.Spec.Maintenance = !h.Spec.Maintenance
	}
}

func changeMachine(m *v1beta1.Beskar7Machine, change int) {
	switch change {
	case 0:
		m.Spec.HostRef = &v1beta1.HostRef{Name: "a", ClaimID: "00000000000000aa"}
		m.Annotations = map[string]string{"block": ""}
	case 1:
		m.Spec.HostRef, m.Annotations = nil, nil
	case 2:
		m.Spec.ProviderID = "beskar7://ns/a/00000000000000aa"
	case 3:
		m.Finalizers = append(m.Finalizers, "x/y")
	case 4:
		m.Finalizers = m.Finalizers[:min(1, len(m.Finalizers))]
	case 5:
		m.Spec.Priority++
	}
}
