package coordinator

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strconv"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
)

// store is an API server for hosts and machines of one namespace, fast enough for a model that asks it a million times; a
// test compares it with the fake client. It is used by one goroutine at a time. What is not written here panics.
type store struct {
	client.WithWatch

	// rules are the CEL rules of the API.
	rules    bool
	version  int
	hosts    map[string]*v1beta1.PhysicalHost
	machines map[string]*v1beta1.Beskar7Machine
}

var errChanged = errors.New("the object has been modified")

func newStore(objects ...client.Object) *store {
	s := &store{hosts: map[string]*v1beta1.PhysicalHost{}, machines: map[string]*v1beta1.Beskar7Machine{}}
	for _, o := range objects {
		s.put(o.DeepCopyObject().(client.Object))
	}
	return s
}

// put stores an object under the next version.
func (s *store) put(o client.Object) {
	s.version++
	o.SetResourceVersion(strconv.Itoa(s.version))
	switch x := o.(type) {
	case *v1beta1.PhysicalHost:
		s.hosts[x.Name] = x
	case *v1beta1.Beskar7Machine:
		s.machines[x.Name] = x
	}
}

func (s *store) find(o client.Object, name string) client.Object {
	switch o.(type) {
	case *v1beta1.PhysicalHost:
		if x := s.hosts[name]; x != nil {
			return x
		}
	case *v1beta1.Beskar7Machine:
		if x := s.machines[name]; x != nil {
			return x
		}
	}
	return nil
}

func resourceOf(o client.Object) schema.GroupResource {
	return schema.GroupResource{Group: v1beta1.GroupVersion.Group, Resource: kind(o)}
}

// Get reads an object.
func (s *store) Get(_ context.Context, key client.ObjectKey, o client.Object, _ ...client.GetOption) error {
	found := s.find(o, key.Name)
	if found == nil {
		return apierrors.NewNotFound(resourceOf(o), key.Name)
	}
	copyInto(found, o)
	return nil
}

func copyInto(from, to client.Object) {
	switch x := from.(type) {
	case *v1beta1.PhysicalHost:
		x.DeepCopyInto(to.(*v1beta1.PhysicalHost))
	case *v1beta1.Beskar7Machine:
		x.DeepCopyInto(to.(*v1beta1.Beskar7Machine))
	}
}

// List lists objects by name. Hosts can be selected by the machine of their claim.
func (s *store) List(_ context.Context, list client.ObjectList, opts ...client.ListOption) error {
	var options client.ListOptions
	options.ApplyOptions(opts)
	switch out := list.(type) {
	case *v1beta1.PhysicalHostList:
		out.Items = nil
		for _, host := range sorted(s.hosts) {
			if options.FieldSelector == nil || selected(options, host) {
				out.Items = append(out.Items, *host.DeepCopy())
			}
		}
	case *v1beta1.Beskar7MachineList:
		out.Items = nil
		for _, machine := range sorted(s.machines) {
			out.Items = append(out.Items, *machine.DeepCopy())
		}
	}
	list.SetResourceVersion(strconv.Itoa(s.version))
	return nil
}

func selected(options client.ListOptions, host *v1beta1.PhysicalHost) bool {
	return host.Spec.Claim != nil && options.FieldSelector.String() == HostByClaimMachine+"="+host.Spec.Claim.Machine
}

func sorted[T client.Object](objects map[string]T) []T {
	return slices.SortedFunc(maps.Values(objects), func(a, b T) int { return cmp.Compare(a.GetName(), b.GetName()) })
}

// Create stores a new object.
func (s *store) Create(_ context.Context, o client.Object, _ ...client.CreateOption) error {
	if s.find(o, o.GetName()) != nil {
		return apierrors.NewAlreadyExists(resourceOf(o), o.GetName())
	}
	s.put(o.DeepCopyObject().(client.Object))
	o.SetResourceVersion(strconv.Itoa(s.version))
	return nil
}

// Delete removes an object, or marks it if it has finalizers.
func (s *store) Delete(_ context.Context, o client.Object, _ ...client.DeleteOption) error {
	found := s.find(o, o.GetName())
	if found == nil {
		return apierrors.NewNotFound(resourceOf(o), o.GetName())
	}
	if len(found.GetFinalizers()) == 0 {
		s.drop(found)
		return nil
	}
	if found.GetDeletionTimestamp().IsZero() {
		next := found.DeepCopyObject().(client.Object)
		next.SetDeletionTimestamp(&metav1.Time{Time: epoch})
		s.put(next)
	}
	return nil
}

func (s *store) drop(o client.Object) {
	s.version++
	switch o.(type) {
	case *v1beta1.PhysicalHost:
		delete(s.hosts, o.GetName())
	case *v1beta1.Beskar7Machine:
		delete(s.machines, o.GetName())
	}
}

// mergePatch is what the product's patches may hold.
type mergePatch struct {
	Metadata struct {
		ResourceVersion string             `json:"resourceVersion"`
		Annotations     map[string]*string `json:"annotations"`
		Finalizers      *[]string          `json:"finalizers"`
	} `json:"metadata"`
	Spec json.RawMessage `json:"spec"`
}

