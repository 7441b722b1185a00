package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/test/emulator"
	"github.com/beskar7/beskar7/test/lab"
)

// fleetOptions are the flags of fleet.
type fleetOptions struct {
	Hosts int
	// Idle is how long the manager rests before it is measured for as long again as it was observed.
	Idle time.Duration
	// Limit of the enrolment.
	Limit time.Duration
	// Profiles is a folder for the manager's profiles; empty: none are taken.
	Profiles string
}

// Names and credentials that all hosts of a fleet share.
const (
	sharedName     = "shared-bmc"
	sharedUser     = "operator"
	sharedPassword = "one password for all" //nolint:gosec // of emulated BMCs
)

// productAgent is in the User-Agent of all that the manager asks of its API server.
const productAgent = "beskar7-controller-manager"

// register is the fleet storm: one manager as it is shipped, a real API server and emulated BMCs. All hosts are registered with one CA
// and one credentials Secret; once all are available, the manager is watched while it has nothing to do.
func (s *site) register(ctx context.Context, o fleetOptions) (r run, err error) {
	r = run{Kind: "fleet", Name: fmt.Sprintf("fleet, %d hosts, %s idle", o.Hosts, o.Idle), Hosts: o.Hosts, Replicas: 1,
		At: time.Now().UTC().Truncate(time.Second), CPUs: runtime.NumCPU(), Measures: map[string]float64{}}
	namespace := fmt.Sprintf("fleet-%d", time.Now().UnixNano())
	if err := errors.Join(s.furnish(ctx), s.makeNamespace(ctx, namespace)); err != nil {
		return r, err
	}
	fleet, err := emulator.New(emulator.Options{})
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, fleet.Close()) }()
	hosts, err := s.shareOut(ctx, fleet, namespace, o.Hosts)
	if err != nil {
		return r, err
	}
	if err := s.settle(ctx); err != nil {
		return r, err
	}
	pprof := freeAddress()
	all, err := s.startManagers(ctx, managersOptions{Replicas: 1, Mode: optimisticMode, Extra: []string{"--enable-pprof=true", "--pprof-bind-address=" + pprof}},
		"", largestQPS, largestBurst) // of all namespaces, as it is shipped
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, all.end()) }()
	if err := s.enrolFleet(ctx, o, &r, hosts, namespace); err != nil {
		return r, err
	}
	m := all.list[0]
	if err := s.rest(ctx, o, &r, fleet, m, "http://"+pprof); err != nil {
		return r, err
	}
	if m.exits > 0 {
		return r, fmt.Errorf("the manager ended %d times by itself (log: %s)", m.exits, m.log)
	}
	return r, nil
}

// shareOut starts the servers and makes the two Secrets; the hosts that it returns are yet to be registered.
func (s *site) shareOut(ctx context.Context, fleet *emulator.Fleet, namespace string, n int) ([]*v1beta1.PhysicalHost, error) {
	secrets := []*corev1.Secret{
		{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "bmc-ca"}, Data: map[string][]byte{"ca.crt": fleet.CAPEM()}},
		{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: sharedName}, Data: map[string][]byte{"username": []byte(sharedUser), "password": []byte(sharedPassword)}},
	}
	for _, secret := range secrets {
		if err := s.client.Create(ctx, secret); err != nil {
			return nil, err
		}
	}
	hosts := make([]*v1beta1.PhysicalHost, n)
	for i := range hosts {
		bmc, err := fleet.Add(emulator.Spec{Name: hostName(i), Username: sharedUser, Password: sharedPassword})
		if err != nil {
			return nil, err
		}
		hosts[i] = newHost(namespace, i)
		hosts[i].Spec.RedfishConnection.Address, hosts[i].Finalizers = bmc.URL(), nil
		hosts[i].Spec.RedfishConnection.CredentialsSecretRef.Name = sharedName
	}
	return hosts, nil
}

