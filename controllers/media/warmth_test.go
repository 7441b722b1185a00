package media

import (
	"context"
	"errors"
	"testing"

	clocktesting "k8s.io/utils/clock/testing"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/bootmedia"
)

// images is a Preparer in memory: by checksum, whether the image is there; not in it means that it cannot be had.
type images struct {
	there map[string]bool
	asked map[string]int
}

func (i *images) Prepare(_ context.Context, _, checksum string) (bootmedia.Prepared, error) {
	i.asked[checksum]++
	ready, ok := i.there[checksum]
	if !ok {
		return bootmedia.Prepared{}, errors.New("no such image")
	}
	return bootmedia.Prepared{Ready: ready, Progress: "downloading"}, nil
}

func (i *images) Again(string) {}

func TestNewReplicaIsReadyOnceItHasTheImagesInUse(t *testing.T) {
	reading := claimed("h")
	reading.Spec.Boot.Checksum = "sha256:a"
	broken, free, streaming, installed, released := claimed("h2"), claimed("h3"), claimed("h4"), claimed("h5"), claimed("h6")
	free.Spec.Claim, free.Spec.Boot = nil, nil
	broken.Spec.Boot.Checksum, installed.Spec.Boot.Checksum, released.Spec.Boot.Checksum = "sha256:broken", "sha256:installed", "sha256:released"
	installed.Spec.Claim.Bound, installed.Spec.Boot.BootMode = true, v1beta1.BootModeInstall
	released.Spec.Claim.Release = &v1beta1.Release{}
	api := inMemory(reading, broken, free, streaming, installed, released)
	have := &images{there: map[string]bool{"sha256:a": false}, asked: map[string]int{}}
	clock := clocktesting.NewFakeClock(epoch)
	w := &Warmth{Client: api, Media: have, Clock: clock}
	sweep := func() {
		t.Helper()
		if err := w.Once(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if w.Ready(nil) == nil {
		t.Error("ready before it knows what is read")
	}
	w.begun = clock.Now()
	sweep()
	if w.Ready(nil) == nil {
		t.Error("ready without the image that a BMC reads")
	}
	if len(have.asked) != 2 || have.asked["sha256:a"] != 1 || have.asked["sha256:broken"] != 1 {
		t.Errorf("asked for %v", have.asked)
	}
	clock.Step(warmPatience)
	if err := w.Ready(nil); err != nil {
		t.Errorf("after its patience: %v", err)
	}
	clock.Step(-warmPatience)
	have.there["sha256:a"] = true
	sweep()
	if err := w.Ready(nil); err != nil {
		t.Errorf("with the image: %v", err)
	}
	// What comes later is for the server to wait for: a replica that drops out with every new image would be none.
	have.there["sha256:a"] = false
	sweep()
	if err := w.Ready(nil); err != nil {
		t.Errorf("later: %v", err)
	}
}
