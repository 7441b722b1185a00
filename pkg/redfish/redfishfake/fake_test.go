package redfishfake_test

import (
	"context"
	"errors"
	"testing"

	"github.com/beskar7/beskar7/pkg/redfish"
	"github.com/beskar7/beskar7/pkg/redfish/redfishfake"
	"github.com/beskar7/beskar7/pkg/redfish/redfishtest"
)

type control struct{ *redfishfake.BMC }

func (control) ImageURL() string          { return "http://media.invalid/token/boot.iso" }
func (c control) Advance(context.Context) { c.Step() }

func TestConformance(t *testing.T) {
	for name, steps := range map[string]int{"instant": 0, "stepped": 3} {
		t.Run(name, func(t *testing.T) {
			redfishtest.Run(t, func(*testing.T) (redfish.BMC, redfishtest.Control) {
				bmc := redfishfake.New(redfishfake.Options{Steps: steps})
				return bmc, control{bmc}
			})
		})
	}
}

func TestBootsTheMediumOnceOnly(t *testing.T) {
	b := redfishfake.New(redfishfake.Options{})
	ctx := t.Context()
	steps := []func() error{
		func() error { return b.Insert(ctx, "1", "http://media.invalid/a.iso") },
		func() error { return b.SetBootOnce(ctx, redfish.BootCD) },
		func() error { return b.Reset(ctx, redfish.ResetOn) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	if got := b.Booted(); got != "http://media.invalid/a.iso" {
		t.Fatalf("booted %q", got)
	}
	b.CutPower()
	b.PressPower()
	if got := b.Booted(); got != "disk" {
		t.Fatalf("second boot from %q", got)
	}
}

func TestFaultAndLie(t *testing.T) {
	b := redfishfake.New(redfishfake.Options{})
	boom := &redfish.Error{Kind: redfish.KindBusy, Message: "later"}
	b.SetFault(func(_ context.Context, op redfishfake.Op) error {
		if op == redfishfake.OpReset {
			return boom
		}
		return nil
	})
	if err := b.Reset(t.Context(), redfish.ResetOn); !errors.Is(err, boom) {
		t.Fatal(err)
	}
	b.SetFault(nil)
	b.SetLie(func(op redfishfake.Op) bool { return op == redfishfake.OpReset })
	if err := b.Reset(t.Context(), redfish.ResetOn); err != nil {
		t.Fatal(err)
	}
	if s, _ := b.State(t.Context()); s.Power != redfish.PowerOff {
		t.Fatalf("power %s after a lie", s.Power)
	}
	if n := b.Calls()[redfishfake.OpReset]; n != 2 || len(b.Changes()) != 0 {
		t.Fatalf("calls %d, changes %v", n, b.Changes())
	}
}
