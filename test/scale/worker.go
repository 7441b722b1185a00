package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"runtime/pprof"
	"sync"
	"time"

	"github.com/go-logr/logr/funcr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	crmanager "sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/controllers"
	"github.com/beskar7/beskar7/pkg/coordinator"
	"github.com/beskar7/beskar7/pkg/hostselection"
	"github.com/beskar7/beskar7/pkg/lease"
	"github.com/beskar7/beskar7/test/lab"
)

// workerVariable holds the order for a process of this program that is to be a worker.
const workerVariable = "BESKAR7_SCALE_WORKER"

// order is what one worker process does.
type order struct {
	Kubeconfig, Namespace string
	// Mode is a claim mode, or raw for measuring writes.
	Mode string
	// Index of Replicas processes; Workers in each.
	Index, Replicas, Workers int
	// Overlap lets every process work on every machine.
	Overlap bool
	// QPS and Burst of the client; negative QPS: no limit.
	QPS   float32
	Burst int
	// RawFor is how long raw writes.
	RawFor time.Duration
	// Profile is a file for a CPU profile, or empty.
	Profile string
	// Identity names the worker in claims and Leases.
	Identity string
}

// ready is the line that a worker prints once its caches are full.
const ready = "ready"

// tally is what a worker says of itself at its end.
type tally struct {
	// Attempts by outcome, and by outcome and reason of conflicts; Retries are further hosts in the same call.
	Attempts  map[string]int `json:"attempts"`
	Conflicts map[string]int `json:"conflicts"`
	Retries   int            `json:"retries"`
	// Calls of Claim by outcome.
	Calls map[string]int `json:"calls"`
	// Took is how long each call took that ended in a claim.
	Took []time.Duration `json:"took"`
	// Writes and For are those of raw.
	Writes int           `json:"writes"`
	For    time.Duration `json:"for"`
	// Errors are the last few, in words.
	Errors []string `json:"errors,omitempty"`
}

// counter counts for the tally. It is a coordinator.Observer.
type counter struct {
	mu sync.Mutex
	t  tally
}

func newCounter() *counter {
	return &counter{t: tally{Attempts: map[string]int{}, Conflicts: map[string]int{}, Calls: map[string]int{}}}
}

func (c *counter) note(f func(*tally)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(&c.t)
}

// ClaimAttempted counts an attempt.
func (c *counter) ClaimAttempted(_, outcome, reason string) {
	c.note(func(t *tally) {
		t.Attempts[outcome]++
		if reason != "" {
			t.Conflicts[reason]++
		}
	})
}

// ClaimTook notes the duration of a call.
func (c *counter) ClaimTook(_ string, took time.Duration) {
	c.note(func(t *tally) { t.Took = append(t.Took, took) })
}

// ClaimRetried counts a further host.
func (c *counter) ClaimRetried(string) { c.note(func(t *tally) { t.Retries++ }) }

const keptErrors = 5

func (c *counter) failed(err error) {
	c.note(func(t *tally) {
		if t.Errors = append(t.Errors, err.Error()); len(t.Errors) > keptErrors {
			t.Errors = t.Errors[1:]
		}
	})
}

// work is the whole life of a worker process: fill the caches, say so, wait for the start, work until standard input says stop or
// ends, and print the tally.
func work(ctx context.Context, text string) error {
	var o order
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return fmt.Errorf("read the order: %w", err)
	}
	ctrl.SetLogger(funcr.New(func(prefix, args string) { fmt.Fprintln(os.Stderr, prefix, args) }, funcr.Options{}))
	config, err := clientcmd.BuildConfigFromFlags("", o.Kubeconfig)
	if err != nil {
		return err
	}
	config.QPS, config.Burst, config.UserAgent = o.QPS, o.Burst, agent(o.Mode)
	started, stop := make(chan struct{}), make(chan struct{})
	counts := newCounter()
	go func() {
		in := bufio.NewScanner(os.Stdin)
		if in.Scan() {
			close(started)
			in.Scan()
		}
		close(stop)
	}()
	if o.Profile != "" {
		written, err := profile(o.Profile)
		if err != nil {
			return err
		}
		defer written()
	}
	if o.Mode == rawMode {
		err = writeRaw(ctx, config, o, counts, started)
	} else {
		err = claimAll(ctx, config, o, counts, started, stop)
	}
	if err != nil {
		return err
	}
	counts.mu.Lock()
	defer counts.mu.Unlock()
	return json.NewEncoder(os.Stdout).Encode(counts.t)
}

