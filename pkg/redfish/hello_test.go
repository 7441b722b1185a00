package redfish

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"testing"
)

// A first message of more than one packet (1,460 bytes) is what old TLS stacks hang on.
func TestTheFirstMessageOfAHandshakeFitsOnePacket(t *testing.T) {
	var offered []tls.CurveID
	s := newServer(t, func(h http.Handler) *httptest.Server {
		srv := httptest.NewUnstartedServer(h)
		srv.TLS = &tls.Config{GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			offered = hello.SupportedCurves
			return nil, nil
		}}
		srv.StartTLS()
		return srv
	})
	target := testTarget(s)
	target.InsecureSkipVerify = true
	b, _ := connect(t, target)
	if _, err := b.State(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(offered) == 0 {
		t.Fatal("the server saw no handshake")
	}
	for _, id := range offered {
		switch id {
		case tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521: // at most 133 bytes
		default:
			t.Errorf("%s is offered: its key share takes more than a kilobyte", id)
		}
	}
}
