package integration

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/beskar7/beskar7/pkg/redfish"
	"github.com/beskar7/beskar7/pkg/redfish/redfishtest"
	"github.com/beskar7/beskar7/test/emulator"
)

// emulated is the world around an emulated server.
type emulated struct {
	t     *testing.T
	bmc   *emulator.BMC
	image string
	osUp  atomic.Bool
}

// Run is the server's software: it shuts down only while SetOSUp says so.
func (e *emulated) Run(ctx context.Context, boot emulator.Boot) error {
	select {
	case <-boot.Shutdown:
		if e.osUp.Load() {
			return nil
		}
		<-ctx.Done()
	case <-ctx.Done():
	}
	return ctx.Err()
}

func (e *emulated) ImageURL() string { return e.image }
func (e *emulated) PressPower()      { e.bmc.PressPower() }

// SetOSUp waits until the booted system runs: one that is still in POST does
// not listen.
func (e *emulated) SetOSUp(up bool) {
	e.osUp.Store(up)
	ctx, cancel := context.WithTimeout(e.t.Context(), 10*time.Second)
	defer cancel()
	if err := e.bmc.WaitFor(ctx, func(s emulator.State) bool { return s.GuestRunning }); err != nil {
		e.t.Fatalf("the system did not come up: %v", err)
	}
}

// Advance waits for a moment of the emulator's time.
func (*emulated) Advance(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(5 * time.Millisecond):
	}
}

func newFleet(t *testing.T) *emulator.Fleet {
	t.Helper()
	fleet, err := emulator.New(emulator.Options{Timings: emulator.Timings{
		PowerOn: 20 * time.Millisecond, PowerOff: 20 * time.Millisecond, POST: 20 * time.Millisecond, Request: time.Microsecond,
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := fleet.Close(); err != nil {
			t.Error(err)
		}
	})
	return fleet
}

// serveISO serves the least that firmware takes for a bootable ISO 9660 image.
func serveISO(t *testing.T) string {
	t.Helper()
	image := make([]byte, 40<<10)
	copy(image[16*2048:], "\x01CD001")
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "boot.iso", time.Time{}, bytes.NewReader(image))
	}))
	t.Cleanup(srv.Close)
	return srv.URL + "/token/boot.iso"
}

func target(fleet *emulator.Fleet, b *emulator.BMC) redfish.Target {
	return redfish.Target{
		Address: b.URL(), Username: b.Username(), Password: redfish.Password(b.Password()), CABundle: fleet.CAPEM(),
		Timeouts: redfish.Timeouts{Connection: 5 * time.Second, Request: 5 * time.Second, RetryDelay: 10 * time.Millisecond},
	}
}

// TestRedfishConformance: what the in-memory fake promises, the driver keeps in
// front of a BMC that speaks TLS, sessions and Redfish.
func TestRedfishConformance(t *testing.T) {
	fleet, image := newFleet(t), serveISO(t)
	redfishtest.Run(t, func(t *testing.T) (redfish.BMC, redfishtest.Control) {
		b, err := fleet.Add(emulator.Spec{Name: t.Name()})
		if err != nil {
			t.Fatal(err)
		}
		world := &emulated{t: t, bmc: b, image: image}
		b.SetGuest(world)
		pool := redfish.NewPool(redfish.Options{})
		t.Cleanup(func() {
			// t.Context has ended by now.
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			if err := pool.Close(ctx); err != nil {
				t.Error(err)
			}
			if n := b.State().Sessions; n != 0 {
				t.Errorf("%d sessions left on the BMC", n)
			}
		})
		client, err := pool.BMC(target(fleet, b))
		if err != nil {
			t.Fatal(err)
		}
		return client, world
	})
}

// TestRedfishRequestBudget counts at the BMC: first State at most four requests,
// each later one exactly one, all on one connection.
func TestRedfishRequestBudget(t *testing.T) {
	fleet := newFleet(t)
	b, err := fleet.Add(emulator.Spec{Name: "budget"})
	if err != nil {
		t.Fatal(err)
	}
	pool := redfish.NewPool(redfish.Options{})
	defer func() { _ = pool.Close(t.Context()) }()
	client, err := pool.BMC(target(fleet, b))
	if err != nil {
		t.Fatal(err)
	}
	read := func() int {
		before := b.Requests().Total
		if _, err := client.State(t.Context()); err != nil {
			t.Fatal(err)
		}
		return b.Requests().Total - before
	}
	if n := read(); n > 4 {
		t.Errorf("connect and State: %d requests", n)
	}
	for range 10 {
		if n := read(); n != 1 {
			t.Errorf("State: %d requests", n)
		}
	}
	if n := b.Requests().Connections; n != 1 {
		t.Errorf("%d connections", n)
	}
}

