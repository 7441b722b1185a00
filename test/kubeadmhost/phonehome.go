package kubeadmhost

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const phoneHomePause = time.Second

// phoneHome is the report a server makes when cloud-init is through, whether or
// not its commands succeeded: cloud-init does not look at that.
type phoneHome struct {
	url        string
	fields     []string
	tries      int
	instanceID string
	hostname   string
}

// phoneHomeFields are what "post: all" stands for.
var phoneHomeFields = []string{"pub_key_rsa", "pub_key_ecdsa", "pub_key_ed25519", "instance_id", "hostname", "fqdn"}

func parsePhoneHome(value any) (*phoneHome, error) {
	if value == nil {
		return nil, nil
	}
	var raw struct {
		URL   string          `json:"url"`
		Post  json.RawMessage `json:"post"`
		Tries *int            `json:"tries"`
	}
	if err := decodeStrict(value, &raw); err != nil {
		return nil, fmt.Errorf("phone_home: %w", err)
	}
	if raw.URL == "" {
		return nil, errors.New("phone_home: no url")
	}
	home := &phoneHome{url: raw.URL, fields: phoneHomeFields, tries: 10}
	if raw.Tries != nil {
		home.tries = *raw.Tries
	}
	var word string
	if len(raw.Post) == 0 || (json.Unmarshal(raw.Post, &word) == nil && word == "all") {
		return home, nil
	}
	if err := json.Unmarshal(raw.Post, &home.fields); err != nil {
		return nil, errors.New("phone_home: post is neither a list nor all")
	}
	return home, nil
}

// call posts the report, as often as was asked for. Errors do not name the URL:
// its path is a secret.
func (h *phoneHome) call(ctx context.Context, trust *x509.CertPool) error {
	transport := &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: trust}, DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	caller := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	for try := 1; ; try++ {
		err := h.post(ctx, caller)
		if err == nil {
			return nil
		}
		if try >= h.tries {
			return fmt.Errorf("phone home, %d tries: %w", try, err)
		}
		timer := time.NewTimer(phoneHomePause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
}

func (h *phoneHome) post(ctx context.Context, caller *http.Client) error {
	known := map[string]string{"instance_id": h.instanceID, "hostname": h.hostname, "fqdn": h.hostname}
	form := url.Values{}
	for _, field := range h.fields {
		value, ok := known[field]
		if !ok {
			value = "N/A" // what cloud-init sends for a key it does not find
		}
		form.Set(field, value)
	}
	target := strings.ReplaceAll(h.url, "$INSTANCE_ID", h.instanceID)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, target, strings.NewReader(form.Encode()))
	if err != nil {
		return errors.New("the url is not valid")
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := caller.Do(request)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err
		}
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode >= 300 {
		return errors.New("answered " + strconv.Itoa(response.StatusCode))
	}
	return nil
}
