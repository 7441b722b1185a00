package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/test/emulator"
	"github.com/beskar7/beskar7/test/lab"
)

// home is the namespace of the managers' Leases and settings.
const home = "beskar7-system"

// manager is one process of the product, started again whenever it ends, as a kubelet would.
type manager struct {
	name   string
	binary string
	log    string
	args   func(*manager) []string
	// metrics is where the present process serves its metrics.
	metrics string

	mu      sync.Mutex
	command *exec.Cmd // the present process
	killed  bool      // by us
	// exits counts the processes that ended unasked, such as after a lost lease.
	exits int
	spent cost
}

// run keeps a process running until the context ends.
func (m *manager) run(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := m.once(ctx); err != nil {
			return err
		}
	}
	return nil
}

// once runs one process to its end.
func (m *manager) once(ctx context.Context) error {
	log, err := os.OpenFile(m.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	m.mu.Lock()
	command := exec.CommandContext(ctx, m.binary, m.args(m)...)
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
	command.WaitDelay = 10 * time.Second
	command.Stdout, command.Stderr = log, log
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.Env = append(os.Environ(), "POD_NAME="+m.name, "POD_NAMESPACE="+home, "POD_IP=127.0.0.1")
	err = command.Start()
	m.command, m.killed = command, false
	m.mu.Unlock()
	if err != nil {
		return err
	}
	err = command.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	used := &member{cmd: command}
	m.spent.add(used.cost())
	if ctx.Err() == nil {
		if !m.killed {
			m.exits++
		}
		fmt.Fprintf(log, "--- the process has ended: %v\n", err)
	}
	return nil
}

// kill ends the present process as a power cut would; another follows at once.
func (m *manager) kill() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.command != nil && m.command.Process != nil {
		m.killed = true
		_ = m.command.Process.Kill()
	}
}

// at is where the present process serves its metrics.
func (m *manager) at() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.metrics
}

// freeAddress is a loopback address on which nobody listens now. Should somebody take it before the manager does, the manager ends
// and is started again with another one.
func freeAddress() string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "127.0.0.1:0"
	}
	defer listener.Close()
	return listener.Addr().String()
}

// managers runs a set of them.
type managers struct {
	list  []*manager
	stop  context.CancelFunc
	group sync.WaitGroup
	errs  chan error
}

// startManagers builds the product and starts it as often as asked. It looks at one namespace alone: what storms left behind in
// others would keep it busy.
func (s *site) startManagers(ctx context.Context, o managersOptions, namespace string, qps, burst int) (*managers, error) {
	binary := s.output("manager")
	build := exec.CommandContext(ctx, "go", "build", "-o", binary, ".")
	build.Dir = s.root
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the manager: %w\n%s", err, out)
	}
	args := func(m *manager) []string {
		m.metrics = freeAddress()
		list := []string{"--kubeconfig=" + s.plane.Kubeconfig(), "--namespace=" + namespace, "--metrics-bind-address=" + m.metrics, "--health-probe-bind-address=" + freeAddress(),
			"--media-bind-address=" + freeAddress(), "--media-cache-dir=" + s.output(m.name+"-media"), "--log-level=info", "--log-format=console",
			"--allow-addresses=127.0.0.0/8", // where the emulated BMCs are
			"--leader-elect=true", "--leader-elect-lease-duration=5s", "--leader-elect-renew-deadline=4s", "--leader-elect-retry-period=1s",
			"--kube-api-qps=" + strconv.Itoa(qps), "--kube-api-burst=" + strconv.Itoa(burst)}
		if o.Mode == leaderMode {
			list = append(list, "--enable-claim-coordinator-leader-election=true", "--claim-coordinator-lease-duration=5s",
				"--claim-coordinator-renew-deadline=4s", "--claim-coordinator-retry-period=1s")
		}
		return append(list, o.Extra...)
	}
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	all := &managers{stop: cancel, errs: make(chan error, o.Replicas)}
	for i := range o.Replicas {
		m := &manager{name: fmt.Sprintf("manager-%d", i), binary: binary, args: args, log: s.output(fmt.Sprintf("manager-%d.log", i))}
		all.list = append(all.list, m)
		all.group.Go(func() { all.errs <- m.run(life) })
	}
	return all, nil
}

