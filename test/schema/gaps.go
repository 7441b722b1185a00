package schema

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Gaps are the places where a Go type cannot decode a value that the schema of the kind accepts, each with such a value.
func Gaps(object any, kind Kind) []string {
	w := &walk{}
	t := reflect.TypeOf(object).Elem()
	for i := range t.NumField() {
		switch name := jsonName(t.Field(i)); name {
		case "", "metadata": // the API server decodes these itself, into the same types
		default:
			child, ok := kind.root.properties[name]
			if !ok {
				w.gaps = append(w.gaps, name+": the schema has no such field: its values are dropped")
				continue
			}
			w.look(name, t.Field(i).Type, child, nil)
		}
	}
	slices.Sort(w.gaps)
	return slices.Compact(w.gaps)
}

type walk struct{ gaps []string }

// above is a place on the way to a field: what a value of the field looks like from there.
type above struct {
	node *node
	wrap func(any) any
}

var unmarshaler = reflect.TypeFor[json.Unmarshaler]()

func (w *walk) look(path string, t reflect.Type, n *node, over []above) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	// Where each type is taken apart, null and values of a wrong kind are tried too.
	w.probe(path, t, n, over)
	if reflect.PointerTo(t).Implements(unmarshaler) {
		return
	}
	switch t.Kind() {
	case reflect.Struct:
		w.lookInside(path, t, n, over)
	case reflect.Slice:
		if n.items != nil {
			w.look(path+"[]", t.Elem(), n.items, under(over, n, func(v any) any { return []any{v} }))
		}
	case reflect.Map:
		if n.values != nil {
			w.look(path+"{}", t.Elem(), n.values, under(over, n, func(v any) any { return map[string]any{"x": v} }))
		}
	default: // its values were tried
	}
}

func (w *walk) lookInside(path string, t reflect.Type, n *node, over []above) {
	for i := range t.NumField() {
		f := t.Field(i)
		name := jsonName(f)
		switch name {
		case "-":
			continue
		case "":
			w.lookInside(path, f.Type, n, over)
			continue
		}
		child, ok := n.properties[name]
		if !ok {
			w.gaps = append(w.gaps, path+"."+name+": the schema has no such field: its values are dropped")
			continue
		}
		w.look(path+"."+name, f.Type, child, under(over, n, func(v any) any {
			object := sample(t)
			object[name] = v
			return object
		}))
	}
}

// under adds a place to the way: what was above sees the value in the new place.
func under(over []above, n *node, wrap func(any) any) []above {
	next := make([]above, 0, len(over)+1)
	for _, a := range over {
		next = append(next, above{a.node, func(v any) any { return a.wrap(wrap(v)) }})
	}
	return append(next, above{n, wrap})
}

// probe tries values that decoders are known to refuse. A rule further up may refuse them too, such as one over a whole list: it
// counts if the same place takes a value that decodes.
func (w *walk) probe(path string, t reflect.Type, n *node, over []above) {
	takes := make([]bool, len(over))
	for i, a := range over {
		takes[i] = slices.ContainsFunc(probes, func(v any) bool { return decodes(t, v) && len(a.node.refuses(a.wrap(v))) == 0 })
	}
	for _, v := range probes {
		if len(n.refuses(v)) > 0 || decodes(t, v) {
			continue
		}
		refused := false
		for i, a := range over {
			refused = refused || takes[i] && len(a.node.refuses(a.wrap(v))) > 0
		}
		if !refused {
			text, _ := json.Marshal(v)
			w.gaps = append(w.gaps, fmt.Sprintf("%s: the schema accepts %s, which a %s cannot be read from", path, text, t))
			return
		}
	}
}

// decodes says whether what the API server would store of the value can be read into the type, and be written again.
func decodes(t reflect.Type, v any) bool {
	text, err := json.Marshal(v)
	if err != nil {
		return false
	}
	into := reflect.New(t).Interface()
	if json.Unmarshal(text, into) != nil {
		return false
	}
	_, err = json.Marshal(into)
	return err == nil
}

// sample is an object of the type that lacks no required field.
func sample(t reflect.Type) map[string]any {
	if t == reflect.TypeFor[metav1.Condition]() {
		return map[string]any{"type": "T", "status": "True", "reason": "R", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}
	}
	return map[string]any{}
}

// jsonName is the field's name in JSON; empty for one whose own fields stand in its place, "-" for one that is not written.
func jsonName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	switch {
	case !f.IsExported():
		return "-"
	case name == "" && !f.Anonymous:
		return f.Name
	}
	return name
}

// probes are values at and beyond the borders of what decoders take. The API server keeps integers that fit into 64 bits as such,
// and all other numbers as floats.
var probes = []any{
	int64(0), int64(1), int64(-1), int64(1 << 31), int64(-1<<31 - 1), int64(1<<63 - 1), int64(-1 << 63), 1e19, -1e19, 1e21, 1e300, 5.0, 1.5, true,
	"", " ", "x", "0", "-0", "+1", "1.", ".5", "1e3", "1e1.5", "1e+.5", "1e999999999", "99999999999999999999999999999999999999999", "5Gi", "-5Gi", "5gb", "1Ki1", "100m", "1d",
	"1h", "1h30m", "5 minutes", "-5m", "0s", "1e3s", "9999999999h", "1.5.5s", "10", "1y", "Inf", "NaN",
	"2026-01-31T12:00:00Z", "2026-01-31T12:00:00.1Z", "2026-01-31T12:00:00.123456Z", "2026-01-31T12:00:00+01:00", "2026-01-31t12:00:00z", "2026-01-31T12:00:00+99:99",
	"2026-01-31T12:00:00x5Z", "2026-01-31T12:00:60Z", "2026-01-31T24:00:00Z", "2026-02-30T12:00:00Z", "2026-01-31", "2026-01-31T12:00:00", "0001-01-01T00:00:00Z",
	"9999-12-31T23:59:59-23:59", "2026-01-31T12:00:00,123456Z", "2026-01-31T12:00:00.1234567890Z", "20260131T120000Z",
	[]any{}, []any{"x"}, map[string]any{}, map[string]any{"x": "y"}, map[string]any{"x": int64(1)}, nil,
}
