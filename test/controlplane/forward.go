package controlplane

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/portforward"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"
)

// forwarding is one port-forward connection to a Pod. Each request in it is a pair of streams with one
// id: data to and from the port, and one on which only what went wrong is told.
type forwarding struct {
	life     context.Context // of the connection
	provider *Provider
	pod      *corev1.Pod
	running  sync.WaitGroup

	mu      sync.Mutex
	waiting map[string]*streamPair // half there
}

type streamPair struct {
	data, report httpstream.Stream
	replied      []<-chan struct{} // a stream may be written when its reply was sent
}

// portForward serves pods/portforward over SPDY; the API server translates what comes over websockets.
func (k *kubelet) portForward(w http.ResponseWriter, r *http.Request) {
	v, pod := k.plane.runs(r.PathValue("namespace"), r.PathValue("pod"))
	if v == nil {
		http.Error(w, "no such Pod runs here", http.StatusNotFound)
		return
	}
	if _, err := httpstream.Handshake(r, w, []string{portforward.PortForwardV1Name}); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	life, end := context.WithCancel(k.life)
	defer end()
	f := &forwarding{life: life, provider: v, pod: pod, waiting: map[string]*streamPair{}}
	connection := spdy.NewResponseUpgrader().UpgradeResponse(w, r, f.stream)
	if connection == nil {
		return // it has answered
	}
	select {
	case <-connection.CloseChan():
	case <-k.life.Done():
	}
	end()
	_ = connection.Close()
	f.running.Wait()
}

// stream takes a new stream and begins when its pair is complete.
func (f *forwarding) stream(s httpstream.Stream, replied <-chan struct{}) error {
	id := s.Headers().Get(corev1.PortForwardRequestIDHeader)
	port, err := strconv.Atoi(s.Headers().Get(corev1.PortHeader))
	if err != nil {
		return fmt.Errorf("a stream without a port: %w", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	pair := f.waiting[id]
	if pair == nil {
		pair = &streamPair{}
		f.waiting[id] = pair
	}
	switch kind := s.Headers().Get(corev1.StreamType); kind {
	case corev1.StreamTypeData:
		pair.data = s
	case corev1.StreamTypeError:
		pair.report = s
	default:
		return fmt.Errorf("a stream of type %q", kind)
	}
	pair.replied = append(pair.replied, replied)
	if pair.data == nil || pair.report == nil {
		return nil
	}
	delete(f.waiting, id)
	f.running.Go(func() { f.carry(pair, port) })
	return nil
}

// carry carries bytes both ways until the process's end closes, and tells what went wrong.
func (f *forwarding) carry(pair *streamPair, port int) {
	for _, sent := range pair.replied {
		select {
		case <-sent:
		case <-f.life.Done():
			return
		}
	}
	defer func() { _ = pair.report.Close() }()
	defer func() { _ = pair.data.Reset() }()
	if err := f.copy(pair.data, port); err != nil {
		_, _ = io.WriteString(pair.report, err.Error())
	}
}

func (f *forwarding) copy(data httpstream.Stream, port int) error {
	target, err := f.provider.hostPort(f.pod, port)
	if err != nil {
		return err
	}
	conn, err := (&net.Dialer{}).DialContext(f.life, "tcp", loopback(target))
	if err != nil {
		return fmt.Errorf("reaching port %d of Pod %s: %w", port, f.pod.Name, err)
	}
	defer conn.Close()
	defer context.AfterFunc(f.life, func() { _ = conn.Close() })()
	f.running.Go(func() {
		_, _ = io.Copy(conn, data)
		_ = conn.(*net.TCPConn).CloseWrite()
	})
	_, err = io.Copy(data, conn)
	_ = data.Close()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