// end stops all managers and waits for their end.
func (m *managers) end() error {
	m.stop()
	m.group.Wait()
	var errs []error
	for range m.list {
		errs = append(errs, <-m.errs)
	}
	m.errs = make(chan error, len(m.list))
	for range m.list {
		m.errs <- nil // a second call has nothing to say
	}
	return errors.Join(errs...)
}

// enrol starts servers and registers them, and waits until each was observed and is offered.
func (s *site) enrol(ctx context.Context, fleet *emulator.Fleet, namespace string, n int) error {
	ca := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "bmc-ca"}, Data: map[string][]byte{"ca.crt": fleet.CAPEM()}}
	if err := s.client.Create(ctx, ca); err != nil {
		return err
	}
	if err := each(ctx, n, func(ctx context.Context, i int) error {
		bmc, err := fleet.Add(emulator.Spec{Name: hostName(i)})
		if err != nil {
			return err
		}
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: hostName(i) + "-bmc"},
			Data: map[string][]byte{"username": []byte(bmc.Username()), "password": []byte(bmc.Password())}}
		host := newHost(namespace, i)
		host.Spec.RedfishConnection.Address, host.Finalizers = bmc.URL(), nil
		return errors.Join(s.client.Create(ctx, secret), s.client.Create(ctx, host))
	}); err != nil {
		return err
	}
	l := &lab.Lab{Client: s.client}
	return lab.Until(ctx, "the hosts to be available", enrolLimit, func(ctx context.Context) (bool, string, error) { return l.AllAvailable(ctx, namespace) })
}

// enrolLimit is for the largest set on a busy machine.
const enrolLimit = 5 * time.Minute

// order makes a machine as Cluster API would.
func (s *site) order(ctx context.Context, namespace string, i int) error {
	owner, m := newMachine(namespace, i)
	if err := s.client.Create(ctx, owner); err != nil {
		return err
	}
	m.OwnerReferences, m.Finalizers = []metav1.OwnerReference{*metav1.NewControllerRef(owner, clusterv1.GroupVersion.WithKind("Machine"))}, nil
	return s.client.Create(ctx, m)
}

// furnish makes what the managers find in their own namespace: settings that let emulated BMCs go without rest.
func (s *site) furnish(ctx context.Context) error {
	if err := s.makeNamespace(ctx, home); client.IgnoreAlreadyExists(err) != nil {
		return err
	}
	settings := lab.QuickSettings()
	settings["provisioning.maxConcurrentOps"], settings["provisioning.workerCount"], settings["provisioning.maxQueueSize"] = "20", "20", "500"
	return client.IgnoreAlreadyExists(s.client.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: home, Name: "beskar7-config"}, Data: settings}))
}

// scrape sums the samples of metrics by name, over all label sets, from a manager's endpoint.
func scrape(ctx context.Context, address string) (map[string]float64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/metrics", http.NoBody)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	return sumSamples(response.Body)
}

func sumSamples(text io.Reader) (map[string]float64, error) {
	sums := map[string]float64{}
	in := bufio.NewScanner(text)
	for in.Scan() {
		line := in.Text()
		space := strings.LastIndexByte(line, ' ')
		if strings.HasPrefix(line, "#") || space < 0 {
			continue
		}
		value, err := strconv.ParseFloat(line[space+1:], 64)
		if err != nil {
			return nil, fmt.Errorf("read the metrics: %w", err)
		}
		name, _, _ := strings.Cut(line[:space], "{")
		sums[name] += value
	}
	return sums, in.Err()
}
