//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/watch"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/provision"
	"github.com/beskar7/beskar7/test/lab"
)

// seedVariable chooses the moments of TestKilledTenTimes, and the order of TestNamedCalls.
const seedVariable = "BESKAR7_E2E_SEED"

// TestKilledTenTimes ends the manager with SIGKILL at ten seeded steps of a cluster's life and starts it again at once.
func TestKilledTenTimes(t *testing.T) {
	l := newLab(t, func(o *lab.Options) {
		// As low as the ranges go: a killed holder's lease must run out before the next process drives BMCs.
		o.ExtraArgs = []string{"--leader-elect-lease-duration=5s", "--leader-elect-renew-deadline=3s", "--leader-elect-retry-period=1s"}
	})
	s := newStory(t, l, "kill", 4)
	k := newKiller(t, s)
	hunt, stop := context.WithCancel(t.Context())
	hunted := make(chan error, 1)
	go func() { defer close(hunted); hunted <- k.hunt(hunt) }()
	defer func() { stop(); <-hunted }()
	s.apply(lab.ClusterSpec{Name: "kill", ControlPlanes: 1, Workers: 2})
	s.running("kill", 1, 2)
	s.scaleWorkers(3)
	s.running("kill", 1, 3)
	s.scaleWorkers(1)
	s.running("kill", 1, 1)
	s.remove("kill")
	s.available()
	stop()
	g := NewWithT(t)
	g.Expect(<-hunted).To(Succeed())
	g.Expect(k.left).To(BeEmpty(), "steps that were not seen")
	s.spent()
	w := s.witness()
	g.Expect([]int{w.Provisioned, w.Released}).To(Equal([]int{4, 4}))
}

// scaleWorkers scales the one MachineDeployment of the story.
func (s *story) scaleWorkers(n int) {
	s.t.Helper()
	list := &clusterv1.MachineDeploymentList{}
	g := NewWithT(s.t)
	g.Expect(s.Client.List(s.t.Context(), list, client.InNamespace(s.namespace))).To(Succeed())
	g.Expect(list.Items).To(HaveLen(1))
	s.kubectl("scale", "machinedeployment", list.Items[0].Name, "--replicas="+strconv.Itoa(n))
}

// spent expects of the servers themselves that all of the story are off, empty and disarmed.
func (s *story) spent() {
	s.t.Helper()
	hosts, err := s.Hosts(s.t.Context(), s.namespace)
	NewWithT(s.t).Expect(err).NotTo(HaveOccurred())
	for i := range hosts {
		s.spentServer(hosts[i].Name)
	}
}

func (s *story) spentServer(name string) {
	s.t.Helper()
	if why := s.unspent(name); why != "" {
		s.t.Error(why)
	}
}

// unspent says in which way a server is not off, empty and disarmed.
func (s *story) unspent(name string) string {
	state := s.Fleet.Get(name).State()
	if state.Power != "Off" || state.Override.Enabled != "Disabled" {
		return fmt.Sprintf("server %s is %s, boot override %s", name, state.Power, state.Override)
	}
	for _, slot := range state.Slots {
		if slot.Inserted {
			return fmt.Sprintf("server %s has a medium in slot %s", name, slot.ID)
		}
	}
	return ""
}

// moment is one step of a host's life at which the manager is killed: the nth time that it is seen, or the next.
type moment struct {
	step string
	nth  int
}

// steps of provisioning and of release, each named by what the API shows of it.
var (
	provisioningSteps = []string{"claimed", "granted", string(provision.Insert), string(provision.Arm), string(provision.PowerOn), string(v1beta1.StateBooting), "bound"}
	releaseSteps      = []string{"marked", string(provision.ShutDown), string(provision.Eject), "cleared"}
)

// killer watches hosts and kills the manager.
type killer struct {
	t     *testing.T
	story *story
	watch client.WithWatch
	left  []moment
	seen  map[string]bool // steps by host, claim and name
	count map[string]int  // how often a step was seen
	held  map[string]bool // hosts that had a claim
}

