package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"time"

	"github.com/beskar7/beskar7/pkg/redfish"
	"github.com/beskar7/beskar7/pkg/redfish/redfishtest"
	"github.com/beskar7/beskar7/test/emulator"
)

// site is the fleet and the servers of images.
type site struct {
	fleet         *emulator.Fleet
	images, plain *httptest.Server
}

// plainOnly are personas that fetch images by http and by nothing safer; some others take https only.
var plainOnly = map[string]bool{"supermicro-x10": true}

func newSite() (*site, error) {
	image := make([]byte, 40<<10)
	copy(image[16*2048:], "\x01CD001")
	serve := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "boot.iso", time.Time{}, bytes.NewReader(image))
	})
	images, plain := httptest.NewTLSServer(serve), httptest.NewServer(serve)
	trust := x509.NewCertPool()
	trust.AddCert(images.Certificate())
	fleet, err := emulator.New(emulator.Options{MediaTrust: trust, Timings: emulator.Timings{
		PowerOn: 20 * time.Millisecond, PowerOff: 20 * time.Millisecond, POST: 20 * time.Millisecond, Request: time.Microsecond}})
	if err != nil {
		images.Close()
		plain.Close()
		return nil, err
	}
	return &site{fleet: fleet, images: images, plain: plain}, nil
}

func (s *site) close() {
	_ = s.fleet.Close()
	s.images.Close()
	s.plain.Close()
}

// boards are personas that show a board with GPUs as another system, so that the server has to be named.
var boards = map[string]bool{"nvidia-dgx": true, "nvidia-gb200": true}

// systemID is what a user writes in spec.redfishConnection.systemID, where that has to be.
func systemID(bmc *emulator.BMC, persona string) string {
	if boards[persona] {
		return bmc.SystemID()
	}
	return ""
}

// harness is a fresh server with the driver in front of it.
func (s *site) harness(name, persona string, fault trial) (redfishtest.Harness, func() error, error) {
	bmc, err := s.fleet.Add(emulator.Spec{Name: name, Persona: persona})
	if err != nil {
		return redfishtest.Harness{}, nil, err
	}
	w := &world{bmc: bmc, image: s.images.URL + "/token/boot.iso"}
	if plainOnly[persona] {
		w.image = s.plain.URL + "/token/boot.iso"
	}
	bmc.SetGuest(w)
	pool := redfish.NewPool(redfish.Options{})
	client, err := pool.BMC(redfish.Target{Address: bmc.URL(), SystemID: systemID(bmc, persona), Username: bmc.Username(), Password: redfish.Password(bmc.Password()), CABundle: s.fleet.CAPEM(),
		Timeouts: fault.timeouts()})
	if err != nil {
		return redfishtest.Harness{}, nil, err
	}
	return redfishtest.Harness{BMC: client, Control: w}, func() error {
		if !fault.innate() {
			bmc.ClearFaults()
		}
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		return pool.Close(ctx)
	}, nil
}

// world is what is around one emulated server.
type world struct {
	bmc   *emulator.BMC
	image string
	osUp  atomic.Bool
}

// Run is the server's software: it shuts down only while SetOSUp says so.
func (w *world) Run(ctx context.Context, boot emulator.Boot) error {
	select {
	case <-boot.Shutdown:
		if w.osUp.Load() {
			return nil
		}
		<-ctx.Done()
	case <-ctx.Done():
	}
	return ctx.Err()
}

func (w *world) ImageURL() string { return w.image }
func (w *world) PressPower()      { w.bmc.PressPower() }

// SetOSUp waits until the booted system runs: one that is still in POST does not listen.
func (w *world) SetOSUp(up bool) {
	w.osUp.Store(up)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_ = w.bmc.WaitFor(ctx, func(s emulator.State) bool { return s.GuestRunning }) // what follows finds out
}

// Advance waits for a moment of the emulator's time.
func (*world) Advance(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(5 * time.Millisecond):
	}
}
