package crash

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync/atomic"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr/funcr"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/cluster-api/controllers/clustercache"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/controllers"
	"github.com/beskar7/beskar7/controllers/media"
	"github.com/beskar7/beskar7/pkg/actuator"
	"github.com/beskar7/beskar7/pkg/bootmedia"
	"github.com/beskar7/beskar7/pkg/config"
	"github.com/beskar7/beskar7/pkg/coordinator"
	"github.com/beskar7/beskar7/pkg/coordinator/bmcqueue"
	"github.com/beskar7/beskar7/pkg/hostselection"
)

const (
	cooldown = time.Second
	// quiet is how long a process that follows a crashed one leaves the BMCs alone.
	quiet = 5 * time.Second
)

func labelSet(l map[string]string) labels.Set { return l }

// site is one management cluster with at most one process of ours at a time.
type site struct {
	name  string
	world *world
	store *store
	// cache is what caches show; it lags behind.
	cache   map[objectKey]*stored
	process *process
	// started counts processes: the transitions of the Lease.
	started int32
}

// process is our manager, from start to end.
type process struct {
	site   *site
	cancel context.CancelFunc
	// dead: the process ended at a cut; nothing that it still does has an effect.
	dead    atomic.Bool
	host    *controllers.PhysicalHostReconciler
	machine *controllers.Beskar7MachineReconciler
	claims  coordinator.Claimer
	arbiter *coordinator.Arbiter
	ctx     context.Context
}

var (
	errCut  = errors.New("cut off")
	errDead = errors.New("this process is no more")
)

// cut is what a request is answered instead.
type cut struct{ before, after error }

// request asks whether this is the request at which something goes wrong. object is what is written, for the API server's.
func (p *process) request(to, what string, object client.Object) cut {
	if p.dead.Load() {
		return cut{before: errDead}
	}
	return p.site.world.request(p, to, what, object)
}

// cutClient is the API server as a process sees it: reads from the cache but for the live ones, and every write and live read can
// be cut. What the product does not use is not there.
type cutClient struct {
	client.Client
	view
	p    *process
	live bool
}

func (c cutClient) Scheme() *runtime.Scheme     { return scheme }
func (c cutClient) RESTMapper() meta.RESTMapper { return meta.NewDefaultRESTMapper(nil) }

func (c cutClient) Get(ctx context.Context, k client.ObjectKey, o client.Object, opts ...client.GetOption) error {
	return c.read("get "+kindOf(o)+" "+k.Name, func() error { return c.view.Get(ctx, k, o, opts...) })
}

func (c cutClient) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	return c.read(fmt.Sprintf("list %T", list), func() error { return c.view.List(ctx, list, opts...) })
}

func (c cutClient) read(what string, do func() error) error {
	if !c.live {
		return do()
	}
	cut := c.p.request("api", what, nil)
	if cut.before != nil || cut.after != nil {
		return errors.Join(cut.before, cut.after)
	}
	return do()
}

func (c cutClient) Patch(_ context.Context, o client.Object, p client.Patch, _ ...client.PatchOption) error {
	return c.write(o, p, false)
}

func (c cutClient) Create(_ context.Context, o client.Object, _ ...client.CreateOption) error {
	return c.change("create", o, func() error { return c.p.site.store.createNew(o) })
}

func (c cutClient) Delete(_ context.Context, o client.Object, opts ...client.DeleteOption) error {
	asked := client.DeleteOptions{}
	asked.ApplyOptions(opts)
	return c.change("delete", o, func() error { return c.p.site.store.deleteSame(o, asked.Preconditions) })
}

// change is a write that may be cut.
func (c cutClient) change(verb string, o client.Object, do func() error) error {
	cut := c.p.request("api", verb+" "+kindOf(o)+" "+o.GetName(), o)
	if cut.before != nil {
		return cut.before
	}
	if err := do(); err != nil {
		return err
	}
	return cut.after
}

func (c cutClient) Status() client.SubResourceWriter { return cutStatus{c: c} }

type cutStatus struct {
	client.SubResourceWriter
	c cutClient
}

func (s cutStatus) Patch(_ context.Context, o client.Object, p client.Patch, _ ...client.SubResourcePatchOption) error {
	return s.c.write(o, p, true)
}

func (c cutClient) write(o client.Object, p client.Patch, status bool) error {
	what := "patch " + kindOf(o) + " " + o.GetName()
	if status {
		what += "/status"
	} else if data, err := p.Data(o); err == nil {
		what += " " + string(data)
	}
	cut := c.p.request("api", what, o)
	if cut.before != nil {
		return cut.before
	}
	if err := c.p.site.store.patch(o, p, status); err != nil {
		return err
	}
	return cut.after
}

// readyImage needs no download.
type readyImage struct{}

func (readyImage) Prepare(context.Context, string, string) (bootmedia.Prepared, error) {
	return bootmedia.Prepared{Ready: true}, nil
}

func (readyImage) Again(string) {}

// recorder keeps events for the witness.
type recorder struct{ w *world }

func (r recorder) Eventf(_, _ runtime.Object, kind, reason, action, note string, args ...any) {
	r.w.history.Said("an event", kind+" "+reason+" "+action+" "+fmt.Sprintf(note, args...))
}

var _ events.EventRecorder = recorder{}