// TestRedfishProvisionBudget: an off host from first contact to powered on with
// every read-back, and its release, within the request budget.
func TestRedfishProvisionBudget(t *testing.T) {
	fleet, image := newFleet(t), serveISO(t)
	b, err := fleet.Add(emulator.Spec{Name: "provision"})
	if err != nil {
		t.Fatal(err)
	}
	pool := redfish.NewPool(redfish.Options{})
	defer func() { _ = pool.Close(t.Context()) }()
	client, err := pool.BMC(target(fleet, b))
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	slots, err := client.Slots(ctx)
	if err != nil {
		t.Fatal(err)
	}
	id := slots[0].ID
	settle := func(p emulator.PowerState) func() error {
		return func() error {
			if err := b.WaitFor(ctx, func(s emulator.State) bool { return s.Power == p }); err != nil {
				return err
			}
			_, err := client.State(ctx)
			return err
		}
	}
	look := func() error { _, err := client.Slots(ctx); return err }
	run := func(name string, steps ...func() error) {
		before := b.Requests().Total
		for i, step := range steps {
			if err := step(); err != nil {
				t.Fatalf("%s, step %d: %v", name, i, err)
			}
		}
		n := b.Requests().Total - before
		t.Logf("%s: %d requests", name, n)
		if n > 10 {
			t.Errorf("%s: %d requests", name, n)
		}
	}
	run("provision", settle(emulator.Off),
		func() error { return client.Insert(ctx, id, image) }, look,
		func() error { return client.SetBootOnce(ctx, redfish.BootCD) }, settle(emulator.Off),
		func() error { return client.Reset(ctx, redfish.ResetOn) }, settle(emulator.On))
	run("release", settle(emulator.On),
		func() error { return client.Reset(ctx, redfish.ResetForceOff) }, settle(emulator.Off),
		func() error { return client.Eject(ctx, id) }, look,
		func() error { return client.ClearBoot(ctx) }, settle(emulator.Off))
}

// TestRedfishWrongPassword: one login attempt in all, whatever is called how
// often, so that the account is never locked out.
func TestRedfishWrongPassword(t *testing.T) {
	fleet := newFleet(t)
	b, err := fleet.Add(emulator.Spec{Name: "password"})
	if err != nil {
		t.Fatal(err)
	}
	pool := redfish.NewPool(redfish.Options{})
	defer func() { _ = pool.Close(t.Context()) }()
	wrong := target(fleet, b)
	wrong.Password = "wrong"
	for range 10 {
		client, err := pool.BMC(wrong)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.State(t.Context()); !redfish.LoginFailed(err) {
			t.Fatalf("%v", err)
		}
	}
	if n := b.Requests().Unauthorized; n != 1 {
		t.Errorf("%d refused requests", n)
	}
	client, err := pool.BMC(target(fleet, b))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.State(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestRedfishFullSessionTable: others hold every session; basic auth still works.
func TestRedfishFullSessionTable(t *testing.T) {
	fleet := newFleet(t)
	b, err := fleet.Add(emulator.Spec{Name: "full"})
	if err != nil {
		t.Fatal(err)
	}
	const clients = 12 // more than the table holds
	for i := range clients {
		pool := redfish.NewPool(redfish.Options{})
		defer func() { _ = pool.Close(t.Context()) }()
		client, err := pool.BMC(target(fleet, b))
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if _, err := client.State(t.Context()); err != nil {
				t.Fatalf("client %d: %v", i, err)
			}
		}
	}
	if n := b.State().Sessions; n >= clients {
		t.Fatalf("the session table took all %d clients", n)
	}
}

// TestRedfishUnplugged: a BMC that goes away and comes back is the same BMC.
func TestRedfishUnplugged(t *testing.T) {
	fleet := newFleet(t)
	b, err := fleet.Add(emulator.Spec{Name: "unplugged"})
	if err != nil {
		t.Fatal(err)
	}
	pool := redfish.NewPool(redfish.Options{})
	defer func() { _ = pool.Close(t.Context()) }()
	client, err := pool.BMC(target(fleet, b))
	if err != nil {
		t.Fatal(err)
	}
	for _, out := range []bool{false, true, false} {
		if err := b.Unplug(out); err != nil {
			t.Fatal(err)
		}
		_, err := client.State(t.Context())
		if out && redfish.KindOf(err) != redfish.KindUnreachable || !out && err != nil {
			t.Fatalf("unplugged %v: %v", out, err)
		}
	}
}
