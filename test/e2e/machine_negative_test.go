//go:build e2e && e2emachine

package e2e

import (
	"context"
	"crypto/sha512"
	"encoding/hex"
	"hash"
	"io"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/test/emulator"
)

// complains waits until the host's Ready condition is False and says one of the words. Which one is a matter of when one looks: while a
// boot fails, or after it was tried again.
func (r *realStory) complains(words ...string) {
	r.t.Helper()
	r.until("the host to say why: "+strings.Join(words, ", or "), func(context.Context) (bool, string, error) {
		h := r.host()
		said := conditions.GetMessage(h, v1beta1.ReadyCondition)
		ok := conditions.IsFalse(h, v1beta1.ReadyCondition) && slices.ContainsFunc(words, func(w string) bool { return strings.Contains(strings.ToLower(said), strings.ToLower(w)) })
		if ok {
			r.t.Logf("the host says (%s): %s", h.Status.State, said)
		}
		return ok, string(h.Status.State) + ": " + said, nil
	})
}

// neverReady checks that neither host nor machine took the boot for a success. A bound claim stays bound, and a report stays: so
// what is not there now never was.
func (r *realStory) neverReady() {
	r.t.Helper()
	g := NewWithT(r.t)
	claim := r.host().Spec.Claim
	g.Expect(claim).NotTo(BeNil())
	g.Expect(claim.Bound).To(BeFalse(), "the claim is bound")
	if claim.PhoneHome != nil {
		g.Expect(claim.PhoneHome.Outcome).To(Equal(v1beta1.PhoneHomeFailed))
	}
	machines := &clusterv1.MachineList{}
	g.Expect(r.Client.List(r.t.Context(), machines, client.InNamespace(r.namespace))).To(Succeed())
	for i := range machines.Items {
		g.Expect(conditions.IsTrue(&machines.Items[i], clusterv1.ReadyCondition)).To(BeFalse(), "Cluster API's machine is Ready")
		g.Expect(machines.Items[i].Status.NodeRef.IsDefined()).To(BeFalse())
	}
}

// bootstrapFails: cloud-init comes to its end although kubeadm failed. That binds nothing, and the host says what to look at.
func bootstrapFails(r *realStory) {
	r.create("fails", nil, "preKubeadmCommands:", "- mkdir -p /etc/machine && touch /etc/machine/kubeadm-fails")
	r.console(1, "kubeadm-record: failing, as asked", "cloud-init-record: done")
	r.claim("the report to arrive", func(h *v1beta1.PhysicalHost) bool { return h.Spec.Claim.PhoneHome != nil })
	r.complains("the booted system reported that its bootstrap failed")
	NewWithT(r.t).Expect(conditions.GetReason(r.host(), v1beta1.ReadyCondition)).To(Equal(v1beta1.ReasonBootstrapFailed))
	r.neverReady()
	r.ended("fails", false) // nothing that was ever seen runs there: its power is cut
}

// tamperedBefore: an image that is not the one its checksum is of never reaches a BMC. (A checksum of another kind than that of the
// other stories: with theirs the image would come from the cache, whole, and rightly boot.)
func tamperedBefore(r *realStory) {
	r.yard.image.Tamper(true)
	defer r.yard.image.Tamper(false)
	r.create("tampered", map[string]string{"BESKAR7_IMAGE_CHECKSUM": "sha512:" + checksum(r, sha512.New(), r.yard.image.Path())})
	r.claim("the host to be claimed", claimed)
	r.complains("checksum mismatch")
	r.neverReady()
	g := NewWithT(r.t)
	g.Expect(r.machine.Serial().Cycles()).To(BeZero(), "power cycles")
	for _, e := range r.bmc.Events() {
		g.Expect(e.Kind).NotTo(Equal(emulator.EventInsert))
	}
	r.ended("tampered", false)
}

