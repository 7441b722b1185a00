package redfish

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
)

// The types of this file decode whatever a BMC writes where the schema wants
// something else: a number as a string, an object where a list belongs, null.
// A field that cannot be understood is left zero; it never spoils its document.

// text is a string; numbers are taken by their spelling.
type text string

// UnmarshalJSON never fails.
func (t *text) UnmarshalJSON(b []byte) error {
	*t = ""
	switch c := b[0]; {
	case c == '"':
		var s string
		if json.Unmarshal(b, &s) == nil {
			*t = text(strings.TrimSpace(s))
		}
	case c == '-' || c >= '0' && c <= '9':
		*t = text(b)
	}
	return nil
}

// member is a text of which it matters whether the document has it at all, be it
// null.
type member struct {
	text  text
	there bool
}

// UnmarshalJSON never fails.
func (m *member) UnmarshalJSON(b []byte) error {
	m.there = true
	return m.text.UnmarshalJSON(b)
}

// number is a finite number, also when it was written as a string.
type number float64

// UnmarshalJSON never fails.
func (n *number) UnmarshalJSON(b []byte) error {
	*n = 0
	f, err := strconv.ParseFloat(strings.TrimSpace(strings.Trim(string(b), `"`)), 64)
	if err == nil && !math.IsNaN(f) && !math.IsInf(f, 0) {
		*n = number(f)
	}
	return nil
}

// count is n as a non-negative int.
func (n number) count() int {
	if n < 0 || n > math.MaxInt32 {
		return 0
	}
	return int(n)
}

// flag is a boolean, also when it was written as a string.
type flag bool

// UnmarshalJSON never fails.
func (f *flag) UnmarshalJSON(b []byte) error {
	*f = flag(strings.EqualFold(strings.Trim(string(b), `"`), "true"))
	return nil
}

// list skips elements that are null or undecodable; a single object counts as a
// list of one (older iDRACs write ExtendedInfo so).
type list[T any] []T

// UnmarshalJSON never fails.
func (l *list[T]) UnmarshalJSON(b []byte) error {
	*l = nil
	var raw []json.RawMessage
	switch b[0] {
	case '[':
		if json.Unmarshal(b, &raw) != nil {
			return nil //nolint:nilerr // an unreadable list is an empty one
		}
	case '{', '"':
		raw = []json.RawMessage{b}
	}
	for _, element := range raw {
		var v T
		if !bytes.Equal(element, []byte("null")) && json.Unmarshal(element, &v) == nil {
			*l = append(*l, v)
		}
	}
	return nil
}

// object holds a T where the document has an object, a zero T elsewhere.
type object[T any] struct {
	v T
	// there: the document has the object, perhaps an empty one.
	there bool
}

// UnmarshalJSON never fails.
func (o *object[T]) UnmarshalJSON(b []byte) error {
	var v T
	if b[0] == '{' && json.Unmarshal(b, &v) == nil {
		o.v, o.there = v, true
	}
	return nil
}

// link is a reference as {"@odata.id": "/redfish/..."} or as a plain string.
type link string

// UnmarshalJSON never fails.
func (l *link) UnmarshalJSON(b []byte) error {
	*l = ""
	var ref struct {
		ID text `json:"@odata.id"`
	}
	switch b[0] {
	case '{':
		if json.Unmarshal(b, &ref) == nil {
			*l = link(ref.ID)
		}
	case '"':
		if ref.ID.UnmarshalJSON(b) == nil {
			*l = link(ref.ID)
		}
	}
	return nil
}

// decode reads one JSON object. Errors never quote the body.
func decode(body []byte, into any) error {
	body = bytes.TrimSpace(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")))
	switch {
	case len(body) == 0:
		return errors.New("the answer is empty")
	case body[0] == '<':
		return errors.New("the answer is a web page, not Redfish: check address and port")
	case body[0] != '{':
		return errors.New("the answer is not a JSON object")
	}
	if err := json.Unmarshal(body, into); err != nil {
		return errors.New("the answer is cut off or not valid JSON")
	}
	return nil
}

// strs turns texts into plain strings, without empty ones and repeats.
func strs(in []text) []string {
	var out []string
	seen := map[text]bool{"": true}
	for _, t := range in {
		if !seen[t] {
			seen[t] = true
			out = append(out, string(t))
		}
	}
	return out
}

// keys are the names in an object.
type keys []string

// UnmarshalJSON never fails.
func (k *keys) UnmarshalJSON(b []byte) error {
	*k = nil
	var o object[map[string]json.RawMessage]
	_ = o.UnmarshalJSON(b) // never fails
	for name := range o.v {
		if len(*k) < maxNamed {
			*k = append(*k, name)
		}
	}
	slices.Sort(*k)
	return nil
}
