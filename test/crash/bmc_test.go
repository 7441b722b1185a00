package crash

import (
	"context"
	"time"

	"github.com/beskar7/beskar7/pkg/redfish"
	"github.com/beskar7/beskar7/pkg/redfish/redfishfake"
	"github.com/beskar7/beskar7/test/crash/witness"
)

// server is one server with its BMC; what changes it is noted.
type server struct {
	host string
	fake *redfishfake.BMC
	// identity is its own.
	identity redfish.Identity
	history  *witness.History
}

func (s *server) truth() witness.Server {
	state, _ := s.fake.State(context.Background())
	slots, _ := s.fake.Slots(context.Background())
	t := witness.Server{Power: string(state.Power), Armed: state.Boot.Armed()}
	for _, slot := range slots {
		if !slot.Empty() {
			t.Media = append(t.Media, slot.Image)
		}
	}
	return t
}

// change notes what a request does, if it does anything.
func (s *server) change(site, op, url string, do func() error) error {
	before := s.truth()
	err := do()
	if err == nil {
		s.history.Asked(witness.Request{At: time.Now(), Site: site, Host: s.host, Op: op, URL: url, Before: before, After: s.truth()})
	}
	return err
}

// step lets a power transition go on.
func (s *server) step() {
	before := s.truth()
	s.fake.Step()
	if after := s.truth(); after.Power != before.Power {
		s.history.Settled(s.host, after)
	}
}

// driver gives a process its way to the servers. Each request of each BMC can be cut.
type driver struct {
	p       *process
	servers map[string]*server // by endpoint
}

func (d driver) BMC(t redfish.Target) (redfish.BMC, error) {
	s := d.servers[t.Address]
	return bmc{s.fake, d.p, s}, nil
}

func (driver) Release(redfish.Target) bool          { return false }
func (driver) LogOut(context.Context, string) error { return nil }
func (driver) Forget(redfish.Target)                {}

// bmc is one BMC as one process reaches it.
type bmc struct {
	redfish.BMC
	p *process
	s *server
}

func (b bmc) do(what string, f func() error) error {
	gone := func(err error) error {
		return &redfish.Error{Kind: redfish.KindUnreachable, Op: what, Message: "cut off", Err: err}
	}
	c := b.p.request("bmc", what, nil)
	if c.before != nil {
		return gone(c.before)
	}
	if err := f(); err != nil {
		return err
	}
	if c.after != nil {
		return gone(c.after)
	}
	return nil
}

func (b bmc) change(op, url string, f func() error) error {
	return b.do(op+" "+b.s.host, func() error { return b.s.change(b.p.site.name, op, url, f) })
}

func read[T any](b bmc, what string, f func() (T, error)) (out T, err error) {
	err = b.do(what+" "+b.s.host, func() (e error) { out, e = f(); return e })
	return out, err
}

func (b bmc) State(ctx context.Context) (redfish.State, error) {
	return read(b, "State", func() (redfish.State, error) { return b.BMC.State(ctx) })
}

func (b bmc) Slots(ctx context.Context) ([]redfish.Slot, error) {
	return read(b, "Slots", func() ([]redfish.Slot, error) { return b.BMC.Slots(ctx) })
}

func (b bmc) Slot(ctx context.Context, id string) (redfish.Slot, error) {
	return read(b, "Slot", func() (redfish.Slot, error) { return b.BMC.Slot(ctx, id) })
}

func (b bmc) Identify(ctx context.Context) (redfish.Identity, error) {
	return read(b, "Identify", func() (redfish.Identity, error) { return b.BMC.Identify(ctx) })
}

func (b bmc) Hardware(ctx context.Context) (redfish.Hardware, error) {
	return read(b, "Hardware", func() (redfish.Hardware, error) { return b.BMC.Hardware(ctx) })
}

func (b bmc) Reset(ctx context.Context, r redfish.ResetType) error {
	return b.change(string(r), "", func() error { return b.BMC.Reset(ctx, r) })
}

func (b bmc) SetBootOnce(ctx context.Context, d redfish.BootDevice) error {
	return b.change(witness.Arm, "", func() error { return b.BMC.SetBootOnce(ctx, d) })
}

func (b bmc) ClearBoot(ctx context.Context) error {
	return b.change(witness.Disarm, "", func() error { return b.BMC.ClearBoot(ctx) })
}

func (b bmc) Insert(ctx context.Context, id, url string) error {
	return b.change(witness.Insert, url, func() error { return b.BMC.Insert(ctx, id, url) })
}

func (b bmc) Eject(ctx context.Context, id string) error {
	return b.change(witness.Eject, "", func() error { return b.BMC.Eject(ctx, id) })
}
