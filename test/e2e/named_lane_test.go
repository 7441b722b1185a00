//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/beskar7/beskar7/test/controlplane"
	"github.com/beskar7/beskar7/test/emulator"
)

// lane is an installation of Beskar7 for one namespace: a manager that is started again whenever it ends, as a Deployment would,
// with doors of ours between it and its API server and BMCs. Lanes share the API server and nothing else, so that a call, a kill and
// what follows belong to one life.
type lane struct {
	site      *namedSite
	mode      string
	namespace string
	host      string // an address of its own
	media     string // host and port of its media server
	door      *httptest.Server
	process   *controlplane.Process
	calls     calls
	// limit is how long a machine may take until its node runs, and until it is given back.
	limit time.Duration
	// drop says whether a write is answered and not forwarded: a planted fault.
	drop func(call string) bool
	// heard is told of every request to a BMC that was answered; nil: nobody is.
	heard func(*emulator.BMC, string, *http.Request, []byte)

	killed atomic.Bool // the present end of the process was asked for
	// exits counts the ends that nobody asked for.
	exits  atomic.Int32
	keeper sync.WaitGroup
	stop   context.CancelFunc
	lives  []lived
}

// lived is one life of a lane.
type lived struct {
	machine  string
	cut      cut
	from, to time.Time
	reached  bool
}

// openDoor starts the proxy to the API server, and returns the path of a kubeconfig that leads to it.
func (l *lane) openDoor(dir string) (string, error) {
	config := l.site.Plane.Config()
	transport, err := rest.TransportFor(config)
	if err != nil {
		return "", err
	}
	target, err := url.Parse(config.Host)
	if err != nil {
		return "", err
	}
	proxy := &httputil.ReverseProxy{Transport: transport, FlushInterval: -1, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) },
		// The manager is gone, or the API server ends: nothing is answered.
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }}
	l.door = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { l.passAPI(proxy, w, r) }))
	l.door.EnableHTTP2 = true
	l.door.StartTLS()
	file := clientcmdapi.NewConfig()
	file.Clusters["door"] = &clientcmdapi.Cluster{Server: l.door.URL,
		CertificateAuthorityData: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: l.door.Certificate().Raw})}
	file.Contexts["door"] = &clientcmdapi.Context{Cluster: "door"}
	file.CurrentContext = "door"
	name := filepath.Join(dir, "kubeconfig")
	return name, clientcmd.WriteToFile(*file, name)
}

// passAPI forwards a request to the API server, but for what a cut or a planted fault says.
func (l *lane) passAPI(proxy http.Handler, w http.ResponseWriter, r *http.Request) {
	body, err := readBody(r)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	call := apiCall(r, body)
	switch l.calls.meet(call) {
	case killBefore:
		l.kill()
		panic(http.ErrAbortHandler)
	case killAfter:
		// The effect comes whether or not somebody still waits for the answer.
		proxy.ServeHTTP(httptest.NewRecorder(), r.WithContext(context.WithoutCancel(r.Context())))
		l.kill()
		panic(http.ErrAbortHandler)
	case goOn:
	}
	if l.drop != nil && l.drop(call) { // what is there is shown, as if it were what was written
		r.Method, r.Body, r.ContentLength, r.URL.RawQuery = http.MethodGet, http.NoBody, 0, ""
	}
	proxy.ServeHTTP(w, r)
}

// passBMC is passAPI for a BMC: it stands inside the BMC, after TLS, where the request is known.
func (l *lane) passBMC(bmc *emulator.BMC, w http.ResponseWriter, r *http.Request) bool {
	body, err := readBody(r)
	if err != nil {
		return hangUp(w)
	}
	call := bmcCall(r, body)
	switch l.calls.meet(call) {
	case killBefore:
		l.kill()
		return hangUp(w)
	case killAfter:
		bmc.Answer(httptest.NewRecorder(), r)
		l.kill()
		return hangUp(w)
	case goOn:
	}
	bmc.Answer(w, r)
	if l.heard != nil {
		l.heard(bmc, call, r, body)
	}
	return true
}

// readBody reads the body, and puts it back.
func readBody(r *http.Request) ([]byte, error) {
	if r.Method == http.MethodGet {
		return nil, nil
	}
	body, err := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	return body, err
}

func hangUp(w http.ResponseWriter) bool {
	if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
		_ = conn.Close()
	}
	return true
}

// kill ends the manager as a power cut would, and returns when it is gone.
func (l *lane) kill() {
	l.killed.Store(true)
	_ = l.process.Kill9() // it may have ended by itself this moment
}

// run starts the manager, and again after each end.
func (l *lane) run(ctx context.Context, kubeconfig, dir string) error {
	args := []string{"--kubeconfig=" + kubeconfig, "--namespace=" + l.namespace, "--log-format=console", "--log-level=info",
		"--diagnostics-address=" + l.host + ":0", "--health-probe-bind-address=" + l.host + ":0", "--media-bind-address=" + l.media,
		"--media-ca-secret=" + mediaSecret, "--media-cache-dir=" + filepath.Join(dir, "media"), "--allow-addresses=127.0.0.0/8",
		"--leader-elect=true", "--leader-elect-lease-duration=5s", "--leader-elect-renew-deadline=4s", "--leader-elect-retry-period=1s",
		"--kube-api-qps=100", "--kube-api-burst=200"}
	if l.mode == leaderMode {
		args = append(args, "--enable-claim-coordinator-leader-election=true", "--claim-coordinator-lease-duration=5s",
			"--claim-coordinator-renew-deadline=4s", "--claim-coordinator-retry-period=1s")
	}
	env := append(os.Environ(), "POD_NAME=manager", "POD_NAMESPACE="+l.namespace, "POD_IP="+l.host, "HOME="+dir)
	l.process = controlplane.Program(l.namespace, l.site.binary, dir, filepath.Join(l.site.Logs(), l.namespace+".log"), args, env)
	if err := l.process.Start(); err != nil {
		return err
	}
	ctx, l.stop = context.WithCancel(ctx)
	l.keeper.Go(func() { l.keep(ctx) })
	return nil
}

// keep starts the process again.
func (l *lane) keep(ctx context.Context) {
	for {
		_ = l.process.Wait(ctx)
		if ctx.Err() != nil {
			return
		}
		if !l.killed.Swap(false) {
			l.exits.Add(1)
		}
		if err := l.process.Start(); err != nil {
			l.site.t.Errorf("start the manager of %s again: %v", l.namespace, err)
			return
		}
	}
}

// close ends the manager and the doors.
func (l *lane) close() error {
	if l.stop == nil {
		return nil
	}
	l.stop()
	l.keeper.Wait()
	err := l.process.Kill9()
	l.door.CloseClientConnections()
	l.door.Close()
	if errors.Is(err, controlplane.ErrNotRunning) {
		return nil
	}
	return err
}
