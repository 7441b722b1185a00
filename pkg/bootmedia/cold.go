package bootmedia

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"time"
)

// A replica that does not have an image yet
//
// A BMC reads one medium through all replicas, as a Service hands its requests
// out, and gives up at the first that is refused. A replica that was just started
// may lack an image that has a checksum, for minutes, and may not serve a byte of
// it before all of it was verified. It passes such requests on to a replica that
// has the image, which serves the same bytes under the same tag, and goes on by
// itself as soon as its own download is through. Where no replica has the image
// the BMC waits, for as long as BMCs do.

const (
	// coldWait is how long a BMC waits for an image before it is told to come
	// back: shorter than the patience of the BMCs we know of (15 s).
	coldWait = 10 * time.Second
	// coldAgain is the pause between two looks for the image, here and at peers.
	coldAgain = 250 * time.Millisecond
	// peerPatience is how long a peer may take for the head of its answer, and
	// peerStall how long it may be silent afterwards.
	peerPatience, peerStall = 3 * time.Second, 10 * time.Second
	// passedOn marks a request of a replica. It is never passed on again: two
	// replicas without the image would send it to and fro.
	passedOn = "Beskar7-Passed-On"
)

// coldError says that an image is not here; nothing was answered yet.
type coldError struct{ why error }

func (e *coldError) Error() string { return "the image is not here: " + e.why.Error() }
func (e *coldError) Unwrap() error { return e.why }

var errPeerSilent = errors.New("the replica that has the image is silent")

// warmly runs serve, which fails with a coldError while the image is not here;
// then another replica may answer, or the BMC waits.
func (s *Server) warmly(w *recorder, r *http.Request, path string, serve func() error) error {
	giveUp := time.NewTimer(s.waits.cold)
	defer giveUp.Stop()
	for {
		err := serve()
		cold, ok := errors.AsType[*coldError](err)
		if !ok {
			return err
		}
		coming := errors.Is(cold, errNotReady)
		if r.Header.Get(passedOn) == "" {
			answered, asked, err := s.passOn(w, r, path)
			if answered {
				return err
			}
			if coming || asked {
				again := time.NewTimer(s.waits.again)
				select {
				case <-again.C:
					continue
				case <-giveUp.C:
				case <-r.Context().Done():
				}
				again.Stop()
			}
		}
		if coming {
			unavailable(w, "the image is being fetched; try again")
			return nil
		}
		unavailable(w, "the image cannot be fetched; try again")
		return cold.why
	}
}

// passOn has a replica answer that has the image; asked tells whether there is
// any other replica.
func (s *Server) passOn(w *recorder, r *http.Request, path string) (answered, asked bool, err error) {
	peers := s.peers(r.Context())
	if len(peers) == 0 {
		return false, false, nil
	}
	if last := s.warm.Load(); last != nil {
		if i := slices.Index(peers, *last); i > 0 {
			peers = slices.Concat(peers[i:], peers[:i])
		}
	}
	if !s.takeStream(r) {
		return false, true, nil
	}
	defer func() { <-s.streams }()
	for _, peer := range peers {
		resp, err := s.askPeer(r, peer+path)
		if err != nil {
			s.log.V(1).Info("another replica does not answer", "reason", err.Error())
			continue
		}
		switch resp.StatusCode {
		case http.StatusOK, http.StatusPartialContent, http.StatusNotModified, http.StatusPreconditionFailed, http.StatusRequestedRangeNotSatisfiable:
			s.warm.Store(&peer)
			return true, true, relay(w, r, resp)
		}
		_ = resp.Body.Close() // it is as cold as we are, or does not know the token yet
	}
	return false, true, nil
}

// askPeer sends a request on. Errors name no URL.
func (s *Server) askPeer(r *http.Request, url string) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(r.Context())
	req, err := http.NewRequestWithContext(ctx, r.Method, url, nil)
	if err != nil {
		cancel(nil)
		return nil, errors.New("the address of a replica cannot be read as a URL")
	}
	for _, name := range []string{"Range", "If-Range", "If-Match", "If-None-Match"} {
		if v := r.Header.Values(name); len(v) > 0 {
			req.Header[name] = v
		}
	}
	req.Header.Set(passedOn, "1")
	req.Header.Set("Accept-Encoding", "identity")
	timer := time.AfterFunc(peerPatience, func() { cancel(errPeerSilent) })
	resp, err := s.peerClient.Do(req)
	timer.Stop()
	if err != nil {
		err = plainError(ctx, err, noReplica)
		cancel(nil)
		return nil, err
	}
	resp.Body = &watched{body: resp.Body, ctx: ctx, cancel: cancel, timer: timer, stall: peerStall}
	return resp, nil
}

// relay gives a peer's answer to the BMC. One that ends early ends the
// connection, as the length of the answer is not reached.
func relay(w *recorder, r *http.Request, resp *http.Response) error {
	defer resp.Body.Close()
	for _, name := range []string{"ETag", "Accept-Ranges", "Content-Type", "Content-Length", "Content-Range"} {
		if v := resp.Header.Values(name); len(v) > 0 {
			w.Header()[http.CanonicalHeaderKey(name)] = v
		}
	}
	w.WriteHeader(resp.StatusCode)
	if r.Method == http.MethodHead {
		return nil
	}
	_, err := io.Copy(w, struct{ io.Reader }{resp.Body})
	return err
}
