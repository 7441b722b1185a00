//go:build e2e && e2emachine

package e2e

import (
	"context"
	"crypto/sha256"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/test/lab"
	"github.com/beskar7/beskar7/test/machine"
)

// oneSlot is a persona with one virtual CD and nothing else.
const oneSlot = "supermicro-x12"

// TestMachineMatrix is what else real machines do, one after another on one site.
func TestMachineMatrix(t *testing.T) {
	y := newYard(t)
	for _, c := range []struct {
		name, persona string
		options       machine.Options
		boot          time.Duration // how long a boot may take until a sign of life; 0 is the product's default
		story         func(*realStory)
	}{
		{"TwoSlotsBIOS", "generic", machine.Options{Firmware: machine.BIOS}, 0, twoSlots},
		{"StickUEFI", "hpe-ilo6", machine.Options{Sticks: []string{"1"}}, 0, stick},
		{"ManagerKilled", oneSlot, machine.Options{}, 5 * time.Minute, managerKilled},
		{"Install", oneSlot, machine.Options{}, 0, install},
		{"InstallBIOS", oneSlot, machine.Options{Firmware: machine.BIOS}, 0, install},
		{"BootstrapFails", oneSlot, machine.Options{}, 0, bootstrapFails},
		{"TamperedBeforeInsert", oneSlot, machine.Options{}, 0, tamperedBefore},
		{"TamperedInStream", oneSlot, machine.Options{}, 0, tamperedStream},
		{"NoMedium", oneSlot, machine.Options{}, time.Minute, noMedium},
		{"WrongMedium", oneSlot, machine.Options{}, 2 * time.Minute, wrongMedium},
		{"ExpiredURL", oneSlot, machine.Options{}, 0, expiredURL},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.story(newRealStory(t, y, strings.ToLower(c.name), c.persona, c.options, func(tuning *v1beta1.Tuning) {
				if c.boot > 0 {
					tuning.BootTimeout = &metav1.Duration{Duration: c.boot}
				}
			}))
		})
	}
}

// twoSlots: the image as it is, verified before, in one slot, the bootstrap data in the other; firmware of the older kind.
func twoSlots(r *realStory) {
	r.create("bios", map[string]string{"BESKAR7_IMAGE_CHECKSUM": "sha256:" + checksum(r, sha256.New(), r.yard.image.Path())})
	r.booted(1, r.claim("the host to be claimed", claimed))
	r.claim("the claim to be bound", bound)
	r.console(1, "cloud-init-record: done")
	slots := r.bmc.State().Slots
	NewWithT(r.t).Expect(slots[0].Image).To(HaveSuffix("/boot.iso"))
	NewWithT(r.t).Expect(slots[1].Image).To(HaveSuffix("/config.iso"))
	r.ended("bios", true)
}

// stick: the BMC's second slot is a USB stick, and the first of its list.
func stick(r *realStory) {
	r.create("stick", nil)
	r.booted(1, r.claim("the host to be claimed", claimed))
	r.claim("the claim to be bound", bound)
	r.console(1, "cloud-init-record: done")
	slots := r.bmc.State().Slots
	NewWithT(r.t).Expect(slots[0].Image).To(HaveSuffix("/config.iso"))
	NewWithT(r.t).Expect(slots[1].Image).To(HaveSuffix("/boot.iso"))
	r.ended("stick", true)
}

// managerKilled: the manager, and with it the server of the media, dies while the machine loads its system, and comes back.
func managerKilled(r *realStory) {
	r.create("killed", nil)
	claim := r.claim("the host to be claimed", claimed)
	r.console(1, "Linux version")
	g := NewWithT(r.t)
	g.Expect(r.Manager.Kill9()).To(Succeed())
	g.Expect(r.Manager.Restart(r.t.Context())).To(Succeed())
	g.Expect(r.claim("the claim to be bound", bound).ID).To(Equal(claim.ID))
	cycle := r.machine.Serial().Cycles() // a system that lost its medium for too long was booted again
	r.booted(cycle, claim)
	r.console(cycle, "cloud-init-record: done")
	r.ended("killed", true)
}

// install: the bootstrap data writes the disk. Once bound, the host is disarmed and its URLs are dead; the next boot is the disk's.
func install(r *realStory) {
	r.create("install", map[string]string{"BESKAR7_BOOT_MODE": "Install"}, "postKubeadmCommands:", "- install-to-disk /dev/vda")
	r.console(1, "install-record: installed")
	image := r.bmc.State().Slots[0].Image
	claim := r.claim("the claim to be bound", bound)
	r.claim("the capability to be revoked", func(h *v1beta1.PhysicalHost) bool { return h.Spec.Claim.Media == nil })
	r.dead(image)
	g := NewWithT(r.t)
	g.Expect(r.bmc.State().Override.Enabled).To(Equal("Disabled"))

	r.bmc.CutPower()
	r.bmc.PressPower()
	r.console(2, "loading the installed system", "live: medium is /dev/vda1", "Startup finished in") // somebody listens to the power button
	g.Expect(r.machine.Serial().Cycle(2)).To(HavePrefix("Hdd"))
	g.Expect(r.claim("the claim to be bound", bound).ID).To(Equal(claim.ID))
	r.ended("install", true)
}

// dead checks that nobody can read a medium any more. The URL is a capability: it is in no message.
func (r *realStory) dead(image string) {
	r.t.Helper()
	r.until("the medium's URL to be dead", func(ctx context.Context) (bool, string, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, image, nil)
		if err != nil {
			return false, "malformed URL", nil //nolint:nilerr // its text has the URL
		}
		resp, err := r.yard.client.Do(req)
		if err != nil {
			return false, "the media server does not answer", nil //nolint:nilerr // its text has the URL
		}
		defer func() { _ = resp.Body.Close() }()
		_, _ = io.CopyN(io.Discard, resp.Body, 1)
		return resp.StatusCode == http.StatusNotFound, resp.Status, nil
	})
}

// host reads the story's host.
func (r *realStory) host() *v1beta1.PhysicalHost {
	r.t.Helper()
	h, err := lab.Object(r.t.Context(), r.Lab, r.namespace, r.bmc.Name(), &v1beta1.PhysicalHost{})
	NewWithT(r.t).Expect(err).NotTo(HaveOccurred())
	return h
}
