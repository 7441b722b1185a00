package bootmedia

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
)

const (
	// maxOverlayBytes bounds what all overlays that are kept hold together, most of
	// them a few hundred KiB each: an eighth of the memory that a Pod is given.
	maxOverlayBytes = 64 << 20
	// maxBuilds is how many overlays are built at one time. Each may keep some
	// megabytes of its image meanwhile.
	maxBuilds = 4
)

// overlays keeps the overlays of the media that are being read, the longest
// unused going first. An overlay is a function of the content alone, so that is
// its key, with the hash of the token it was read by: when that ends, so does the
// overlay.
type overlays struct {
	limit  int64
	builds chan struct{}

	mu    sync.Mutex
	by    map[overlayKey]*keptOverlay
	order []overlayKey // longest unused first
	held  int64
}

type overlayKey struct {
	token   string
	content [sha256.Size]byte
}

type keptOverlay struct {
	done  chan struct{} // closed after the rest is set
	over  *overlay
	err   error
	bytes int64 // counted in held
}

func newOverlays(limit int64) *overlays {
	return &overlays{limit: limit, builds: make(chan struct{}, maxBuilds), by: map[overlayKey]*keptOverlay{}}
}

// get gives the overlay of a content, built once for all who ask meanwhile. A
// failure is told to those and not kept.
func (o *overlays) get(ctx context.Context, token string, c Content, build func(context.Context) (*overlay, error)) (*overlay, error) {
	text, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("build medium: %w", err)
	}
	key := overlayKey{token, sha256.Sum256(text)}
	o.mu.Lock()
	k, found := o.by[key]
	if !found {
		k = &keptOverlay{done: make(chan struct{})}
		o.by[key] = k
	}
	o.touch(key)
	o.mu.Unlock()
	if !found {
		// Who hangs up must not spoil it for the others that wait.
		o.build(context.WithoutCancel(ctx), key, k, build)
	}
	select {
	case <-k.done:
		return k.over, k.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// touch makes a key the last one to go. The caller holds mu.
func (o *overlays) touch(key overlayKey) {
	if i := slices.Index(o.order, key); i >= 0 {
		o.order = slices.Delete(o.order, i, i+1)
	}
	o.order = append(o.order, key)
}

func (o *overlays) build(ctx context.Context, key overlayKey, k *keptOverlay, build func(context.Context) (*overlay, error)) {
	o.builds <- struct{}{}
	work, cancel := context.WithTimeout(ctx, probeLimit)
	k.over, k.err = build(work)
	cancel()
	<-o.builds
	o.mu.Lock()
	defer o.mu.Unlock()
	close(k.done)
	switch {
	case o.by[key] != k: // its token ended meanwhile
	case k.err != nil:
		o.drop(key)
	default:
		k.bytes = k.over.bytes()
		o.held += k.bytes
		o.shrink()
	}
}

// shrink lets overlays go until the rest is within the limit. Those that are being
// built count nothing yet and stay. The caller holds mu.
func (o *overlays) shrink() {
	for i := 0; o.held > o.limit && i < len(o.order); {
		if key := o.order[i]; o.by[key].bytes > 0 {
			o.drop(key)
		} else {
			i++
		}
	}
}

// drop forgets an overlay. The caller holds mu.
func (o *overlays) drop(key overlayKey) {
	o.held -= o.by[key].bytes
	delete(o.by, key)
	o.order = slices.DeleteFunc(o.order, func(other overlayKey) bool { return other == key })
}

// end forgets what belongs to a token.
func (o *overlays) end(token string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, key := range slices.Clone(o.order) {
		if key.token == token {
			o.drop(key)
		}
	}
}
