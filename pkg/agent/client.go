package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/beskar7/beskar7/pkg/agent/protocol"
)

// callTimeout bounds one exchange. An answer with a plan may have some MiB.
const callTimeout = time.Minute

// client calls the manager.
type client struct {
	http *http.Client
	url  string
}

func newClient(seed *protocol.Seed) (*client, error) {
	trusted, err := newTrust(seed.CA, seed.CADigest)
	if err != nil {
		return nil, err
	}
	return &client{
		http: &http.Client{Transport: trusted.transport(), Timeout: callTimeout, CheckRedirect: stay},
		url:  strings.TrimSuffix(seed.Endpoint, "/") + protocol.Path(seed.Capability),
	}, nil
}

// stay follows no redirects: they would lead to a server that the medium does not name.
func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// call posts a call. A refused one is *refusedError: another attempt with the same words would end alike.
func (c *client) call(ctx context.Context, call *protocol.Call) (*protocol.Answer, error) {
	data, err := call.Encode()
	if err != nil {
		return nil, fmt.Errorf("what is to be said is not what the protocol takes: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(data))
	if err != nil {
		return nil, errors.New("the endpoint is no URL")
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := c.http.Do(request)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err // the URL has the capability in it
		}
		return nil, fmt.Errorf("call the manager: %w", err)
	}
	defer response.Body.Close()
	switch {
	case response.StatusCode == http.StatusOK:
		return protocol.DecodeAnswer(response.Body)
	case response.StatusCode >= 400 && response.StatusCode < 500 && response.StatusCode != http.StatusTooManyRequests:
		_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 1<<16))
		return nil, &refusedError{response.StatusCode}
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 1<<16))
	return nil, fmt.Errorf("the manager answered %d %s", response.StatusCode, http.StatusText(response.StatusCode))
}

// refusedError is an answer by which the manager knows this capability no longer.
type refusedError struct{ status int }

func (e *refusedError) Error() string {
	return fmt.Sprintf("the manager refuses this capability (%d %s): it was used, or the claim has ended", e.status,
		http.StatusText(e.status))
}