// enrolFleet registers the hosts and waits until all are available.
func (s *site) enrolFleet(ctx context.Context, o fleetOptions, r *run, hosts []*v1beta1.PhysicalHost, namespace string) error {
	since, err := s.auditSize()
	if err != nil {
		return err
	}
	start := time.Now()
	if err := each(ctx, len(hosts), func(ctx context.Context, i int) error { return s.client.Create(ctx, hosts[i]) }); err != nil {
		return err
	}
	l := &lab.Lab{Client: s.client}
	if err := lab.Until(ctx, "the hosts to be available", o.Limit, func(ctx context.Context) (bool, string, error) { return l.AllAvailable(ctx, namespace) }); err != nil {
		return err
	}
	took := time.Since(start)
	asked, err := s.requestsOf(productAgent, since)
	if err != nil {
		return err
	}
	r.set("seconds", took.Seconds())
	r.set("hostsPerMinute", float64(o.Hosts)/took.Minutes())
	r.set("requestsPerHost", float64(asked.All)/float64(o.Hosts))
	r.set("failedRequests", float64(asked.Failed))
	r.Requests = &asked
	s.say("%s: %d hosts are available after %.0f s", r.Name, o.Hosts, took.Seconds())
	return nil
}

// rest lets the manager rest, and measures it for the second half of the time.
func (s *site) rest(ctx context.Context, o fleetOptions, r *run, fleet *emulator.Fleet, m *manager, pprof string) error {
	if err := pause(ctx, o.Idle/2); err != nil {
		return err
	}
	since, err := s.auditSize()
	if err != nil {
		return err
	}
	before, err := m.cost()
	if err != nil {
		return err
	}
	polled, start := answered(fleet), time.Now()
	if o.Profiles != "" {
		if err := o.profile(ctx, pprof, o.Idle/2); err != nil {
			return err
		}
	}
	if err := pause(ctx, o.Idle/2-time.Since(start)); err != nil {
		return err
	}
	after, err := m.cost()
	if err != nil {
		return err
	}
	asked, err := s.requestsOf(productAgent, since)
	if err != nil {
		return err
	}
	took := time.Since(start)
	r.set("idleCores", (after.CPU-before.CPU).Seconds()/took.Seconds())
	r.set("idleMemoryMiB", mebi(after.Resident))
	r.set("peakMemoryMiB", mebi(after.Memory))
	r.set("idleWrites", float64(asked.Writes))
	r.set("idleRequests", float64(asked.All))
	r.set("pollsPerHostMinute", float64(answered(fleet)-polled)/float64(o.Hosts)/took.Minutes())
	return nil
}

// answered is how many requests the BMCs have answered.
func answered(fleet *emulator.Fleet) (total int) {
	for _, b := range fleet.BMCs() {
		total += b.Requests().Total
	}
	return total
}

// cost of the present process so far.
func (m *manager) cost() (cost, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.command == nil || m.command.Process == nil {
		return cost{}, errors.New("the manager does not run")
	}
	return processCost(m.command.Process.Pid)
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// profile takes a CPU profile for as long, and then one of the heap and one of the goroutines.
func (o fleetOptions) profile(ctx context.Context, pprof string, d time.Duration) error {
	if err := os.MkdirAll(o.Profiles, 0o750); err != nil {
		return err
	}
	seconds := max(1, int(d.Seconds())-2)
	for name, path := range map[string]string{"cpu": fmt.Sprintf("profile?seconds=%d", seconds), "heap": "heap", "goroutines": "goroutine"} {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, pprof+"/debug/pprof/"+path, http.NoBody)
		if err != nil {
			return err
		}
		if err := save(request, filepath.Join(o.Profiles, name+".pprof")); err != nil {
			return fmt.Errorf("take the profile %s: %w", name, err)
		}
	}
	return nil
}

func save(request *http.Request, file string) error {
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s", response.Status)
	}
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, response.Body)
	return errors.Join(err, out.Close())
}
