package bootmedia

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	// probeWait is how long Prepare waits for a fresh look at an image before
	// it answers "not yet"; a server near by is through long before.
	probeWait = 2 * time.Second
	// probeLimit ends one look.
	probeLimit = 30 * time.Second
	// probeFresh and probeRetry are how long an answer is given again: a pin is
	// to be of the time of the claim, a failure is not to be asked for in a loop.
	probeFresh, probeRetry = time.Minute, 10 * time.Second
)

// Prepare starts or continues what an image needs before it may be inserted, and
// says how far it is. With a checksum that is the download into the verified
// cache; without one, a short look that pins length and ETag and makes sure that
// the server answers ranges and that the file is an ISO. It waits two seconds at
// most; Notify tells when to ask again. An error is in words for a person, and
// asking again tries again after a pause.
func (s *Server) Prepare(ctx context.Context, imageURL, checksum string) (Prepared, error) {
	if err := checkImageURL(imageURL); err != nil {
		return Prepared{}, err
	}
	if checksum == "" {
		return s.probe(ctx, imageURL)
	}
	return s.cached(imageURL, checksum)
}

// cached says how far an image with a checksum is.
func (s *Server) cached(imageURL, checksum string) (Prepared, error) {
	got, err := s.cache.Ensure(imageURL, checksum)
	prepared := Prepared{Ready: got.Ready, Progress: got.Progress, Failed: got.Failed}
	if got.Ready {
		prepared.Pin = Pin{Length: got.Size}
		prepared.Looks, _ = got.Known.(ImageLooksLike)
	}
	return prepared, err
}

// Again forgets the pause after a failure of the image at this URL: somebody has perhaps mended what was wrong.
func (s *Server) Again(imageURL string) {
	s.probes.forgive(imageURL)
	s.cache.Forgive(imageURL)
}

// probes are the recent looks at images, one under way per URL.
type probes struct {
	now func() time.Time
	mu  sync.Mutex
	by  map[string]*probe
}

type probe struct {
	done chan struct{} // closed after the rest is set
	at   time.Time
	res  Prepared
	err  error
	// before is how the look before this one failed, or nil.
	before error
}

func newProbes(now func() time.Time) *probes { return &probes{now: now, by: map[string]*probe{}} }

// join gives the look that is under way or still fresh, or a new one to be run
// by the caller.
func (p *probes) join(imageURL string) (look *probe, fresh bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var before error
	for k, v := range p.by {
		if v.stale(p.now()) {
			delete(p.by, k)
			if k == imageURL {
				before = v.err
			}
		}
	}
	if v, ok := p.by[imageURL]; ok {
		return v, false
	}
	v := &probe{done: make(chan struct{}), before: before}
	p.by[imageURL] = v
	return v, true
}

// forgive lets the next look at the image be made at once, if the last one failed.
func (p *probes) forgive(imageURL string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	v := p.by[imageURL]
	if v == nil {
		return
	}
	select {
	case <-v.done:
		if v.err != nil {
			v.at = time.Time{}
		}
	default:
	}
}

func (v *probe) stale(now time.Time) bool {
	select {
	case <-v.done:
	default:
		return false
	}
	keep := probeFresh
	if v.err != nil {
		keep = probeRetry
	}
	return now.Sub(v.at) >= keep
}

func (s *Server) probe(ctx context.Context, imageURL string) (Prepared, error) {
	v, fresh := s.probes.join(imageURL)
	if fresh {
		if err := s.start(func() { s.run(v, imageURL) }); err != nil {
			v.at, v.err = s.now(), err
			close(v.done)
		}
	}
	timer := time.NewTimer(probeWait)
	defer timer.Stop()
	select {
	case <-v.done:
		return v.res, v.err
	case <-ctx.Done():
		return Prepared{}, fmt.Errorf("look at image: %w", ctx.Err())
	case <-timer.C:
		return Prepared{Progress: "waiting for the answer of the image server", Failed: text(v.before)}, nil
	}
}

// text of an error; empty for none.
func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func (s *Server) run(v *probe, imageURL string) {
	ctx, cancel := context.WithTimeout(s.ctx, probeLimit)
	defer cancel()
	v.res, v.err = lookAt(ctx, s.client, imageURL)
	if v.err != nil {
		v.err = fmt.Errorf("image %s: %w", displayURL(imageURL), v.err)
		s.log.Info("image not pinned", "reason", v.err.Error(), "cause", causeOf(v.err))
	}
	v.at = s.now()
	close(v.done)
	s.tell(imageURL)
}

// lookAt asks for the window of an image: one request that shows existence,
// length, tag, ranges and format at once. A few more show what is inside.
func lookAt(ctx context.Context, client *http.Client, imageURL string) (Prepared, error) {
	resp, err := get(ctx, client, imageURL, http.Header{"Range": {rangeHeader(windowStart, windowEnd-1)}})
	if errors.Is(err, context.DeadlineExceeded) {
		return Prepared{}, fmt.Errorf("the server did not answer within %v", probeLimit)
	}
	if err != nil {
		return Prepared{}, err
	}
	defer resp.Body.Close()
	got, ok := parseContentRange(resp.Header.Get("Content-Range"))
	switch {
	case resp.StatusCode == http.StatusOK:
		return Prepared{}, errors.New("the server does not support range requests, which BMCs need: give a checksum, so that the " +
			"image is cached, or serve it from a server with ranges")
	case resp.StatusCode == http.StatusRequestedRangeNotSatisfiable:
		return Prepared{}, errNotISO
	case resp.StatusCode != http.StatusPartialContent:
		return Prepared{}, StatusError(resp.StatusCode)
	case !ok || got.first != windowStart || got.total <= 0:
		return Prepared{}, errors.New("the server answers range requests without saying the length of the file: give a checksum, so " +
			"that the image is cached")
	}
	if got.last < windowEnd-1 && got.last < got.total-1 {
		return Prepared{}, errors.New("the server cuts the ranges that it is asked for to less than 2 KiB: give a checksum, so that " +
			"the image is cached, or serve it from another server")
	}
	window, err := io.ReadAll(io.LimitReader(resp.Body, windowEnd-windowStart))
	if err != nil {
		return Prepared{}, err
	}
	if err := isISO(window); err != nil {
		return Prepared{}, err
	}
	etag := resp.Header.Get("ETag")
	if strings.ContainsFunc(etag, func(r rune) bool { return r < 0x20 || r > 0x7e }) || len(etag) > 256 {
		etag = "" // not storable; the length still pins
	}
	pin := Pin{ETag: etag, Length: got.total, Mirror: mirrorOf(resp, imageURL)}
	looks, err := lookInto(newWindows(ctx, client, imageURL, pin, resumePause), pin.Length)
	if err != nil {
		return Prepared{}, err
	}
	return Prepared{Ready: true, Pin: pin, Progress: "pinned", Looks: looks}, nil
}
