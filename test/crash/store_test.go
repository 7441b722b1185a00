package crash

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/test/crash/witness"
)

// kinds are the objects that the store keeps, and whether they have a status of its own.
var kinds = map[string]struct {
	empty  client.Object
	status bool
}{
	"PhysicalHost":   {&v1beta1.PhysicalHost{}, true},
	"Beskar7Machine": {&v1beta1.Beskar7Machine{}, true},
	"Cluster":        {&clusterv1.Cluster{}, true},
	"Machine":        {&clusterv1.Machine{}, true},
	"Secret":         {&corev1.Secret{}, false},
}

func kindOf(o any) string {
	if p, ok := o.(*metav1.PartialObjectMetadata); ok {
		return p.Kind
	}
	return reflect.TypeOf(o).Elem().Name()
}

type objectKey struct{ kind, name string }

// stored is one version of an object. It is never changed.
type stored struct {
	tree  map[string]any
	typed client.Object
}

// store is an API server in memory with one namespace. It does what the product relies on: versions and conflicts, generations,
// status as a resource of its own, merge patches, finalizers. Controller-runtime's fake does the same and takes ten times as long.
type store struct {
	site    string
	history *witness.History

	mu      sync.Mutex
	version int
	objects map[objectKey]*stored
}

func newStore(site string, history *witness.History) *store {
	return &store{site: site, history: history, version: 100, objects: map[objectKey]*stored{}}
}

// snapshot is what is stored now, as a cache that is up to date shows it.
func (s *store) snapshot() map[objectKey]*stored {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.objects)
}

func notFound(key objectKey) error {
	return apierrors.NewNotFound(schema.GroupResource{Resource: strings.ToLower(key.kind)}, key.name)
}

func treeOf(o client.Object) map[string]any {
	raw, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}
	tree := map[string]any{}
	if err := json.Unmarshal(raw, &tree); err != nil {
		panic(err)
	}
	return tree
}

// create stores a new object, with what an API server adds.
func (s *store) create(o client.Object) { s.createTree(kindOf(o), o.GetName(), treeOf(o)) }

func (s *store) createTree(kind, name string, tree map[string]any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	meta := tree["metadata"].(map[string]any)
	meta["uid"] = fmt.Sprintf("%s-%s-%s-%d", s.site, strings.ToLower(kind), name, s.version)
	meta["creationTimestamp"] = metav1.Now().UTC().Format(time.RFC3339)
	meta["generation"] = int64(1)
	s.put(objectKey{kind, name}, tree)
}

// put needs the lock. A tree whose last finalizer went is removed.
func (s *store) put(key objectKey, tree map[string]any) *stored {
	s.version++
	meta := tree["metadata"].(map[string]any)
	meta["resourceVersion"] = strconv.Itoa(s.version)
	raw, err := json.Marshal(tree)
	if err != nil {
		panic(err)
	}
	typed := reflect.New(reflect.TypeOf(kinds[key.kind].empty).Elem()).Interface().(client.Object)
	if err := json.Unmarshal(raw, typed); err != nil {
		panic(fmt.Sprintf("%v: %v", key, err))
	}
	kept := &stored{tree, typed}
	v := witness.Version{At: time.Now(), Site: s.site, Kind: key.kind, Name: key.name}
	if typed.GetDeletionTimestamp() != nil && len(typed.GetFinalizers()) == 0 {
		delete(s.objects, key)
	} else {
		s.objects[key], v.Object = kept, tree
	}
	s.history.Stored(v)
	return kept
}

// remove deletes an object, or marks it if finalizers keep it; by force it is gone.
func (s *store) remove(kind, name string, force bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := objectKey{kind, name}
	now, ok := s.objects[key]
	if !ok || !force && now.typed.GetDeletionTimestamp() != nil {
		return
	}
	tree := merge(now.tree, map[string]any{"metadata": map[string]any{"deletionTimestamp": metav1.Now().UTC().Format(time.RFC3339)}})
	if force {
		delete(tree["metadata"].(map[string]any), "finalizers")
	}
	s.put(key, tree)
}

// merge is a JSON merge patch; neither argument is changed.
func merge(into, patch map[string]any) map[string]any {
	out := maps.Clone(into)
	if out == nil {
		out = map[string]any{}
	}
	for k, v := range patch {
		switch v := v.(type) {
		case nil:
			delete(out, k)
		case map[string]any:
			was, _ := out[k].(map[string]any)
			out[k] = merge(was, v)
		default:
			out[k] = v
		}
	}
	return out
}

// patch applies a merge patch to the object or to its status.
func (s *store) patch(o client.Object, p client.Patch, status bool) error {
	data, err := p.Data(o)
	if err != nil {
		return err
	}
	if p.Type() != types.MergePatchType {
		panic("the store knows merge patches only, not " + string(p.Type()))
	}
	change := map[string]any{}
	if err := json.Unmarshal(data, &change); err != nil {
		return err
	}
	return s.apply(o, change, status)
}

