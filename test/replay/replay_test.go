package replay

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/beskar7/beskar7/pkg/redfish"
)

// observed is what the driver makes of a capture.
func observed(t *testing.T, name, system string) Expectation {
	t.Helper()
	capture, err := Load(name)
	if err != nil {
		t.Fatal(err)
	}
	s := Serve(capture)
	t.Cleanup(s.Close)
	b := connected(t, s, system)
	got, err := Observe(t.Context(), b, s)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func connected(t *testing.T, s *Server, system string) redfish.BMC {
	t.Helper()
	pool := redfish.NewPool(redfish.Options{})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := pool.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	b, err := pool.BMC(s.Target(system))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestTheDriverReadsWhatIsThere holds the driver against what a person reads in the captures.
func TestTheDriverReadsWhatIsThere(t *testing.T) {
	for _, want := range Expectations() {
		t.Run(want.Capture, func(t *testing.T) {
			got := observed(t, want.Capture, want.System)
			got.Capture, got.System, got.Notes = want.Capture, want.System, want.Notes
			got.Problems = toldOf(t, want.Problems, got.Problems)
			w, g := reflect.ValueOf(want), reflect.ValueOf(got)
			for i := range w.NumField() {
				a, b := lines(w.Field(i).Interface()), lines(g.Field(i).Interface())
				if a != b {
					t.Errorf("%s\n  a person reads %s\n  the driver     %s", w.Type().Field(i).Name, a, b)
				}
			}
		})
	}
}

// toldOf replaces each problem by the beginning that was expected of it.
func toldOf(t *testing.T, want, got []string) []string {
	t.Helper()
	var out []string
	for _, g := range got {
		if strings.HasPrefix(g, "reset type ") {
			continue // they are listed in a document that was not captured
		}
		i := slices.IndexFunc(want, func(w string) bool { return strings.HasPrefix(g, w) })
		if i < 0 {
			out = append(out, g)
			continue
		}
		out = append(out, want[i])
	}
	return out
}

func lines(v any) string {
	if list, ok := v.([]string); ok {
		return strings.Join(list, "\n                 ")
	}
	return fmt.Sprint(v)
}

// TestASystemIsNotGuessed: a board of GPUs beside the server is a system too; which one is meant is said by a person.
func TestASystemIsNotGuessed(t *testing.T) {
	for _, want := range Expectations() {
		if want.System == "" {
			continue
		}
		capture, err := Load(want.Capture)
		if err != nil {
			t.Fatal(err)
		}
		s := Serve(capture)
		t.Cleanup(s.Close)
		if _, err := connected(t, s, "").State(t.Context()); err == nil || !strings.Contains(err.Error(), want.System) {
			t.Errorf("%s without a systemID: %v, want an error that names %s", want.Capture, err, want.System)
		}
	}
}

// TestOtherCapturesAreUnderstood serves what else is in the directory of captures, such as one that a user sent.
func TestOtherCapturesAreUnderstood(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(os.Getenv(Directory), "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		if slices.ContainsFunc(Expectations(), func(e Expectation) bool { return e.Capture == name }) {
			continue
		}
		capture, err := Open(file)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		s := Serve(capture)
		t.Cleanup(s.Close)
		got, err := Observe(t.Context(), connected(t, s, os.Getenv("BESKAR7_SYSTEM")), s)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		t.Logf("%s: %+v", name, got)
	}
}

// TestACaptureIsNotChanged: what would change it is refused, and told.
func TestACaptureIsNotChanged(t *testing.T) {
	s := Serve(Capture{"/redfish/v1/Systems/1": []byte(`{"PowerState":"Off"}`)})
	defer s.Close()
	for _, method := range []string{http.MethodPost, http.MethodPatch, http.MethodPut, http.MethodDelete} {
		req, err := http.NewRequestWithContext(t.Context(), method, s.URL+"/redfish/v1/Systems/1/", strings.NewReader(`{"a":1}`))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := s.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if sent := s.Sent(); resp.StatusCode != http.StatusMethodNotAllowed || len(sent) != 1 || sent[0] != method+` /redfish/v1/Systems/1 {"a":1}` {
			t.Errorf("%s: %d, %q", method, resp.StatusCode, sent)
		}
	}
	if read := s.Read(); len(read) > 0 {
		t.Errorf("read %q", read)
	}
}

// TestReducedCapturesAreTheWholeOnesReduced fails when the program and its results part.
func TestReducedCapturesAreTheWholeOnesReduced(t *testing.T) {
	for _, want := range Expectations() {
		have, err := reduced.ReadFile("testdata/" + want.Capture + ".json")
		if err != nil {
			t.Fatal(err)
		}
		source, err := parse(have, nil)
		if whole := filepath.Join(os.Getenv(Directory), want.Capture+".json"); os.Getenv(Directory) != "" {
			source, err = Open(whole)
		}
		if err != nil {
			t.Fatal(err)
		}
		again, err := Reduce(source)
		if err != nil {
			t.Fatal(err)
		}
		if os.Getenv(Directory) != "" && !bytes.Equal(again, have) {
			t.Errorf("%s: run go run ./replay/reduce", want.Capture)
		}
		if len(again) != len(have) {
			t.Errorf("%s: holds what nobody uses", want.Capture)
		}
	}
}
