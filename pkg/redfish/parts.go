package redfish

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/stmcginnis/gofish/schemas"
)

// shape names the properties of a resource that are read, by the type the
// schema gives them.
type shape struct {
	texts, numbers, objects []string
	// drive: also how a drive is named for good, and where it is.
	drive bool
}

var (
	processorShape = shape{
		texts:   []string{"Id", "Name", "Manufacturer", "Model", "InstructionSet", "ProcessorArchitecture", "ProcessorType"},
		numbers: []string{"TotalCores", "TotalThreads"}, objects: []string{"Status"},
	}
	memoryShape = shape{texts: []string{"Id"}, numbers: []string{"CapacityMiB"}, objects: []string{"Status"}}
	driveShape  = shape{
		texts:   []string{"Id", "Name", "Model", "SerialNumber", "MediaType", "Protocol"},
		numbers: []string{"CapacityBytes", "BlockSizeBytes"}, objects: []string{"Status"}, drive: true,
	}
)

// repair keeps the properties of the shape and brings them to their type, so
// that one wrongly typed field does not spoil gofish's typed decoding.
func (s shape) repair(body []byte) ([]byte, error) {
	var raw map[string]json.RawMessage
	if err := decode(body, &raw); err != nil {
		return nil, err
	}
	clean := map[string]any{}
	for _, name := range s.texts {
		if v := raw[name]; len(v) > 0 {
			var t text
			_ = t.UnmarshalJSON(v) // never fails
			clean[name] = string(t)
		}
	}
	for _, name := range s.numbers {
		if v := raw[name]; len(v) > 0 {
			var n number
			_ = n.UnmarshalJSON(v) // never fails
			if n > 0 && n < 1<<53 {
				clean[name] = int64(n)
			}
		}
	}
	for _, name := range s.objects {
		var o object[map[string]json.RawMessage]
		if v := raw[name]; len(v) > 0 && o.UnmarshalJSON(v) == nil {
			var state text
			if inner := o.v["State"]; len(inner) > 0 {
				_ = state.UnmarshalJSON(inner) // never fails
			}
			clean[name] = map[string]any{"State": string(state)}
		}
	}
	if s.drive {
		var d driveDoc
		_ = json.Unmarshal(body, &d) // what cannot be understood stays empty
		clean["Identifiers"], clean["PhysicalLocation"] = d.named()
	}
	return json.Marshal(clean)
}

// decodePart is gofish's typed decoding of a repaired body.
func decodePart[T any, P schemas.GenericSchemaObjectPointer[T]](body []byte, s shape) (*T, error) {
	clean, err := s.repair(body)
	if err != nil {
		return nil, err
	}
	v, err := schemas.DecodeGenericEntity[T, P](nil, &http.Response{Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(clean))})
	if err != nil {
		return nil, errors.New("the part cannot be decoded")
	}
	return v, nil
}

// decoder turns the body of a part into what is read of it.
type decoder[T any] func(body []byte) (*T, error)

// typed decodes with gofish's type.
func typed[T any, P schemas.GenericSchemaObjectPointer[T]](s shape) decoder[T] {
	return func(body []byte) (*T, error) { return decodePart[T, P](body, s) }
}

// own decodes with a document of this package.
func own[T any](body []byte) (*T, error) {
	v := new(T)
	return v, decode(body, v)
}

// part reads one resource.
func part[T any](ctx context.Context, c *client, op, path string, read decoder[T]) (*T, error) {
	return remembered(c, path, func() (*T, error) {
		resp, err := c.conn.do(ctx, request{op: op, method: http.MethodGet, link: path})
		if err != nil {
			return nil, err
		}
		v, err := read(resp.body)
		if err != nil {
			return nil, c.conn.fail(op, &Error{Kind: KindProtocol, Message: err.Error()})
		}
		return v, nil
	})
}

// parts reads every member of a collection; unreadable ones are left out.
func parts[T any](ctx context.Context, c *client, op string, collection link, read decoder[T]) ([]*T, error) {
	if collection == "" {
		return nil, nil
	}
	if out, ok, err := expanded(ctx, c, op, string(collection), read); ok || err != nil {
		return out, err
	}
	paths, err := c.listed(ctx, op, string(collection))
	if err != nil {
		return nil, err
	}
	var out []*T
	for _, path := range paths {
		v, err := part(ctx, c, op, path, read)
		if err != nil {
			if leftOut(err) {
				continue
			}
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

// expanded reads a collection with its members in one request where the BMC says
// that it can. ok is false where it has to be read one by one after all.
func expanded[T any](ctx context.Context, c *client, op, collection string, read decoder[T]) (out []*T, ok bool, err error) {
	root, rootErr := c.conn.serviceRoot(ctx)
	if rootErr != nil {
		return nil, false, c.conn.fail(op, rootErr)
	}
	if !root.Features.v.Expand.v.NoLinks {
		return nil, false, nil
	}
	type result struct {
		members []*T
		whole   bool
	}
	got, err := remembered(c, collection+" expanded", func() (result, error) {
		var doc struct {
			Members list[json.RawMessage]
			Next    text   `json:"Members@odata.nextLink"`
			Count   number `json:"Members@odata.count"`
		}
		if _, err := c.conn.get(ctx, op, collection+"?$expand=.", &doc); err != nil {
			return result{}, err
		}
		if doc.Next != "" || doc.Count.count() != len(doc.Members) || len(doc.Members) > maxMembers {
			return result{}, nil
		}
		var members []*T
		for _, raw := range doc.Members {
			var names keys
			_ = names.UnmarshalJSON(raw) // never fails
			v, err := read(raw)
			if err != nil || len(names) < 2 {
				return result{}, nil //nolint:nilerr // a bare link: it was not expanded
			}
			members = append(members, v)
		}
		return result{members, true}, nil
	})
	if err != nil && !leftOut(err) {
		return nil, false, err
	}
	return got.members, got.whole, nil
}

// readingFor is how long what was read counts for an inventory that goes on.
const readingFor = 10 * time.Minute

// reading is an inventory under way: what was read before it was interrupted.
type reading struct {
	begun time.Time
	parts map[string]any // decoded, by path
}

// remembered reads what this inventory has not read yet. What was found missing
// or unreadable stays so until the next one.
func remembered[T any](c *client, key string, read func() (T, error)) (T, error) {
	c.mu.Lock()
	if c.reading.parts == nil || time.Since(c.reading.begun) > readingFor {
		c.reading = reading{begun: time.Now(), parts: map[string]any{}}
	}
	parts := c.reading.parts
	have := parts[key]
	c.mu.Unlock()
	switch have := have.(type) {
	case T:
		return have, nil
	case *Error:
		var none T
		return none, have
	}
	v, err := read()
	if e, ok := asError(err); err == nil || ok && leftOut(err) {
		c.mu.Lock()
		if parts[key] = v; err != nil {
			parts[key] = e
		}
		c.mu.Unlock()
	}
	return v, err
}

// listed is the members of a collection, as this inventory first saw them.
func (c *client) listed(ctx context.Context, op, collection string) ([]string, error) {
	return remembered(c, collection, func() ([]string, error) {
		paths, _, err := c.members(ctx, op, collection)
		return paths, err
	})
}

func (c *client) endReading() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reading = reading{}
}