// agent is the User-Agent of workers, by which the audit log tells who asked.
func agent(mode string) string { return "storm-" + mode }

func profile(file string) (func(), error) {
	out, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(out); err != nil {
		return nil, errors.Join(err, out.Close())
	}
	return func() { pprof.StopCPUProfile(); _ = out.Close() }, nil
}

// claimAll runs the claiming part of a manager until it is told to stop, and what it has begun by then to its end.
func claimAll(ctx context.Context, config *rest.Config, o order, counts *counter, started, stop <-chan struct{}) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	scheme, err := lab.Scheme()
	if err != nil {
		return err
	}
	no := false
	mgr, err := ctrl.NewManager(config, ctrl.Options{Scheme: scheme, Metrics: metricsserver.Options{BindAddress: "0"}, HealthProbeBindAddress: "0",
		Cache:  cache.Options{DefaultNamespaces: map[string]cache.Config{o.Namespace: {}}},
		Client: client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&corev1.ConfigMap{}, &corev1.Secret{}}}}})
	if err != nil {
		return err
	}
	if err := mgr.GetFieldIndexer().IndexField(ctx, &v1beta1.PhysicalHost{}, coordinator.HostByClaimMachine, coordinator.IndexHostByClaimMachine); err != nil {
		return err
	}
	wake := &waker{}
	claims, err := newClaims(ctx, mgr, o, counts, wake, started)
	if err != nil {
		return err
	}
	w := &claimWorker{client: mgr.GetClient(), order: o, claims: claims, counts: counts, started: started}
	err = ctrl.NewControllerManagedBy(mgr).For(&v1beta1.Beskar7Machine{}).Watches(&v1beta1.PhysicalHost{}, w.hostEvents()).WatchesRawSource(wake.source()).
		WithOptions(controller.Options{MaxConcurrentReconciles: o.Workers, NeedLeaderElection: &no}).Complete(w)
	if err != nil {
		return err
	}
	go func() {
		if mgr.GetCache().WaitForCacheSync(ctx) {
			fmt.Println(ready)
		}
	}()
	go func() {
		<-stop
		w.stop()
		cancel()
	}()
	return mgr.Start(ctx)
}

// settings of host selection: the defaults of the guide.
func settings() coordinator.Settings {
	return coordinator.Settings{Algorithm: hostselection.Deterministic, RetryLimit: 3, BackoffMultiplier: 2, MaxBackoffDelay: 30 * time.Second}
}

// newClaims makes the claimer of the mode as main.go does, with these differences: in optimistic mode the worker believes that it
// holds the driver lease, and a candidate for arbiter stands only from the start signal on.
func newClaims(ctx context.Context, mgr ctrl.Manager, o order, counts *counter, wake *waker, started <-chan struct{}) (coordinator.Claimer, error) {
	options := coordinator.Options{Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Settings: settings, Clock: clock.RealClock{}, Random: rand.Reader,
		Fence:    func() coordinator.Fence { return coordinator.Fence{Holder: o.Identity, Transitions: 1} },
		Observer: counts, Informed: true, Wake: wake.wake}
	if o.Mode == optimisticMode {
		return coordinator.NewOptimistic(options), nil
	}
	lock, err := lease.NewClaimLock(mgr.GetConfig(), o.Namespace, o.Identity, claimLease, claimRenewal, clock.RealClock{})
	if err != nil {
		return nil, err
	}
	options.Fence = lock.Fence
	wishes := controllers.Wishes{Client: mgr.GetClient()}
	arbiter := coordinator.NewArbiter(coordinator.ArbiterOptions{Options: options, Clock: clock.RealClock{}, Wish: wishes.Of, Namespace: o.Namespace, Workers: o.Workers})
	if err := wishes.Feed(ctx, mgr.GetCache(), arbiter); err != nil {
		return nil, err
	}
	candidacy := &lease.Candidacy{Lease: lock, LeaseDuration: claimLease, RenewDeadline: claimRenewal, RetryPeriod: claimRetry, Arbiter: arbiter,
		Ready: func(ctx context.Context) bool {
			select {
			case <-started:
				return mgr.GetCache().WaitForCacheSync(ctx)
			case <-ctx.Done():
				return false
			}
		}}
	return coordinator.NewConfirmer(options, lock.Alive), mgr.Add(crmanager.RunnableFunc(candidacy.Run))
}