// Patch applies a merge patch to everything but status.
func (s *store) Patch(_ context.Context, o client.Object, p client.Patch, _ ...client.PatchOption) error {
	data, err := p.Data(o)
	if err != nil {
		return err
	}
	found := s.find(o, o.GetName())
	if found == nil {
		return apierrors.NewNotFound(resourceOf(o), o.GetName())
	}
	var merge mergePatch
	if err := json.Unmarshal(data, &merge); err != nil {
		return err
	}
	if v := merge.Metadata.ResourceVersion; v != "" && v != found.GetResourceVersion() {
		return apierrors.NewConflict(resourceOf(o), o.GetName(), errChanged)
	}
	next := found.DeepCopyObject().(client.Object)
	if err := merge.apply(data, next); err != nil {
		return err
	}
	if s.rules {
		if message := broken(found, next); message != "" {
			return apierrors.NewInvalid(v1beta1.GroupVersion.WithKind(kind(o)).GroupKind(), o.GetName(),
				field.ErrorList{field.Forbidden(field.NewPath("spec"), message)})
		}
	}
	switch {
	case !next.GetDeletionTimestamp().IsZero() && len(next.GetFinalizers()) == 0:
		s.drop(next)
	case !equality.Semantic.DeepEqual(found, next):
		s.put(next)
	}
	copyInto(next, o)
	return nil
}

func (m *mergePatch) apply(data []byte, o client.Object) error {
	var raw struct {
		Metadata map[string]json.RawMessage `json:"metadata"`
	}
	if err := json.Unmarshal(data, &raw); err != nil {
		return err
	}
	if string(raw.Metadata["annotations"]) == "null" {
		o.SetAnnotations(nil)
	}
	if len(m.Metadata.Annotations) > 0 {
		annotations := maps.Clone(o.GetAnnotations())
		if annotations == nil {
			annotations = map[string]string{}
		}
		for key, value := range m.Metadata.Annotations {
			if delete(annotations, key); value != nil {
				annotations[key] = *value
			}
		}
		o.SetAnnotations(annotations)
	}
	if _, named := raw.Metadata["finalizers"]; named {
		o.SetFinalizers(nil)
		if m.Metadata.Finalizers != nil {
			o.SetFinalizers(*m.Metadata.Finalizers)
		}
	}
	switch x := o.(type) {
	case *v1beta1.PhysicalHost:
		return mergeSpec(m.Spec, &x.Spec)
	case *v1beta1.Beskar7Machine:
		return mergeSpec(m.Spec, &x.Spec)
	}
	return nil
}

// mergeSpec decodes a patch over what is there, which is what a merge means as long as nothing but a pointer is null in it.
func mergeSpec[T any](patch json.RawMessage, spec *T) error {
	if len(patch) == 0 {
		return nil
	}
	if !bytes.Contains(patch, []byte("null")) {
		return json.Unmarshal(patch, spec)
	}
	before, err := json.Marshal(spec)
	if err != nil {
		return err
	}
	var old, change map[string]any
	if err := errors.Join(json.Unmarshal(before, &old), json.Unmarshal(patch, &change)); err != nil {
		return err
	}
	after, err := json.Marshal(merged(old, change))
	if err != nil {
		return err
	}
	var next T
	err = json.Unmarshal(after, &next)
	*spec = next
	return err
}

// merged is RFC 7386.
func merged(old, change map[string]any) map[string]any {
	if old == nil {
		old = map[string]any{}
	}
	for key, value := range change {
		switch deeper, nested := value.(map[string]any); {
		case value == nil:
			delete(old, key)
		case nested:
			below, _ := old[key].(map[string]any)
			old[key] = merged(below, deeper)
		default:
			old[key] = value
		}
	}
	return old
}

// broken says which CEL rule of the API an update breaks; see the API's types.
func broken(before, after client.Object) string {
	switch old := before.(type) {
	case *v1beta1.PhysicalHost:
		return brokenHost(&old.Spec, &after.(*v1beta1.PhysicalHost).Spec)
	case *v1beta1.Beskar7Machine:
		return brokenMachine(&old.Spec, &after.(*v1beta1.Beskar7Machine).Spec)
	}
	return ""
}

func brokenHost(old, now *v1beta1.PhysicalHostSpec) string {
	a, b := old.Claim, now.Claim
	switch {
	case now.Boot != nil && b == nil:
		return "boot requires a claim"
	case a == nil && b != nil && now.Quarantine != nil:
		return "a quarantined host cannot be claimed"
	case a != nil && b != nil:
		return brokenClaim(a, b)
	case a != nil && b == nil && a.Bound && a.Release == nil && now.Quarantine == nil:
		return "a bound claim is cleared only after its release was marked"
	}
	return ""
}

func brokenClaim(a, b *v1beta1.Claim) string {
	switch {
	case a.ID != b.ID || a.Machine != b.Machine || a.Cluster != b.Cluster:
		return "a claim may be set or cleared, never replaced"
	case a.Bound && !b.Bound:
		return "a bound claim stays bound"
	case a.Release != nil && b.Release == nil:
		return "a release cannot be taken back"
	}
	return ""
}

func brokenMachine(old, now *v1beta1.Beskar7MachineSpec) string {
	switch {
	case old.HostRef != nil && now.HostRef != nil && *old.HostRef != *now.HostRef:
		return "hostRef may be set or cleared, never replaced"
	case old.ProviderID != "" && now.ProviderID != old.ProviderID:
		return "providerID cannot change once it is set"
	}
	return ""
}
