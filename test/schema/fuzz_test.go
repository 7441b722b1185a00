package schema

import (
	"encoding/json"
	"flag"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
)

var (
	fuzzTime = flag.Duration("fuzz-for", 3*time.Second, "for how long random objects of each kind are made")
	fuzzSeed = flag.Uint64("fuzz-seed", 1, "which random objects are made")
)

// TestRandomObjectsDecode of every kind: what the schema accepts is read by the Go type and, written again, accepted again.
func TestRandomObjectsDecode(t *testing.T) {
	scheme, kinds := ours(t)
	for gvk, kind := range kinds {
		t.Run(gvk.Kind, func(t *testing.T) {
			random, began, n := rand.New(rand.NewPCG(*fuzzSeed, 0)), time.Now(), 0
			for ; time.Since(began) < *fuzzTime && !t.Failed(); n++ {
				object := kind.Fuzz(random)
				if errs := kind.Admit(object); len(errs) > 0 {
					continue // what defaults added may contradict a rule
				}
				typed, err := scheme.New(gvk)
				if err != nil {
					t.Fatal(err)
				}
				roundTrip(t, kind, object, typed)
			}
			if n < 10 {
				t.Errorf("only %d objects were made", n)
			}
			t.Logf("%d objects", n)
		})
	}
}

func roundTrip(t *testing.T, kind Kind, object map[string]any, typed runtime.Object) {
	t.Helper()
	text, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, typed); err != nil {
		t.Errorf("the schema accepts what cannot be decoded: %v\n%s", err, text)
		return
	}
	written, err := runtime.DefaultUnstructuredConverter.ToUnstructured(typed)
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasSuffix(kind.Kind, "Template") {
		written["spec"] = object["spec"] // we write none, and CAPI's type for metadata does not keep an empty map of labels apart from none
	}
	if errs := kind.Admit(written); len(errs) > 0 {
		t.Errorf("what was decoded is refused when it is written again: %v\n%s", errs, text)
	}
}
