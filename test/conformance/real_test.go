package main

import (
	"testing"

	"github.com/beskar7/beskar7/test/emulator"
)

// TestADryRunChangesNothing tries BMCs as a person tries a real one: by environment variables, on a server that is in use.
func TestADryRunChangesNothing(t *testing.T) {
	s, err := newSite()
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	for _, persona := range []string{"generic", "dell-idrac9", "supermicro-x10", "ami-megarac", "lenovo-xcc"} {
		b, err := s.fleet.Add(emulator.Spec{Name: persona, Persona: persona, InitialPower: string(emulator.On)})
		if err != nil {
			t.Fatal(err)
		}
		t.Setenv("BESKAR7_BMC_ADDRESS", b.URL())
		t.Setenv("BESKAR7_BMC_USERNAME", b.Username())
		t.Setenv("BESKAR7_BMC_PASSWORD", b.Password())
		t.Setenv("BESKAR7_BMC_INSECURE", "true")
		before := b.State()
		if bad, err := run(t.Context(), part{}, false, t.TempDir()+"/not-written.md"); err != nil || bad > 0 {
			t.Errorf("%s: %d cells are bad, %v", persona, bad, err)
		}
		reads := 0
		for _, c := range b.RequestLog() {
			if !c.Read() && !c.Session && !c.Login || c.Changed && !c.Session {
				t.Errorf("%s: %s %s was sent", persona, c.Method, c.Path)
			}
		}
		for path, n := range b.Requests().ByPath {
			if len(path) > 3 && path[:3] == "GET" {
				reads += n
			}
		}
		after := b.State()
		if reads == 0 || after.Power != before.Power || after.Override != before.Override || !empty(after) || after.Sessions != 0 {
			t.Errorf("%s: %d reads, then %+v", persona, reads, after)
		}
	}
}

// TestADryRunTellsWhatIsWrong: a password that is refused is one bad cell, and no reason to try again.
func TestADryRunTellsWhatIsWrong(t *testing.T) {
	s, err := newSite()
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	b, err := s.fleet.Add(emulator.Spec{Name: "wrong"})
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("BESKAR7_BMC_ADDRESS", b.URL())
	t.Setenv("BESKAR7_BMC_USERNAME", b.Username())
	t.Setenv("BESKAR7_BMC_PASSWORD", "wrong")
	t.Setenv("BESKAR7_BMC_INSECURE", "true")
	if bad, err := run(t.Context(), part{}, false, ""); err != nil || bad != 1 {
		t.Errorf("%d cells are bad, %v", bad, err)
	}
	if n := b.Requests().Unauthorized; n != 1 {
		t.Errorf("%d log-ins were refused", n)
	}
}
