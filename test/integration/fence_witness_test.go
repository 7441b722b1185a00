//go:build linux

package integration

import (
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/beskar7/beskar7/test/emulator"
)

// witness stands in front of one BMC and knows which process a request comes from: each has a door of its own.
type witness struct {
	t   *testing.T
	bmc *emulator.BMC

	mu       sync.Mutex
	from     map[string]string // process by the address that its connections have at the BMC
	requests []*heard
	flying   map[*heard]bool
	overlaps []string
	trap     *trap
	news     chan struct{} // closed at the next request
}

// heard is one request.
type heard struct {
	who      string
	changing bool // anything but a read or a session
}

func (h *heard) String() string {
	if h.changing {
		return h.who + "!"
	}
	return h.who
}

// trap holds the next request of a kind inside the BMC, from whoever it is, until it is released.
type trap struct {
	changing bool
	caught   chan string
	release  chan struct{}
}

func newWitness(t *testing.T, bmc *emulator.BMC) *witness {
	w := &witness{t: t, bmc: bmc, from: map[string]string{}, flying: map[*heard]bool{}, news: make(chan struct{})}
	bmc.SetIntercept(w.hear)
	return w
}

func (w *witness) hear(rw http.ResponseWriter, r *http.Request) bool {
	session := strings.Contains(r.URL.Path, "/SessionService")
	h, held := w.enter(r.RemoteAddr, r.Method != http.MethodGet && !session, session)
	if held != nil {
		held.caught <- h.who
		<-held.release
	}
	w.bmc.Answer(rw, r)
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.flying, h)
	return true
}

func (w *witness) enter(address string, changing, session bool) (*heard, *trap) {
	w.mu.Lock()
	defer w.mu.Unlock()
	h := &heard{who: w.from[address], changing: changing}
	for other := range w.flying {
		if other.who != h.who {
			w.overlaps = append(w.overlaps, other.String()+" with "+h.String())
		}
	}
	first := w.changes(h.who) == 0 // while it finds its way about the BMC, one operation is many reads
	w.flying[h] = true
	w.requests = append(w.requests, h)
	close(w.news)
	w.news = make(chan struct{})
	if held := w.trap; held != nil && held.changing == changing && !session && !first {
		w.trap = nil
		return h, held
	}
	return h, nil
}

// changes counts the changing requests of a process. w.mu is held.
func (w *witness) changes(who string) (n int) {
	for _, h := range w.requests {
		if h.changing && h.who == who {
			n++
		}
	}
	return n
}

func (w *witness) set(changing bool) *trap {
	held := &trap{changing: changing, caught: make(chan string, 1), release: make(chan struct{})}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.trap = held
	return held
}

// next waits for one changing request more, of anybody but one process, and says whose it is.
func (w *witness) next(but string) string {
	w.t.Helper()
	w.mu.Lock()
	seen := len(w.requests)
	w.mu.Unlock()
	for limit := time.After(time.Minute); ; {
		w.mu.Lock()
		news := w.news
		for _, h := range w.requests[seen:] {
			if seen++; h.changing && h.who != but {
				w.mu.Unlock()
				return h.who
			}
		}
		w.mu.Unlock()
		select {
		case <-news:
		case <-limit:
			w.t.Fatalf("nobody but %q changes anything any more", but)
		}
	}
}

// door is an address of the BMC for one process. It closes with the test.
func (w *witness) door(who string) (address string, err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	w.t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			in, err := listener.Accept()
			if err != nil {
				return
			}
			go w.carry(who, in)
		}
	}()
	return "https://" + listener.Addr().String(), nil
}

// carry joins a connection to one of its own to the BMC: what breaks on one side breaks on the other.
func (w *witness) carry(who string, in net.Conn) {
	defer in.Close()
	out, err := net.Dial("tcp", strings.TrimPrefix(w.bmc.URL(), "https://"))
	if err != nil {
		return
	}
	defer out.Close()
	w.mu.Lock()
	w.from[out.LocalAddr().String()] = who
	w.mu.Unlock()
	go func() {
		_, _ = io.Copy(out, in)
		_ = out.Close()
	}()
	_, _ = io.Copy(in, out)
}

// verdict: nothing overlapped, and what each process did at the BMC is one stretch: it did nothing more once another had begun.
func (w *witness) verdict() {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.overlaps) > 0 {
		w.t.Errorf("I7: %d requests of different processes overlapped: %v", len(w.overlaps), w.overlaps)
	}
	ended, last := map[string]bool{}, ""
	for i, h := range w.requests {
		if ended[h.who] {
			w.t.Errorf("I7: request %d, %s, is of a process that was deposed: %v", i, h, w.requests[max(0, i-10):i+1])
		}
		if h.who != last {
			ended[last], last = true, h.who
		}
	}
}
