package controllers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
)

const (
	// illegibleAfter is how long the caches may take to fill before it is asked what keeps them from it, and between such questions.
	illegibleAfter = 15 * time.Second
	// illegiblePage is how many objects are asked for at once.
	illegiblePage = 500
)

// Illegible says which stored objects keep this process from working: one value that the Go types cannot be read from, stored under
// an earlier schema, fails the list of its whole kind, and with it every cache, and the client library only says that it failed.
type Illegible struct {
	// Reader reads live.
	Reader client.Reader
	Scheme *runtime.Scheme
	// Namespace that this process watches; empty: all.
	Namespace string

	mu    sync.Mutex
	found []string
}

// Run looks, while the caches are not filled, for objects that cannot be read, and tells them in the log. It ends with the first
// time that synced is true, or with the context.
func (i *Illegible) Run(ctx context.Context, synced func(context.Context) bool) {
	for {
		soon, cancel := context.WithTimeout(ctx, illegibleAfter)
		filled := synced(soon)
		cancel()
		if filled || ctx.Err() != nil {
			i.set(nil)
			return
		}
		found, err := i.Find(ctx)
		if err != nil && ctx.Err() == nil {
			ctrl.LoggerFrom(ctx).Error(err, "The caches are not filled yet, and it cannot be found out whether an object keeps them from it")
		}
		for _, what := range found {
			ctrl.LoggerFrom(ctx).Error(errors.New(what),
				"An object cannot be read, and nothing is done for any object of its kind before it is mended")
		}
		i.set(found)
	}
}

func (i *Illegible) set(found []string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.found = found
}

// Found is what the last look found, in one line; "" if nothing keeps the caches from being filled.
func (i *Illegible) Found() string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return strings.Join(i.found, "; ")
}

// Find lists the objects of our kinds as they are stored, and says of each that cannot be read which field it is and the command that
// takes it out.
func (i *Illegible) Find(ctx context.Context) (found []string, err error) {
	decoder := serializer.NewCodecFactory(i.Scheme).UniversalDeserializer()
	for _, kind := range []string{"PhysicalHost", "Beskar7Machine", "Beskar7MachineTemplate", "Beskar7Cluster", "Beskar7ClusterTemplate"} {
		list := &unstructured.UnstructuredList{}
		for page := ""; ; page = list.GetContinue() {
			list.SetGroupVersionKind(v1beta1.GroupVersion.WithKind(kind + "List"))
			if err := i.Reader.List(ctx, list, client.InNamespace(i.Namespace), client.Limit(illegiblePage), client.Continue(page)); err != nil {
				return found, fmt.Errorf("list the objects of kind %s: %w", kind, err)
			}
			for n := range list.Items {
				found = append(found, faultsOf(decoder, &list.Items[n])...)
			}
			if list.GetContinue() == "" {
				break
			}
		}
	}
	return found, nil
}

// fault is one field that cannot be read.
type fault struct {
	path []string
	why  string
}

// faultsOf says of an object which of its fields its Go type cannot be read from, and the commands that take them out: one for spec and
// one for status, as the API server refuses a change that leaves another bad value where it is.
func faultsOf(decoder runtime.Decoder, o *unstructured.Unstructured) (told []string) {
	if reads(decoder, o, o.Object) == nil {
		return nil
	}
	for _, part := range []string{"spec", "status"} {
		value, there := o.Object[part]
		if !there {
			continue
		}
		faults := blame(decoder, o, []string{part}, value, func(v any) map[string]any { return map[string]any{part: v} })
		if len(faults) > 0 {
			told = append(told, mend(o, faults))
		}
	}
	return told
}

// blame finds what cannot be read in a value of the object at path; alone makes an object that has the value at that place and no other.
func blame(decoder runtime.Decoder, o *unstructured.Unstructured, path []string, value any,
	alone func(any) map[string]any) (faults []fault) {
	err := reads(decoder, o, alone(value))
	if err == nil {
		return nil
	}
	below := func(step string, child any, wrap func(any) any) {
		there := func(v any) map[string]any { return alone(wrap(v)) }
		faults = append(faults, blame(decoder, o, append(slices.Clone(path), step), child, there)...)
	}
	switch v := value.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			below(key, v[key], func(c any) any { return map[string]any{key: c} })
		}
	case []any:
		for n, child := range slices.Backward(v) { // so that taking one out does not move the next
			below(strconv.Itoa(n), child, func(c any) any { return []any{c} })
		}
	}
	if len(faults) == 0 {
		faults = []fault{{path, cause(err)}}
	}
	return faults
}

// reads tries whether content is read as an object of o's kind.
func reads(decoder runtime.Decoder, o *unstructured.Unstructured, content map[string]any) error {
	whole := map[string]any{"apiVersion": o.GetAPIVersion(), "kind": o.GetKind()}
	for _, part := range []string{"spec", "status"} {
		if value, there := content[part]; there {
			whole[part] = value
		}
	}
	text, err := json.Marshal(whole)
	if err != nil {
		return err
	}
	_, _, err = decoder.Decode(text, nil, nil)
	return err
}

// mend tells the fields that cannot be read, with the command that takes them out.
func mend(o *unstructured.Unstructured, faults []fault) string {
	var what []string
	var ops []map[string]string
	for _, f := range faults {
		pointer := ""
		for _, step := range f.path {
			pointer += "/" + strings.ReplaceAll(strings.ReplaceAll(step, "~", "~0"), "/", "~1")
		}
		what = append(what, fmt.Sprintf("%s (%s)", strings.Join(f.path, "."), f.why))
		ops = append(ops, map[string]string{"op": "remove", "path": pointer})
	}
	sub := ""
	if faults[0].path[0] == "status" {
		sub = " --subresource status"
	}
	patch, err := json.Marshal(ops)
	if err != nil {
		patch = nil // it is text
	}
	return fmt.Sprintf("%s %s/%s cannot be read: %s. Mend that with kubectl edit, all at once, or take it out: "+
		"kubectl -n %s patch %s %s%s --type json -p %s", o.GetKind(), o.GetNamespace(), o.GetName(), strings.Join(what, ", "),
		o.GetNamespace(), strings.ToLower(o.GetKind()), o.GetName(), sub, shellWord(string(patch)))
}

// cause is what the decoder itself said, without the object that it quotes.
func cause(err error) string {
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(inner) {
		err = inner
	}
	text := err.Error()
	if len(text) > 300 {
		text = text[:300]
	}
	return text
}
