package emulator

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"time"
)

// exchange is one request under faults.
type exchange struct {
	b *BMC
	w http.ResponseWriter
	r *http.Request
}

// reply is an answer before it goes out.
type reply struct {
	status int
	header http.Header
	body   []byte
	// pad is how many blanks follow the body.
	pad int64
	// lost: the connection breaks instead. cut: it breaks in the middle.
	lost, cut bool
	// drip is the pause after each byte.
	drip time.Duration
}

// Header implements http.ResponseWriter.
func (r *reply) Header() http.Header { return r.header }

// WriteHeader implements http.ResponseWriter.
func (r *reply) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
}

// Write implements http.ResponseWriter.
func (r *reply) Write(p []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	r.body = append(r.body, p...)
	return len(p), nil
}

// answerFaulty answers under the faults that are on; they act in the order of
// the table.
func (b *BMC) answerFaulty(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	if len(b.faults) == 0 {
		b.mu.Unlock()
		b.Answer(w, r)
		return
	}
	var before, spoil []*active
	for _, f := range faults {
		a := b.faults[f.Name]
		if a == nil || f.before == nil && f.spoil == nil || !a.hits(b, r) {
			continue
		}
		if f.before != nil {
			before = append(before, a)
		} else {
			spoil = append(spoil, a)
		}
	}
	b.mu.Unlock()
	x := &exchange{b: b, w: w, r: r}
	for _, a := range before {
		if a.before(x, a) {
			return
		}
	}
	if len(spoil) == 0 {
		b.Answer(w, r)
		return
	}
	rep := &reply{header: w.Header()}
	b.Answer(rep, r)
	for _, a := range spoil {
		a.spoil(x, a, rep)
	}
	x.send(rep)
}

// send writes a spoiled answer.
func (x *exchange) send(r *reply) {
	if r.lost {
		x.hangUp()
		return
	}
	n := int64(len(r.body)) + r.pad
	if n > 0 || r.header.Get("Content-Length") != "" {
		r.header.Set("Content-Length", strconv.FormatInt(n, 10))
	}
	if r.status == 0 {
		r.status = http.StatusOK
	}
	body := r.body
	if r.cut {
		body = body[:len(body)/2]
	}
	x.w.WriteHeader(r.status)
	if x.r.Method == http.MethodHead {
		return
	}
	if r.drip > 0 {
		x.dribble(body, r.drip)
	} else {
		_, _ = x.w.Write(body)
	}
	if r.cut {
		x.flush()
		x.hangUp()
		return
	}
	blank := bytes.Repeat([]byte(" "), 64<<10)
	for r.pad > 0 {
		k := min(r.pad, int64(len(blank)))
		if _, err := x.w.Write(blank[:k]); err != nil {
			return // enough for the client
		}
		r.pad -= k
	}
}

func (x *exchange) flush() { _ = http.NewResponseController(x.w).Flush() }

func (x *exchange) dribble(body []byte, pause time.Duration) {
	for i := range body {
		if _, err := x.w.Write(body[i : i+1]); err != nil || !x.wait(pause) {
			return
		}
		x.flush()
	}
}

// wait is false when the client is gone before d.
func (x *exchange) wait(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-x.r.Context().Done():
	}
	return false
}

// drain reads the request's body, so that a client that goes away is noticed.
// What was read is still there for the BMC.
func (x *exchange) drain() {
	raw, err := io.ReadAll(io.LimitReader(x.r.Body, maxBody+1))
	if err == nil {
		x.r.Body = io.NopCloser(bytes.NewReader(raw))
	}
}

// hangUp breaks the connection.
func (x *exchange) hangUp() {
	conn, _, err := http.NewResponseController(x.w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // the server closes it
	}
	_ = conn.Close()
}

// fail answers an error in the BMC's words.
func (x *exchange) fail(status int, ms ...message) bool {
	c := &call{b: x.b, front: x.b, w: x.w, r: x.r}
	c.fail(status, ms...)
	return true
}

// slashedDoc is a resource marshalled, with the links as the persona has them.
func (b *BMC) slashedDoc(d doc) ([]byte, error) {
	raw, err := json.Marshal(d)
	if err != nil || !b.kind().http.slash {
		return raw, err
	}
	var m map[string]any
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, err
	}
	trailing(m)
	return json.Marshal(m)
}

// shape lets the faults change a resource on its way out; its ETag stays, so
// that an If-Match is judged as if there were no fault.
func (b *BMC) shape(r *http.Request, path string, raw []byte) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	var m map[string]any
	for _, f := range faults {
		if len(b.faults)+len(b.front.faults) == 0 {
			return raw
		}
		a := b.faultLocked(f.Name)
		if f.shape == nil || a == nil || !a.hits(b, r) {
			continue
		}
		if m == nil && json.Unmarshal(raw, &m) != nil {
			return raw
		}
		f.shape(b, a, path, m)
	}
	if m == nil {
		return raw
	}
	shaped, err := json.Marshal(m)
	if err != nil {
		panic("emulator: a decoded resource cannot be encoded: " + err.Error())
	}
	return shaped
}
