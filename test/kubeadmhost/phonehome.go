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
	"regexp"
	"strconv"
	"strings"
	"time"
)

const phoneHomePause = time.Second

// phoneHome is the report a server makes when cloud-init is through. It comes in
// two kinds: cloud-init's own module, which is sent whether or not the commands
// succeeded and does not say which; and a watcher, a script that posts JSON with
// the outcome. The script is not run, only its settings are read and its effect
// is played.
type phoneHome struct {
	url        string
	fields     []string
	tries      int
	instanceID string
	hostname   string
	watcher    bool
	ca         []byte // PEM that the watcher trusts besides the system's
	succeeded  bool
}

const successFile = "/run/cluster-api/bootstrap-success.complete"

var watcherSetting = regexp.MustCompile(`(?m)^(URL|CA) = ("(?:[^"\\]|\\.)*")$`)

// findWatcher looks in a script for a watcher: something that has the success
// file in it and is told where to post. Any other script is nil.
func findWatcher(script string) (*phoneHome, error) {
	settings := map[string]string{}
	for _, match := range watcherSetting.FindAllStringSubmatch(script, -1) {
		value, err := strconv.Unquote(match[2])
		if err != nil {
			return nil, fmt.Errorf("watcher: setting %s is not a plain string", match[1])
		}
		settings[match[1]] = value
	}
	if settings["URL"] == "" || !strings.Contains(script, successFile) {
		return nil, nil
	}
	return &phoneHome{url: settings["URL"], ca: []byte(settings["CA"]), tries: 360, watcher: true}, nil
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
	if len(h.ca) > 0 {
		if trust == nil {
			trust = x509.NewCertPool()
		} else {
			trust = trust.Clone()
		}
		if !trust.AppendCertsFromPEM(h.ca) {
			return errors.New("watcher: its CA is not PEM")
		}
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: trust}, DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	caller := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	for try := 1; ; try++ {
		err := h.post(ctx, caller)
		if err == nil {
			return nil
		}
		if _, final := errors.AsType[permanentError](err); final || try >= h.tries {
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
	body, contentType, err := h.body()
	if err != nil {
		return permanentError{err}
	}
	target := strings.ReplaceAll(h.url, "$INSTANCE_ID", h.instanceID)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, target, strings.NewReader(body))
	if err != nil {
		return permanentError{errors.New("the url is not valid")}
	}
	request.Header.Set("Content-Type", contentType)
	response, err := caller.Do(request)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err
		}
		return err
	}
	defer func() { _ = response.Body.Close() }()
	refused := errors.New("answered " + strconv.Itoa(response.StatusCode))
	switch code := response.StatusCode; {
	case code < 300:
		return nil
	case h.watcher && code < 500 && code != http.StatusRequestTimeout && code != http.StatusTooManyRequests:
		return permanentError{refused} // the watcher gives up on these
	default:
		return refused
	}
}

func (h *phoneHome) body() (text, contentType string, err error) {
	if h.watcher {
		report := map[string]string{"outcome": "succeeded", "detail": ""}
		if !h.succeeded {
			report = map[string]string{"outcome": "failed", "detail": "no " + successFile}
		}
		blob, err := json.Marshal(report)
		return string(blob), "application/json", err
	}
	known := map[string]string{"instance_id": h.instanceID, "hostname": h.hostname, "fqdn": h.hostname}
	form := url.Values{}
	for _, field := range h.fields {
		value, ok := known[field]
		if !ok {
			value = "N/A" // what cloud-init sends for a key it does not find
		}
		form.Set(field, value)
	}
	return form.Encode(), "application/x-www-form-urlencoded", nil
}