// The arbiter's Lease, as short as the guide's ranges allow: a killed arbiter holds it for that long.
const (
	claimLease   = 5 * time.Second
	claimRenewal = 4 * time.Second
	claimRetry   = time.Second
)

type requestQueue = workqueue.TypedRateLimitingInterface[ctrl.Request]

// waker hands machines that the claimer asks for to the controller.
type waker struct {
	mu    sync.Mutex
	queue requestQueue
}

func (w *waker) wake(machine types.NamespacedName) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.queue != nil { // before the controller runs, nobody waits
		w.queue.Add(ctrl.Request{NamespacedName: machine})
	}
}

func (w *waker) source() source.Source {
	return source.Func(func(_ context.Context, queue requestQueue) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.queue = queue
		return nil
	})
}

// claimWorker is the claiming part of the machine controller.
type claimWorker struct {
	client  client.Client
	order   order
	claims  coordinator.Claimer
	counts  *counter
	started <-chan struct{}

	busy    sync.RWMutex // read-locked by each reconcile
	stopped bool
}

// stop lets no reconcile begin any more and waits for those that have: a request that is broken off counts as failed.
func (w *claimWorker) stop() {
	w.busy.Lock()
	defer w.busy.Unlock()
	w.stopped = true
}

// mine says whether this process works on the machine.
func (w *claimWorker) mine(machine string) bool {
	if w.order.Overlap {
		return true
	}
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(machine))
	return int(hash.Sum32())%w.order.Replicas == w.order.Index
}

// conflictRetry is the machine controller's.
const conflictRetry = 100 * time.Millisecond

// Reconcile gets one machine a host.
func (w *claimWorker) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	select {
	case <-w.started:
	case <-ctx.Done():
		return ctrl.Result{}, nil
	}
	w.busy.RLock()
	defer w.busy.RUnlock()
	if w.stopped {
		return ctrl.Result{}, nil
	}
	m := &v1beta1.Beskar7Machine{}
	if err := w.client.Get(ctx, req.NamespacedName, m); err != nil || !w.mine(m.Name) {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if m.Spec.HostRef != nil {
		host := &v1beta1.PhysicalHost{}
		if err := w.client.Get(ctx, client.ObjectKey{Namespace: m.Namespace, Name: m.Spec.HostRef.Name}, host); err == nil && host.ClaimedBy(m) {
			return ctrl.Result{}, nil
		}
	}
	result, err := w.claims.Claim(ctx, coordinator.ClaimRequest{Machine: m, Cluster: clusterName, Boot: boot(m)})
	switch {
	case apierrors.IsConflict(err):
		return ctrl.Result{RequeueAfter: conflictRetry}, nil
	case errors.Is(err, coordinator.ErrNoLease):
		return ctrl.Result{RequeueAfter: time.Second}, nil
	case err != nil:
		if ctx.Err() == nil {
			w.counts.failed(err)
		}
		return ctrl.Result{}, err
	}
	w.counts.note(func(t *tally) { t.Calls[string(result.Outcome)]++ })
	return ctrl.Result{RequeueAfter: result.RetryAfter}, nil
}

// hostEvents wakes the machine of a claim, and whose turn it is by what the claimer knows.
func (w *claimWorker) hostEvents() handler.EventHandler {
	changed := func(before, after client.Object, q requestQueue) {
		b, _ := before.(*v1beta1.PhysicalHost)
		a, _ := after.(*v1beta1.PhysicalHost)
		for _, h := range []*v1beta1.PhysicalHost{b, a} {
			if h != nil && h.Spec.Claim != nil && w.mine(h.Spec.Claim.Machine) {
				q.Add(ctrl.Request{NamespacedName: client.ObjectKey{Namespace: h.Namespace, Name: h.Spec.Claim.Machine}})
			}
		}
		for _, machine := range w.claims.HostChanged(b, a) {
			q.Add(ctrl.Request{NamespacedName: machine})
		}
	}
	return handler.TypedFuncs[client.Object, ctrl.Request]{
		CreateFunc: func(_ context.Context, e event.CreateEvent, q requestQueue) { changed(nil, e.Object, q) },
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q requestQueue) { changed(e.ObjectOld, e.ObjectNew, q) },
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, q requestQueue) { changed(e.Object, nil, q) },
	}
}
