package agent_test

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/beskar7/beskar7/pkg/agent"
	"github.com/beskar7/beskar7/pkg/agent/protocol"
)

func TestTheClockIsSetFromAnAnswer(t *testing.T) {
	g := newRig(t)
	g.manager.time = time.Date(2031, 5, 1, 12, 0, 0, 0, time.UTC)
	if err := g.run(); err != nil {
		t.Fatal(err)
	}
	if !g.server.Clock().Equal(g.manager.time) {
		t.Errorf("the clock is %v", g.server.Clock())
	}
	g = newRig(t)
	if err := g.run(); err != nil || !g.server.Clock().IsZero() {
		t.Errorf("a clock that is right is set: %v, %v", g.server.Clock(), err)
	}
}

func TestOnlyTheAuthorityIsBelieved(t *testing.T) {
	ca, other := newAuthority(t, 2019), newAuthority(t, 2019)
	for name, c := range map[string]struct {
		seed protocol.Seed
		good bool
	}{
		"the authority":                 {protocol.Seed{CA: ca.pem}, true},
		"by its digest":                 {protocol.Seed{CADigest: ca.digest}, true},
		"another one":                   {protocol.Seed{CA: other.pem}, false},
		"another digest":                {protocol.Seed{CADigest: other.digest}, false},
		"one of two":                    {protocol.Seed{CA: other.pem + ca.pem}, true},
		"another name than was dialled": {protocol.Seed{CA: ca.pem, Endpoint: "localhost"}, false},
	} {
		g := newRig(t)
		s := httptest.NewUnstartedServer(g.manager)
		s.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes are meant to fail
		s.TLS = &tls.Config{Certificates: []tls.Certificate{ca.serve}, MinVersion: tls.VersionTLS12}
		s.StartTLS()
		g.manager.answer = func(_ *protocol.Call, a *protocol.Answer) { a.Verdict, a.Plan = protocol.VerdictDone, nil }
		seed := c.seed
		seed.Capability = capability
		if seed.Endpoint = s.URL; c.seed.Endpoint != "" {
			seed.Endpoint = strings.Replace(s.URL, "127.0.0.1", c.seed.Endpoint, 1)
		}
		g.options.Seed = &seed
		ctx, cancel := context.WithCancel(t.Context())
		g.options.Log = func(line string) { // the first failure is enough: it would try for ever
			if strings.HasPrefix(line, "call the manager") {
				cancel()
			}
		}
		err := agent.Run(ctx, g.options)
		cancel()
		if c.good != (len(g.manager.heard()) == 1) || c.good != (err == nil) {
			t.Errorf("%s: %v, %d calls", name, err, len(g.manager.heard()))
		}
		s.Close()
	}
}
