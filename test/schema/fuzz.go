package schema

import (
	"math/rand/v2"
	"regexp/syntax"
	"slices"
	"strings"
)

// Fuzz makes a random object that the kind's schema and rules accept, without kind, name and namespace. The same source of
// randomness makes the same object.
func (k Kind) Fuzz(random *rand.Rand) map[string]any {
	f := fuzz{random}
	for {
		object := map[string]any{}
		for name, n := range k.root.properties {
			if name == "spec" || name == "status" {
				if v, ok := f.value(n); ok {
					object[name] = v
				}
			}
		}
		// Rules may speak of parts that are fine by themselves, and not together.
		if len(k.root.refuses(object)) == 0 {
			return object
		}
	}
}

type fuzz struct{ *rand.Rand }

// tries is how often a value is sought before a field does without.
const tries = 30

// value is one that its place accepts; false: none was found.
func (f fuzz) value(n *node) (any, bool) {
	for try := range tries {
		v, ok := f.candidate(n, try)
		if ok && len(n.refuses(v)) == 0 {
			return v, true
		}
	}
	return nil, false
}

// candidate is of the right shape mostly. With each try an object has fewer of the fields that it may do without.
func (f fuzz) candidate(n *node, try int) (any, bool) {
	s := n.structural
	switch {
	case f.IntN(8) == 0: // also where something else is wanted
		return probes[f.IntN(len(probes))], true
	case s.ValueValidation != nil && len(s.ValueValidation.Enum) > 0:
		return s.ValueValidation.Enum[f.IntN(len(s.ValueValidation.Enum))].Object, true
	case len(n.properties) > 0:
		return f.object(n, try)
	case n.values != nil:
		return f.mapping(n)
	case n.items != nil:
		return f.list(n), true
	case s.Type == "boolean":
		return f.IntN(2) == 0, true
	case s.Type == "integer" || s.XIntOrString && f.IntN(3) == 0:
		return f.integer(n), true
	}
	return f.text(n), true
}

func (f fuzz) object(n *node, try int) (any, bool) {
	object := map[string]any{}
	for _, name := range sortedKeys(n.properties) {
		required := n.structural.ValueValidation != nil && slices.Contains(n.structural.ValueValidation.Required, name)
		if !required && f.IntN(tries) < 10+try {
			continue
		}
		v, ok := f.value(n.properties[name])
		if ok {
			object[name] = v
		} else if required {
			return nil, false
		}
	}
	return object, true
}

func (f fuzz) mapping(n *node) (any, bool) {
	object := map[string]any{}
	for range f.IntN(3) {
		v, ok := f.value(n.values)
		if !ok {
			return nil, false
		}
		object[f.word()] = v
	}
	return object, true
}

func (f fuzz) list(n *node) any {
	list := []any{}
	for range f.IntN(4) {
		if v, ok := f.value(n.items); ok {
			list = append(list, v)
		}
	}
	return list
}

// integer is near a border: of the field, of 32 or of 64 bits.
func (f fuzz) integer(n *node) any {
	borders := []int64{0, 1<<31 - 1, -1 << 31, 1<<53 - 1, 1<<62 - 1}
	if v := n.structural.ValueValidation; v != nil && v.Minimum != nil {
		borders = append(borders, int64(*v.Minimum))
	}
	if v := n.structural.ValueValidation; v != nil && v.Maximum != nil {
		borders = append(borders, int64(*v.Maximum))
	}
	at := borders[f.IntN(len(borders))] + int64(f.IntN(5)) - 2
	if f.IntN(8) == 0 {
		return float64(at)
	}
	return at
}

// text fits the pattern of the field, or is of a form that some field wants, now and then with a letter changed.
func (f fuzz) text(n *node) string {
	text := forms[f.IntN(len(forms))]
	if v := n.structural.ValueValidation; v != nil && v.Pattern != "" && f.IntN(2) == 0 {
		if parsed, err := syntax.Parse(v.Pattern, syntax.Perl); err == nil {
			b := &strings.Builder{}
			f.fit(b, parsed)
			text = b.String()
		}
	}
	if len(text) > 0 && f.IntN(4) == 0 {
		i := f.IntN(len(text))
		text = text[:i] + string(letters[f.IntN(len(letters))]) + text[i+f.IntN(2):]
	}
	return text
}

// fit writes a text that a regular expression matches.
func (f fuzz) fit(b *strings.Builder, r *syntax.Regexp) {
	repeat := func(least, most int) {
		for range least + f.IntN(most-least+1) {
			f.fit(b, r.Sub[0])
		}
	}
	switch r.Op {
	case syntax.OpLiteral:
		b.WriteString(string(r.Rune))
	case syntax.OpCharClass:
		i := 2 * f.IntN(len(r.Rune)/2)
		low, high := r.Rune[i], min(r.Rune[i+1], r.Rune[i]+100)
		b.WriteRune(low + rune(f.IntN(int(high-low)+1)))
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		b.WriteByte(letters[f.IntN(len(letters))])
	case syntax.OpStar:
		repeat(0, 4)
	case syntax.OpPlus:
		repeat(1, 5)
	case syntax.OpQuest:
		repeat(0, 1)
	case syntax.OpRepeat:
		repeat(r.Min, max(r.Min, r.Max))
	case syntax.OpAlternate:
		f.fit(b, r.Sub[f.IntN(len(r.Sub))])
	case syntax.OpConcat, syntax.OpCapture:
		for _, sub := range r.Sub {
			f.fit(b, sub)
		}
	default: // the beginning, the end, nothing
	}
}

func (f fuzz) word() string { return "w" + string(letters[f.IntN(26)]) + string(letters[f.IntN(26)]) }

const letters = "abcdefghijklmnopqrstuvwxyzABCZ0123456789.:-+/%\\ \"'\u00b5"

// forms are what fields want that have no pattern to say so.
var forms = []string{"", "a", "some-name", "10s", "1h30m", "250ms", "1.5h", "5m", "2026-01-31T12:00:00Z", "2027-12-01T01:02:03.456789+05:30", "192.0.2.10/24", "fd00::5/64", "192.0.2.1",
	"fd00::1", "::ffff:192.0.2.1", "16Gi", "500G", "1e3", "0.5Ti", "linux", "https://192.0.2.1", "https://images.example.com/a.iso", "True", "Ready", "In", "Exists", "InternalIP", "amd64"}

func sortedKeys(m map[string]*node) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