// start starts the site's process.
func (s *site) start() {
	w := s.world
	hand := bmcqueue.Unclean
	if s.started == 0 {
		hand = bmcqueue.NobodyBefore
	}
	s.started++
	s.cache = s.store.snapshot()
	log := funcr.New(func(prefix, args string) { w.history.Said("a log line", prefix+" "+args) }, funcr.Options{Verbosity: 9})
	ctx, cancel := context.WithCancel(ctrl.LoggerInto(context.Background(), log))
	p := &process{site: s, cancel: cancel, ctx: ctx}
	s.process = p
	gate := bmcqueue.New(bmcqueue.Options{HandOver: hand, QuietTime: quiet, Settings: bmcqueue.Settings{MaxConcurrentOps: 2, WorkerCount: 2, MaxQueueSize: 10,
		RetryAttempts: 3, Cooldown: cooldown, ExponentialBackoff: true, MaxRetryDelay: 10 * time.Second}})
	go func() { _ = gate.Run(ctx) }()
	hands := actuator.New(actuator.Options{Gate: gate, Driver: driver{p, w.servers}, Clock: clock.RealClock{}})
	cached := cutClient{view: view{func() map[objectKey]*stored { return s.cache }, indexes}, p: p}
	live := cutClient{view: view{s.store.snapshot, indexes}, p: p, live: true}
	p.host = &controllers.PhysicalHostReconciler{Client: cached, Reader: live, SecretReader: cached, SecretMeta: cached, Actuator: hands, Media: readyImage{},
		Tokens: media.NewTokens(), MediaURL: mediaURL, PhoneHomeURL: mediaURL, ClusterCache: clustercache.NewFakeEmptyClusterCache(), Events: recorder{w},
		Clock: clock.RealClock{}, BMC: func(*v1beta1.PhysicalHost) config.Tuning { return config.Tuning{RequestTimeout: time.Minute} }, ClaimGrace: coordinator.DefaultGrace}
	p.claims = s.claimer(p, cached, live)
	p.machine = &controllers.Beskar7MachineReconciler{Client: cached, Reader: live, ClusterCache: clustercache.NewFakeEmptyClusterCache(), Clock: clock.RealClock{}, Claims: p.claims}
	s.tell(nil, s.cache)
}

// claimer is of the life's mode. In claim-leader mode the process is also the arbiter.
func (s *site) claimer(p *process, cached, live cutClient) coordinator.Claimer {
	fence := coordinator.Fence{Holder: fmt.Sprintf("%s-%d", s.name, s.started), Transitions: s.started}
	options := coordinator.Options{Client: cached, Reader: live, Clock: clock.RealClock{}, Random: rand.Reader, Fence: func() coordinator.Fence { return fence }, Informed: true,
		Settings: func() coordinator.Settings {
			return coordinator.Settings{Algorithm: hostselection.Deterministic, RetryLimit: 2, BackoffMultiplier: 2, MaxBackoffDelay: 5 * time.Second}
		}}
	if !s.world.life.leader {
		return coordinator.NewOptimistic(options)
	}
	wishes := controllers.Wishes{Client: cached}
	p.arbiter = coordinator.NewArbiter(coordinator.ArbiterOptions{Options: options, Clock: clock.RealClock{}, Wish: wishes.Of})
	go p.arbiter.Run(p.ctx)
	return coordinator.NewConfirmer(options, func() bool { return true })
}

// sync brings the caches up to date and tells of what changed, as watches do.
func (s *site) sync() {
	before := s.cache
	s.cache = s.store.snapshot()
	s.tell(before, s.cache)
}

func (s *site) tell(before, after map[objectKey]*stored) {
	hostOf := func(o *stored) *v1beta1.PhysicalHost {
		if o == nil {
			return nil
		}
		return o.typed.(*v1beta1.PhysicalHost)
	}
	for _, key := range s.world.changedKeys(before, after) {
		was, is := before[key], after[key]
		if key.kind == "PhysicalHost" {
			s.process.claims.HostChanged(hostOf(was), hostOf(is))
		}
		if s.process.arbiter != nil {
			s.tellArbiter(key, is)
		}
	}
}

func (s *site) tellArbiter(key objectKey, is *stored) {
	name, arbiter := types.NamespacedName{Namespace: namespace, Name: key.name}, s.process.arbiter
	switch {
	case key.kind == "PhysicalHost" && is != nil:
		arbiter.HostChanged(is.typed.(*v1beta1.PhysicalHost))
	case key.kind == "PhysicalHost":
		arbiter.HostDeleted(name)
	case key.kind == "Beskar7Machine" && is != nil:
		arbiter.MachineChanged(is.typed.(*v1beta1.Beskar7Machine))
	case key.kind == "Beskar7Machine":
		arbiter.MachineDeleted(name)
	default:
		for _, m := range s.world.life.machines() {
			arbiter.WishChanged(types.NamespacedName{Namespace: namespace, Name: m})
		}
	}
}

// look reconciles everything once, as if everything had been woken.
func (s *site) look() {
	for _, m := range s.world.life.machines() {
		s.reconcile(m, s.process.machine.Reconcile)
	}
	for _, h := range s.world.life.hosts() {
		s.reconcile(h, s.process.host.Reconcile)
	}
}

func (s *site) reconcile(name string, do func(context.Context, ctrl.Request) (ctrl.Result, error)) {
	if s.process == nil || s.process.dead.Load() {
		return
	}
	ctx, cancel := context.WithTimeout(s.process.ctx, time.Minute)
	defer cancel()
	if _, err := do(ctx, ctrl.Request{NamespacedName: types.NamespacedName{Namespace: namespace, Name: name}}); err != nil {
		s.world.history.Said("an error", err.Error())
	}
}

// stop ends the process; what it began is waited for.
func (s *site) stop() {
	if s.process == nil {
		return
	}
	s.process.dead.Store(true)
	s.process.cancel()
	synctest.Wait()
	s.process = nil
}
