package protocol

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"
)

// DecodeCall reads a call. Its errors are for the agent's side, and name fields and never contents.
func DecodeCall(r io.Reader) (*Call, error) { return decode(r, MaxCall, (*Call).validate) }

// DecodeAnswer reads an answer. Its errors name fields and never contents: plans hold bootstrap data.
func DecodeAnswer(r io.Reader) (*Answer, error) { return decode(r, MaxAnswer, (*Answer).validate) }

// DecodeSeed reads a seed. Its errors name fields and never contents.
func DecodeSeed(r io.Reader) (*Seed, error) { return decode(r, maxSeed, (*Seed).Check) }

// Encode writes a message as the other side reads it, or says why it would refuse it.
func (c *Call) Encode() ([]byte, error) { return encode(c, MaxCall, (*Call).validate) }

// Encode writes a message as the other side reads it, or says why it would refuse it.
func (a *Answer) Encode() ([]byte, error) { return encode(a, MaxAnswer, (*Answer).validate) }

// Encode writes a seed as the agent reads it, or says why it would refuse it.
func (s *Seed) Encode() ([]byte, error) { return encode(s, maxSeed, (*Seed).Check) }

func encode[T any](message *T, limit int, check func(*T) error) ([]byte, error) {
	if err := check(message); err != nil {
		return nil, err
	}
	data, err := json.Marshal(message)
	if err != nil {
		return nil, fmt.Errorf("write message: %w", err)
	}
	if len(data) > limit {
		return nil, fmt.Errorf("the message has more than %d bytes", limit)
	}
	return data, nil
}

func decode[T any](r io.Reader, limit int64, check func(*T) error) (*T, error) {
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read message: %w", err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("the message has more than %d bytes", limit)
	}
	out := new(T)
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(out); err != nil {
		return nil, reading(err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("the message goes on after its end")
	}
	if err := check(out); err != nil {
		return nil, err
	}
	return out, nil
}

// reading says what is wrong without what was read: json quotes what does not fit.
func reading(err error) error {
	if kind, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Errorf("the message is not of this version: %s is no %s", kind.Field, kind.Type)
	}
	if field, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok && len(field) <= 64 {
		return fmt.Errorf("the message is not of this version: it has a field %s", field)
	}
	return errors.New("the message is no JSON of this version")
}

// checker collects what is wrong, by field.
type checker struct {
	place string
	found *[]string
}

func (v *checker) add(field, wrong string) {
	if v.found == nil {
		v.found = &[]string{}
	}
	// One broken list must not make a message of a megabyte.
	if len(*v.found) < 8 {
		*v.found = append(*v.found, strings.TrimSuffix(v.place+field, ".")+" "+wrong)
	}
}

func (v *checker) err() error {
	if v.found == nil || len(*v.found) == 0 {
		return nil
	}
	return errors.New(strings.Join(*v.found, "; "))
}

// under checks fields of a part.
func (v *checker) under(name string) *checker {
	if v.found == nil {
		v.found = new([]string)
	}
	return &checker{v.place + name + ".", v.found}
}

func (v *checker) word(field, value string, needed bool) {
	switch {
	case needed && value == "":
		v.add(field, "is missing")
	case len(value) > maxWord:
		v.add(field, fmt.Sprintf("has more than %d bytes", maxWord))
	case !utf8.ValidString(value) || strings.ContainsFunc(value, unicode.IsControl):
		v.add(field, "has characters that cannot be shown")
	}
}

func (v *checker) words(values map[string]string) {
	for _, field := range slices.Sorted(maps.Keys(values)) {
		v.word(field, values[field], false)
	}
}

func (v *checker) text(field, value string) {
	control := func(r rune) bool { return unicode.IsControl(r) && r != '\n' }
	if len(value) > maxMessage || !utf8.ValidString(value) || strings.ContainsFunc(value, control) {
		v.add(field, fmt.Sprintf("must be text of at most %d bytes", maxMessage))
	}
}

func (v *checker) count(field string, n int64) { v.between(field, n, 0, 1<<62) }

func (v *checker) positive(field string, n int64) { v.between(field, n, 1, 1<<62) }

func (v *checker) between(field string, n, low, high int64) {
	if n < low || n > high {
		v.add(field, fmt.Sprintf("must be %d to %d", low, high))
	}
}

func (v *checker) atMost(field string, n, most int) {
	if n > most {
		v.add(field, fmt.Sprintf("has more than %d entries", most))
	}
}

func (v *checker) one(field, value string, of []string) {
	if !slices.Contains(of, value) {
		v.add(field, "must be one of "+strings.Join(of, ", "))
	}
}

func (v *checker) optional(field, value string, of []string) {
	if value != "" {
		v.one(field, value, of)
	}
}

func (v *checker) digest(field, value string, needed bool) {
	if (needed || value != "") && !digestForm.MatchString(value) {
		v.add(field, "must be sha256: and 64 hex digits in lower case")
	}
}

func (v *checker) guid(field, value string) {
	if value == "" {
		return
	}
	if _, err := uuid.Parse(value); err != nil {
		v.add(field, "must be a GUID")
	}
}

func (v *checker) pem(field, text string) {
	if text == "" {
		return
	}
	if err := certificates(text); err != nil {
		v.add(field, err.Error())
	}
}

func words[T ~string](values []T) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = string(v)
	}
	return out
}

// Clean makes of what a device or a switch says a word that a Report takes: without padding, what cannot be shown, and its end
// if it is too long.
func Clean(text string) string { return strings.TrimSpace(shown(text, maxWord, "")) }

// CleanMessage makes of an error a text that Progress takes.
func CleanMessage(text string) string { return shown(text, maxMessage, "\n") }

func shown(text string, most int, but string) string {
	text = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || unicode.IsControl(r) && !strings.ContainsRune(but, r) {
			return -1
		}
		return r
	}, text)
	for len(text) > most {
		_, size := utf8.DecodeLastRuneInString(text)
		text = text[:len(text)-size]
	}
	return text
}