// seedOf is what seedVariable says.
func seedOf(t *testing.T) uint64 {
	t.Helper()
	v := os.Getenv(seedVariable)
	if v == "" {
		return 7
	}
	seed, err := strconv.ParseUint(v, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return seed
}

func newKiller(t *testing.T, s *story) *killer {
	t.Helper()
	seed := seedOf(t)
	scheme, err := lab.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	w, err := client.NewWithWatch(s.Plane.Config(), client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	k := &killer{t: t, story: s, watch: w, seen: map[string]bool{}, count: map[string]int{}, held: map[string]bool{}}
	random := rand.New(rand.NewPCG(seed, 0))
	for _, i := range random.Perm(len(provisioningSteps))[:6] {
		k.left = append(k.left, moment{provisioningSteps[i], 1 + random.IntN(2)})
	}
	for _, step := range releaseSteps {
		k.left = append(k.left, moment{step, 1 + random.IntN(2)})
	}
	t.Logf("%s=%d: the manager is killed at %v", seedVariable, seed, k.left)
	return k
}

// hunt kills until nothing is left or the context ends.
func (k *killer) hunt(ctx context.Context) error {
	for len(k.left) > 0 && ctx.Err() == nil {
		step, err := k.next(ctx)
		if err != nil || step == "" {
			return err
		}
		if err := k.story.Manager.Kill9(); err != nil {
			return fmt.Errorf("kill at %s: %w", step, err)
		}
		k.t.Logf("killed at %s, %d to go", step, len(k.left))
		if err := k.story.Manager.Restart(ctx); err != nil {
			return fmt.Errorf("restart after %s: %w", step, err)
		}
		ready, cancel := context.WithTimeout(ctx, time.Minute)
		err = k.story.Manager.Ready(ready)
		cancel()
		if err != nil && ctx.Err() == nil {
			return fmt.Errorf("ready after %s: %w", step, err)
		}
	}
	return nil
}

// next waits for the next moment. What is there already when the watch begins counts as seen, and kills nobody.
func (k *killer) next(ctx context.Context) (string, error) {
	for ctx.Err() == nil {
		w, err := k.watch.Watch(ctx, &v1beta1.PhysicalHostList{}, client.InNamespace(k.story.namespace))
		if ctx.Err() != nil {
			return "", nil //nolint:nilerr // the story is over
		}
		if err != nil {
			return "", err
		}
		step := k.first(w)
		w.Stop()
		if step != "" {
			return step, nil
		}
	}
	return "", nil
}

func (k *killer) first(w watch.Interface) string {
	for e := range w.ResultChan() {
		host, ok := e.Object.(*v1beta1.PhysicalHost)
		if !ok {
			return "" // the watch broke: a new one is begun
		}
		for _, step := range k.steps(host) {
			if e.Type == watch.Modified && k.take(step) {
				return fmt.Sprintf("%s of %s", step, host.Name)
			}
		}
	}
	return ""
}

// steps are those that a host shows for the first time.
func (k *killer) steps(h *v1beta1.PhysicalHost) []string {
	var now []string
	claim := h.Spec.Claim
	if claim == nil {
		if k.held[h.Name] {
			delete(k.held, h.Name)
			k.count["cleared"]++
			return []string{"cleared"}
		}
		return nil
	}
	k.held[h.Name] = true
	now = append(now, "claimed")
	if claim.Media != nil {
		now = append(now, "granted")
	}
	if claim.Bound {
		now = append(now, "bound")
	}
	if claim.Release != nil {
		now = append(now, "marked")
	}
	if op := h.Status.Operation; op != nil {
		now = append(now, op.Kind)
	}
	now = append(now, string(h.Status.State))
	var first []string
	for _, step := range now {
		if key := h.Name + claim.ID + step; !k.seen[key] {
			k.seen[key] = true
			k.count[step]++
			first = append(first, step)
		}
	}
	return first
}

// take removes a moment that has come.
func (k *killer) take(step string) bool {
	for i, m := range k.left {
		if m.step == step && k.count[step] >= m.nth {
			k.left = append(k.left[:i:i], k.left[i+1:]...)
			return true
		}
	}
	return false
}
