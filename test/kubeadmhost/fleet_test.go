package kubeadmhost_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/beskar7/beskar7/test/emulator"
)

// TestOnEmulatedServer boots a server over Redfish, from media that its BMC
// fetches over HTTP, shuts it down in order, and cuts its power.
func TestOnEmulatedServer(t *testing.T) {
	g := NewWithT(t)
	w, s := newWorld(t), newSite(t)
	images := map[string][]byte{"/boot.iso": bootImage(t, "mode=live\n"), "/config.iso": configDrive(t, "cp1", s.initData())}
	media := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, r.URL.Path, time.Time{}, bytes.NewReader(images[r.URL.Path]))
	}))
	t.Cleanup(media.Close)
	fleet, err := emulator.New(emulator.Options{Guest: w.Guest, Timings: emulator.Timings{PowerOn: time.Millisecond, PowerOff: time.Millisecond, POST: time.Millisecond}})
	g.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { _ = fleet.Close() })
	bmc, err := fleet.Add(emulator.Spec{Name: "rack1-u1"})
	g.Expect(err).NotTo(HaveOccurred())
	send := redfish(t, fleet, bmc)

	slots := "/redfish/v1/Managers/1/VirtualMedia/"
	send("POST", slots+"CD1/Actions/VirtualMedia.InsertMedia", map[string]any{"Image": media.URL + "/boot.iso"})
	send("POST", slots+"CD2/Actions/VirtualMedia.InsertMedia", map[string]any{"Image": media.URL + "/config.iso"})
	boot := func() {
		send("PATCH", "/redfish/v1/Systems/1", map[string]any{"Boot": map[string]any{"BootSourceOverrideTarget": "Cd", "BootSourceOverrideEnabled": "Once"}})
		send("POST", "/redfish/v1/Systems/1/Actions/ComputerSystem.Reset", map[string]any{"ResetType": "On"})
		ready(t, w, "cp1")
	}
	off := func(kind string) {
		send("POST", "/redfish/v1/Systems/1/Actions/ComputerSystem.Reset", map[string]any{"ResetType": kind})
		g.Eventually(func() emulator.PowerState { return bmc.State().Power }, 10*time.Second, 10*time.Millisecond).Should(Equal(emulator.Off))
		g.Expect(node(w, "cp1").Ready).To(BeFalse())
	}
	boot()
	g.Expect(node(w, "cp1").Server).To(Equal("rack1-u1"))
	off("GracefulShutdown")
	boot()
	off("ForceOff")
}

// redfish gives a function that sends one request and expects success.
func redfish(t *testing.T, fleet *emulator.Fleet, bmc *emulator.BMC) func(method, path string, body any) {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(fleet.CAPEM())
	transport := &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}}
	t.Cleanup(transport.CloseIdleConnections)
	return func(method, path string, body any) {
		t.Helper()
		blob, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		request, err := http.NewRequestWithContext(t.Context(), method, bmc.URL()+path, bytes.NewReader(blob))
		if err != nil {
			t.Fatal(err)
		}
		request.SetBasicAuth(bmc.Username(), bmc.Password())
		request.Header.Set("Content-Type", "application/json")
		response, err := (&http.Client{Transport: transport}).Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode >= 300 {
			t.Fatalf("%s %s: %s", method, path, response.Status)
		}
	}
}
