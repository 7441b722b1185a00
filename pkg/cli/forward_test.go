package cli

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"k8s.io/client-go/rest"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"
)

// pods is the part of an API server that forwards ports: each data stream of the port that a Pod has carries one HTTP exchange.
type pods struct {
	t     *testing.T
	port  string
	reply string
	ended sync.WaitGroup
}

func (p *pods) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/api/v1/namespaces/ns/pods/pod/portforward" {
		http.NotFound(w, r)
		return
	}
	w.Header().Set(httpstream.HeaderProtocolVersion, "portforward.k8s.io")
	connection := spdy.NewResponseUpgrader().UpgradeResponse(w, r, func(stream httpstream.Stream, _ <-chan struct{}) error {
		if stream.Headers().Get("streamType") == "data" {
			p.ended.Go(func() { p.answer(stream) })
		} else {
			p.ended.Go(func() { _ = stream.Close() }) // no error
		}
		return nil
	})
	if connection == nil {
		p.t.Error("no upgrade")
		return
	}
	<-connection.CloseChan()
}

func (p *pods) answer(stream httpstream.Stream) {
	defer stream.Close()
	if _, err := http.ReadRequest(bufio.NewReader(stream)); err != nil || stream.Headers().Get("port") != p.port {
		return
	}
	_, _ = fmt.Fprintf(stream, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(p.reply), p.reply)
}

func TestForwardReachesThePod(t *testing.T) {
	far := &pods{t: t, port: "8080", reply: "beskar7_config_valid 1\n"}
	api := httptest.NewServer(far)
	defer api.Close()
	forward := forwarder(&rest.Config{Host: api.URL})
	address, closing, err := forward(t.Context(), "ns", "pod", "8080")
	if err != nil {
		t.Fatal(err)
	}
	if host, _, err := net.SplitHostPort(address); err != nil || host != "127.0.0.1" {
		t.Errorf("the way begins at %s", address)
	}
	one, err := newVisitor("", nil).fetchScrape(t.Context(), "pod", "http://"+address+"/metrics")
	if err != nil || one.total(metricValid, every) != 1 {
		t.Errorf("%+v %v", one, err)
	}
	closing()
	if reply, err := http.Get("http://" + address); err == nil {
		text, _ := io.ReadAll(reply.Body)
		reply.Body.Close()
		t.Errorf("the way is still open: %s", text)
	}
	far.ended.Wait()
	if _, _, err := forward(t.Context(), "ns", "nobody", "8080"); err == nil || !strings.Contains(err.Error(), "forward a port to Pod nobody") {
		t.Errorf("to a Pod that is not there: %v", err)
	}
}
