package bootmedia

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"
)

const (
	// maxReport bounds the body of a phone-home.
	maxReport = 16 << 10
	// maxDetail bounds what is kept of its detail, in bytes; it is shown to
	// people in a condition.
	maxDetail = 512
	// reportWait is how long a report may take to arrive. Whoever sends it is
	// not known before it is read, so it must not hold a connection for long.
	reportWait = 30 * time.Second
)

var errNoOutcome = errors.New(`the report does not say how the bootstrap ended: send outcome "succeeded" or "failed"`)

// servePhoneHome takes a report: a form or JSON with outcome and detail. The
// answer is 200 once the receipt is durable, and again for every repetition the
// Recorder accepts. A report without an outcome (cloud-init's own phone_home) is
// 400: it is sent after failed commands too and so says nothing.
func (s *Server) servePhoneHome(w http.ResponseWriter, r *http.Request, key string) {
	if r.Method != http.MethodPost && r.Method != http.MethodPut {
		w.Header().Set("Allow", "POST, PUT")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	conn := http.NewResponseController(w)
	_ = conn.SetReadDeadline(time.Now().Add(s.waits.report)) // not every connection has deadlines
	outcome, detail, err := readReport(w, r)
	_ = conn.SetReadDeadline(time.Time{})
	if err != nil {
		status := http.StatusBadRequest
		if tooLong := (*http.MaxBytesError)(nil); errors.As(err, &tooLong) {
			status = http.StatusRequestEntityTooLarge
		}
		http.Error(w, err.Error(), status)
		return
	}
	hash := phoneHash(key)
	err = s.recorder.PhoneHome(r.Context(), hash, outcome, detail)
	switch {
	case errors.Is(err, ErrUnknown):
		s.miss(w, "phone-home")
	case err != nil:
		s.log.Error(err, "record phone-home", "grant", hash[:12], "outcome", outcome)
		unavailable(w, "try again")
	default:
		s.log.Info("phone-home", "grant", hash[:12], "outcome", outcome, "status", http.StatusOK)
		w.WriteHeader(http.StatusOK)
	}
}

func readReport(w http.ResponseWriter, r *http.Request) (Outcome, string, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxReport))
	if tooLong := (*http.MaxBytesError)(nil); errors.As(err, &tooLong) {
		return "", "", fmt.Errorf("the report is too long: %w", err)
	} else if err != nil { // which may name addresses
		return "", "", errors.New("the report did not arrive whole")
	}
	var report struct {
		Outcome string `json:"outcome"`
		Detail  string `json:"detail"`
	}
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if kind == "application/x-www-form-urlencoded" {
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return "", "", errors.New("the report is not a valid form")
		}
		report.Outcome, report.Detail = form.Get("outcome"), form.Get("detail")
	} else if err := json.Unmarshal(body, &report); err != nil {
		return "", "", errors.New("the report is neither a form nor valid JSON")
	}
	switch strings.ToLower(report.Outcome) {
	case "succeeded":
		return Succeeded, plain(report.Detail), nil
	case "failed":
		return Failed, plain(report.Detail), nil
	}
	return "", "", errNoOutcome
}

// plain makes one line of printable text out of what a machine sent.
func plain(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, strings.ToValidUTF8(s, " "))
	if s = strings.Join(strings.Fields(s), " "); len(s) > maxDetail {
		s = strings.ToValidUTF8(s[:maxDetail], "")
	}
	return s
}