func checksum(r *realStory, sum hash.Hash, path string) string {
	g := NewWithT(r.t)
	file, err := os.Open(path)
	g.Expect(err).NotTo(HaveOccurred())
	defer func() { _ = file.Close() }()
	_, err = io.Copy(sum, file)
	g.Expect(err).NotTo(HaveOccurred())
	return hex.EncodeToString(sum.Sum(nil))
}

// tamperedStream: an image without a checksum becomes another one while a machine boots from it.
func tamperedStream(r *realStory) {
	defer r.yard.image.Tamper(false)
	r.create("stream", nil)
	r.console(1, "Linux version")
	r.yard.image.Tamper(true)
	r.complains("the image has changed since it was pinned")
	r.neverReady()
	r.ended("stream", false)
}

// noMedium: the medium is gone when the firmware looks for it, and there is nothing on the disk.
func noMedium(r *realStory) {
	NewWithT(r.t).Expect(r.bmc.SetFault("medium-lost", "")).To(Succeed())
	r.create("none", nil)
	r.complains("the medium that the system lives on is not in the BMC's slot any more")
	r.complains("no Node and no phone-home within 1m0s of the boot", "no sign of life came of those before")
	r.neverReady()
	r.ended("none", false)
}

// tricked is a machine whose BMC does something to the media of each boot. They are counted from 1.
type tricked struct {
	emulator.Guest
	boots atomic.Int32
	trick func(ctx context.Context, n int32, boot *emulator.Boot)
}

func (t *tricked) Run(ctx context.Context, boot emulator.Boot) error {
	t.trick(ctx, t.boots.Add(1), &boot)
	return t.Guest.Run(ctx, boot)
}

// wrongMedium: what the BMC shows to the machine is not what it was told to insert: the same system, and nobody's data.
func wrongMedium(r *realStory) {
	r.bmc.SetGuest(&tricked{Guest: r.machine, trick: func(_ context.Context, _ int32, boot *emulator.Boot) {
		boot.Media[0].Open = func(context.Context) (io.ReaderAt, int64, error) {
			file, err := os.Open(r.yard.image.Path())
			if err != nil {
				return nil, 0, err
			}
			r.t.Cleanup(func() { _ = file.Close() })
			info, err := file.Stat()
			return file, info.Size(), err
		}
	}})
	r.create("wrong", nil)
	r.console(1, "Linux version")
	r.complains("no Node and no phone-home within 2m0s of the boot", "no sign of life came of those before")
	r.neverReady()
	r.ended("wrong", false)
}

// expiredURL: the medium's URL ends between its insertion and the boot. The host says so, and the next boot has a new one.
func expiredURL(r *realStory) {
	inserted, expired := make(chan string, 1), make(chan struct{})
	r.bmc.SetGuest(&tricked{Guest: r.machine, trick: func(ctx context.Context, n int32, boot *emulator.Boot) {
		if n > 1 {
			return
		}
		inserted <- boot.Media[0].URL
		select {
		case <-expired:
		case <-ctx.Done():
		}
	}})
	r.create("expired", map[string]string{"BESKAR7_BOOT_MODE": "Install"})
	var image string
	r.until("the machine to boot", func(context.Context) (bool, string, error) {
		select {
		case image = <-inserted:
			return true, "", nil
		default:
			return false, r.says(), nil
		}
	})
	g := NewWithT(r.t)
	h := r.host()
	base := h.DeepCopy()
	over := metav1.NewTime(time.Now().Add(-time.Minute))
	h.Spec.Claim.Media.Expires = &over
	g.Expect(r.Client.Patch(r.t.Context(), h, client.MergeFrom(base))).To(Succeed())
	r.dead(image)
	close(expired)
	r.complains("the medium's URL has expired")
	r.neverReady()
	r.bmc.CutPower() // sooner than the boot's deadline would
	claim := r.claim("the claim to be bound", bound)
	r.booted(2, claim)
	r.ended("expired", true)
}
