package main

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"testing"
	"time"

	"github.com/beskar7/beskar7/pkg/redfish"
	"github.com/beskar7/beskar7/test/emulator"
)

// TestLives leads a few lives of the matrix: one undisturbed, and some under faults that end soon.
func TestLives(t *testing.T) {
	s, err := newSite()
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	for _, of := range []part{{"generic", "token-refused"}, {"generic", "status"}, {"dell-idrac9", "medium-gone"}, {"hpe-ilo6", "reboot"}, {"supermicro-x10", "idle-drop"}} {
		lives := s.lives(t.Context(), of)
		if len(lives) != 1 {
			t.Fatalf("%d lives of %+v", len(lives), of)
		}
		for _, what := range lives[0].broken {
			t.Errorf("%+v: %s", of, what)
		}
	}
}

// TestExpectationsAreOfFaultsThatAre: a row that nobody asks for is of a fault that was renamed.
func TestExpectationsAreOfFaultsThatAre(t *testing.T) {
	known, personas := map[string]bool{}, map[string]bool{}
	for _, f := range trials(true) {
		known[f.name] = true
	}
	for _, p := range emulator.Personas() {
		personas[p] = true
	}
	for name, e := range expected {
		if !known[name] {
			t.Errorf("there is no fault %s", name)
		}
		if n := len(e.operations); n > 1 && n != 8 {
			t.Errorf("%s: %d operations", name, n)
		}
		for p := range e.except {
			if !personas[p] {
				t.Errorf("%s: there is no persona %s", name, p)
			}
		}
	}
}

func TestLiesAreNoticed(t *testing.T) {
	image := "https://h/t/boot.iso"
	rest := emulator.State{Power: emulator.Off, Override: emulator.Override{Target: "None", Enabled: "Disabled"}}
	full, on, once, byVendor := rest, rest, rest, rest
	full.Slots = []emulator.SlotState{{ID: "1", Inserted: true, Image: image}}
	on.Power = emulator.On
	once.Override = emulator.Override{Target: "Cd", Enabled: "Once"}
	byVendor.OnceOEM = "Cd"
	for _, c := range []struct {
		operation string
		truth     emulator.State
		lie       bool
	}{
		{"insert", rest, true}, {"insert", full, false}, {"boot once", full, true}, {"boot once", once, true}, {"power on", rest, true},
		{"power on", on, false}, {"forced off", on, true}, {"graceful off", on, true}, {"eject", full, true}, {"eject", rest, false},
		{"release", rest, false}, {"release", full, true}, {"release", on, true}, {"release", once, true}, {"release", byVendor, true},
	} {
		if lie := lieAbout(c.operation, c.truth, image); (lie != "") != c.lie {
			t.Errorf("%s with %+v: %q", c.operation, c.truth, lie)
		}
	}
}

// trusting is a plain client for the BMCs.
func (s *site) trusting() *http.Client {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.fleet.CAPEM())
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}}
}

// TestHarmIsNoticed does to BMCs what no driver may.
func TestHarmIsNoticed(t *testing.T) {
	s, err := newSite()
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	hasty, err := s.fleet.Add(emulator.Spec{Name: "hasty"})
	if err != nil {
		t.Fatal(err)
	}
	pool := redfish.NewPool(redfish.Options{})
	target := redfish.Target{Address: hasty.URL(), Username: hasty.Username(), Password: redfish.Password(hasty.Password()), CABundle: s.fleet.CAPEM()}
	client, err := pool.BMC(target)
	if err != nil {
		t.Fatal(err)
	}
	for _, reset := range []redfish.ResetType{redfish.ResetOn, redfish.ResetForceOff} {
		if err := client.Reset(t.Context(), reset); err != nil {
			t.Fatal(err)
		}
	}
	if broken := harm(hasty, 0); len(broken) > 0 {
		t.Errorf("two changes one after the other: %q", broken)
	}
	if broken := harm(hasty, time.Hour); len(broken) != 1 {
		t.Errorf("two changes within the cooldown: %q", broken)
	}
	if left(hasty, 0) == "" {
		t.Error("an open session is not noticed")
	}
	if err := pool.Close(t.Context()); err != nil || left(hasty, 0) != "" {
		t.Errorf("%v, %s", err, left(hasty, 0))
	}
	guessed, err := s.fleet.Add(emulator.Spec{Name: "guessed"})
	if err != nil {
		t.Fatal(err)
	}
	for range maxWrong + 1 {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, guessed.URL()+"/redfish/v1/Systems", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth(guessed.Username(), "wrong")
		answer, err := s.trusting().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
	}
	if broken := harm(guessed, 0); len(broken) != 1 {
		t.Errorf("guessed passwords: %q", broken)
	}
}
