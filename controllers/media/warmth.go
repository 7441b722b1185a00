package media

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/bootmedia"
	"github.com/beskar7/beskar7/pkg/scope"
)

const (
	// warmInterval is how soon a replica sees that a claim needs an image that it does not have.
	warmInterval = 5 * time.Second
	// warmPatience is how long a new replica stays unready for the sake of images: whoever reads from it later waits, or is
	// passed on, and its other services are wanted, too.
	warmPatience = 3 * time.Minute
)

// Preparer makes images ready to be inserted; see bootmedia.Server.
type Preparer interface {
	Prepare(ctx context.Context, imageURL, checksum string) (bootmedia.Prepared, error)
	Again(imageURL string)
}

// Warmth has every replica keep the images that claimed hosts may read. A BMC reads through all of them in turn: one that joins
// without the image would have to pass on every request.
type Warmth struct {
	// Client reads hosts from the cache.
	Client client.Reader
	// WatchFilter is the value of the watch-filter label of the hosts that are served; empty: all.
	WatchFilter string
	Media       Preparer
	Clock       clock.WithTicker

	mu    sync.Mutex
	begun time.Time
	warm  bool
	lacks string
}

// Run keeps images until the context ends.
func (w *Warmth) Run(ctx context.Context) error {
	w.mu.Lock()
	w.begun = w.Clock.Now()
	w.mu.Unlock()
	ticker := w.Clock.NewTicker(warmInterval)
	defer ticker.Stop()
	for {
		if err := w.Once(ctx); err != nil && ctx.Err() == nil {
			ctrl.LoggerFrom(ctx).Error(err, "Cannot list the hosts whose images are to be kept")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C():
		}
	}
}

// Once asks for all images in use, which also keeps them from being evicted. An image that cannot be had does not make a replica
// cold: no other has it in a better way.
func (w *Warmth) Once(ctx context.Context) error {
	hosts := &v1beta1.PhysicalHostList{}
	if err := w.Client.List(ctx, hosts, client.UnsafeDisableDeepCopy); err != nil {
		return err
	}
	type image struct{ url, checksum string }
	asked, lacks := map[image]bool{}, ""
	for i := range hosts.Items {
		h := &hosts.Items[i]
		if !scope.Owned(w.WatchFilter, h) || !readsImage(h) {
			continue
		}
		one := image{h.Spec.Boot.ImageURL, h.Spec.Boot.Checksum}
		if asked[one] {
			continue
		}
		asked[one] = true
		if p, err := w.Media.Prepare(ctx, one.url, one.checksum); err == nil && !p.Ready {
			lacks = "image " + one.checksum + ": " + p.Progress
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lacks, w.warm = lacks, w.warm || lacks == ""
	return nil
}

// readsImage: an image without a checksum is kept by nobody, and a system that was installed needs its medium no more.
func readsImage(h *v1beta1.PhysicalHost) bool {
	c, b := h.Spec.Claim, h.Spec.Boot
	return c != nil && b != nil && b.Checksum != "" && c.Release == nil && (!c.Bound || b.BootMode != v1beta1.BootModeInstall)
}

// Ready is the replica's check: it takes part once it has what BMCs are reading from the others, or when it took too long.
func (w *Warmth) Ready(*http.Request) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.warm:
		return nil
	case w.begun.IsZero():
		return errors.New("the images in use are not known yet")
	case w.Clock.Since(w.begun) >= warmPatience:
		return nil
	case w.lacks == "":
		return errors.New("the images in use are not known yet")
	}
	return errors.New("waiting for an image that BMCs read: " + w.lacks)
}