func (s *store) apply(o client.Object, change map[string]any, status bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := objectKey{kindOf(o), o.GetName()}
	now, ok := s.objects[key]
	if !ok {
		return notFound(key)
	}
	meta, _ := change["metadata"].(map[string]any)
	for field, have := range map[string]string{"resourceVersion": now.typed.GetResourceVersion(), "uid": string(now.typed.GetUID())} {
		if want, asked := meta[field].(string); asked && want != have {
			return apierrors.NewConflict(schema.GroupResource{Resource: strings.ToLower(key.kind)}, key.name, fmt.Errorf("%s is %s, not %s", field, have, want))
		}
	}
	tree := merge(now.tree, change)
	if status {
		tree = maps.Clone(now.tree)
		was, _ := now.tree["status"].(map[string]any)
		part, _ := change["status"].(map[string]any)
		tree["status"] = merge(was, part)
	} else if kinds[key.kind].status {
		if tree["status"] = now.tree["status"]; tree["status"] == nil {
			delete(tree, "status")
		}
	}
	if !same(tree, now.tree) {
		tree["metadata"] = maps.Clone(tree["metadata"].(map[string]any))
		if !same(tree["spec"], now.tree["spec"]) {
			tree["metadata"].(map[string]any)["generation"] = now.typed.GetGeneration() + 1
		}
		now = s.put(key, tree)
	}
	into(now, o)
	return nil
}

func same(a, b any) bool {
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return bytes.Equal(x, y)
}

// into fills an object that a caller passed.
func into(from *stored, o client.Object) {
	if p, ok := o.(*metav1.PartialObjectMetadata); ok {
		meta := reflect.ValueOf(from.typed).Elem().FieldByName("ObjectMeta").Interface().(metav1.ObjectMeta)
		meta.DeepCopyInto(&p.ObjectMeta)
		return
	}
	reflect.ValueOf(o).Elem().Set(reflect.ValueOf(from.typed.DeepCopyObject()).Elem())
}

// edit changes an object as another client does; nothing happens if it is not there.
func edit[T client.Object](s *store, o T, name string, change func(T)) {
	found, ok := s.snapshot()[objectKey{kindOf(o), name}]
	if !ok {
		return
	}
	into(found, o)
	base := o.DeepCopyObject().(T)
	change(o)
	for _, status := range []bool{false, true} {
		if err := s.patch(o.DeepCopyObject().(T), client.MergeFrom(base), status && kinds[kindOf(o)].status); err != nil {
			panic(err)
		}
	}
}

// get reads an object; false if it is not there.
func get[T client.Object](s *store, o T, name string) (T, bool) {
	found, ok := s.snapshot()[objectKey{kindOf(o), name}]
	if ok {
		into(found, o)
	}
	return o, ok
}

// view reads what a cache shows, or what is stored.
type view struct {
	objects func() map[objectKey]*stored
	indexes map[string]client.IndexerFunc
}

func (v view) Get(_ context.Context, k client.ObjectKey, o client.Object, _ ...client.GetOption) error {
	key := objectKey{kindOf(o), k.Name}
	found, ok := v.objects()[key]
	if !ok || found.typed.GetNamespace() != k.Namespace {
		return notFound(key)
	}
	into(found, o)
	return nil
}

func (v view) List(_ context.Context, list client.ObjectList, opts ...client.ListOption) error {
	o := client.ListOptions{}
	o.ApplyOptions(opts)
	kind := strings.TrimSuffix(reflect.TypeOf(list).Elem().Name(), "List")
	partial, isPartial := list.(*metav1.PartialObjectMetadataList)
	if isPartial {
		kind = strings.TrimSuffix(partial.Kind, "List")
	}
	objects := v.objects()
	keys := slices.SortedFunc(maps.Keys(objects), func(a, b objectKey) int { return strings.Compare(a.name, b.name) })
	for _, key := range keys {
		found := objects[key]
		if key.kind != kind || o.Namespace != "" && o.Namespace != found.typed.GetNamespace() || !v.selected(found.typed, o) {
			continue
		}
		if isPartial {
			item := metav1.PartialObjectMetadata{}
			into(found, &item)
			partial.Items = append(partial.Items, item)
			continue
		}
		items := reflect.ValueOf(list).Elem().FieldByName("Items")
		items.Set(reflect.Append(items, reflect.ValueOf(found.typed.DeepCopyObject()).Elem()))
	}
	return nil
}

func (v view) selected(o client.Object, opts client.ListOptions) bool {
	if opts.LabelSelector != nil && !opts.LabelSelector.Matches(labelSet(o.GetLabels())) {
		return false
	}
	if opts.FieldSelector == nil {
		return true
	}
	for _, r := range opts.FieldSelector.Requirements() {
		index, ok := v.indexes[r.Field]
		if !ok {
			panic("no index " + r.Field)
		}
		if !slices.Contains(index(o), r.Value) {
			return false
		}
	}
	return true
}
