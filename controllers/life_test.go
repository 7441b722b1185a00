package controllers

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/cluster-api/controllers/clustercache"
	"sigs.k8s.io/cluster-api/util/conditions"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/controllers/media"
	"github.com/beskar7/beskar7/pkg/bootmedia"
	"github.com/beskar7/beskar7/pkg/provision"
	"github.com/beskar7/beskar7/pkg/redfish"
	"github.com/beskar7/beskar7/pkg/redfish/redfishfake"
)

// lifeRig is a running rig around the host h, which machine m holds, with all that a boot needs, and with a workload cluster.
type lifeRig struct {
	*runningRig
	nodes client.Client
}

// newLifeRig has no Node in its workload cluster.
func newLifeRig(t *testing.T, power redfish.PowerState, host *v1beta1.PhysicalHost, others ...client.Object) *lifeRig {
	t.Helper()
	scheme, cluster := runtime.NewScheme(), newCluster()
	if err := corev1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	cluster.Status.Initialization.InfrastructureProvisioned = ptr.To(true)
	host.Finalizers = []string{v1beta1.HostFinalizer}
	objects := append(others, inventoried(host), newMachine(), newOwner(), cluster, newSecret("bmc"), bootstrapSecret())
	index := clustercache.NodeProviderIDIndex
	r := &lifeRig{newRunningRig(t, redfishfake.New(redfishfake.Options{Power: power}), objects...),
		fake.NewClientBuilder().WithScheme(scheme).WithIndex(&corev1.Node{}, index.Field, index.ExtractValue).Build()}
	r.host.ClusterCache = clustercache.NewFakeClusterCache(r.nodes, client.ObjectKeyFromObject(cluster))
	r.host.Media, r.host.MediaURL = &preparing{says: bootmedia.Prepared{Ready: true}}, "https://media.example"
	return r
}

// until lets time pass until the host is as wanted.
func (r *lifeRig) until(what string, is func(*v1beta1.PhysicalHost) bool) *v1beta1.PhysicalHost {
	r.t.Helper()
	for range 100 {
		if h := r.settle(); is(h) {
			return h
		}
		r.pass(5 * time.Second)
	}
	h := r.getHost()
	r.t.Fatalf("never %s: state %s, boots %+v, Ready: %s; changes %v", what, h.Status.State, h.Status.Booted, conditions.GetMessage(h, v1beta1.ReadyCondition), r.bmc.Changes())
	return nil
}

// booted lets the n-th boot of the row come.
func (r *lifeRig) booted(n int32) *v1beta1.PhysicalHost {
	r.t.Helper()
	return r.until("booted", func(h *v1beta1.PhysicalHost) bool {
		return h.Status.Booted != nil && h.Status.Booted.Count == n && r.power() == redfish.PowerOn
	})
}

// rest lets time pass in which the host is looked at as often as its BMC.
func (r *lifeRig) rest(d time.Duration) *v1beta1.PhysicalHost {
	r.t.Helper()
	for ; d > 0; d -= 30 * time.Second {
		r.pass(min(d, 30*time.Second))
		for range 3 {
			synctest.Wait()
			r.look(1)
		}
	}
	return r.settle()
}

func (r *lifeRig) power() redfish.PowerState {
	r.t.Helper()
	if r.bmc.Booted() != "" {
		return redfish.PowerOn
	}
	return redfish.PowerOff
}

// bind lets the system that runs report that it is up.
func (r *lifeRig) bind() *v1beta1.PhysicalHost {
	r.t.Helper()
	edit(r.rig, &v1beta1.PhysicalHost{}, "h", func(h *v1beta1.PhysicalHost) {
		h.Spec.Claim.PhoneHome = &v1beta1.PhoneHome{Outcome: v1beta1.PhoneHomeSucceeded, ReceivedAt: metav1.NewTime(r.clock.Now())}
	})
	return r.until("bound", func(h *v1beta1.PhysicalHost) bool {
		return h.Spec.Claim.Bound && h.Status.State == v1beta1.StateProvisioned
	})
}

// node registers a Node in the workload cluster.
func (r *lifeRig) node(name, providerID string, ready corev1.ConditionStatus, since time.Time) {
	r.t.Helper()
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, CreationTimestamp: metav1.NewTime(since)}, Spec: corev1.NodeSpec{ProviderID: providerID},
		Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: ready}}}}
	if err := r.nodes.Create(r.t.Context(), n); err != nil {
		r.t.Fatal(err)
	}
}

// restart ends the process of the host controller; the next one knows what is stored and nothing else.
func (r *lifeRig) restart() {
	r.t.Helper()
	old := r.host
	old.letGo(ctrl.Request{NamespacedName: types.NamespacedName{Namespace: namespace, Name: "h"}})
	r.host = &PhysicalHostReconciler{Client: old.Client, Reader: old.Reader, SecretReader: old.SecretReader, SecretMeta: old.SecretMeta, Tokens: media.NewTokens(),
		ClusterCache: old.ClusterCache, Events: old.Events, Clock: old.Clock, BMC: old.BMC, ClaimGrace: old.ClaimGrace, Media: old.Media, MediaURL: old.MediaURL, MaxBoots: old.MaxBoots}
	r.run()
}

// served says whether somebody with a token's hash is given the bootstrap data now.
func (r *lifeRig) served(tokenHash string) bool {
	g, err := r.mediaSource().Grant(r.t.Context(), tokenHash)
	return err == nil && servedData(g)
}

// says wants a reason of the host's Ready, which is False, and words of its message.
func says(t *testing.T, h *v1beta1.PhysicalHost, reason string, words ...string) {
	t.Helper()
	c := conditions.Get(h, v1beta1.ReadyCondition)
	if c.Status != metav1.ConditionFalse || c.Reason != reason {
		t.Fatalf("state %s: Ready %s/%s, want False/%s: %q", h.Status.State, c.Status, c.Reason, reason, c.Message)
	}
	for _, word := range words {
		if !strings.Contains(c.Message, word) {
			t.Errorf("%q is not in %q", word, c.Message)
		}
	}
}

// machineSays wants a machine that is not ready, and for the reason of its host.
func (r *lifeRig) machineSays(reason string, words ...string) {
	r.t.Helper()
	r.lookAtMachine(3)
	m := &v1beta1.Beskar7Machine{}
	r.get(m, "m")
	c := conditions.Get(m, v1beta1.ReadyCondition)
	if c == nil || c.Status != metav1.ConditionFalse || c.Reason != reason {
		r.t.Fatalf("the machine says %+v, want %s", c, reason)
	}
	for _, word := range words {
		if !strings.Contains(c.Message, word) {
			r.t.Errorf("%q is not in what the machine says: %q", word, c.Message)
		}
	}
}

const replaceIt = "kubectl -n ns delete machines.cluster.x-k8s.io m"

// wholeBoot is what a boot from our two media asks of a BMC.
var wholeBoot = []redfishfake.Op{redfishfake.OpInsert, redfishfake.OpInsert, redfishfake.OpSetBootOnce, redfishfake.OpReset}

// What is off in maintenance, or while its PhysicalHost is being deleted, is not powered on, and says so. When that ends it boots.
func TestNothingIsStartedOnAHostThatIsWithheld(t *testing.T) {
	held, installed := claimedHost, func() *v1beta1.PhysicalHost {
		h := claimedHost()
		h.Spec.Claim.Bound, h.Spec.Boot.BootMode = true, v1beta1.BootModeInstall
		return h
	}
	for name, c := range map[string]struct {
		host     func() *v1beta1.PhysicalHost
		deleting bool
		reason   string
		after    []redfishfake.Op
	}{
		"held, in maintenance":      {held, false, v1beta1.ReasonMaintenance, wholeBoot},
		"installed, in maintenance": {installed, false, v1beta1.ReasonPoweredOff, wholeBoot[3:]},
		"held, being deleted":       {held, true, v1beta1.ReasonDeleting, nil},
		"installed, being deleted":  {installed, true, v1beta1.ReasonPoweredOff, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := c.host()
				h.Spec.Maintenance = !c.deleting
				r := newLifeRig(t, redfish.PowerOff, h)
				if c.deleting {
					if err := r.api.Delete(t.Context(), r.getHost()); err != nil {
						t.Fatal(err)
					}
				}
				now := r.rest(time.Hour)
				if got := r.bmc.Changes(); len(got) > 0 || now.Spec.Claim == nil {
					t.Fatalf("its BMC was asked for %v; claim %+v", got, now.Spec.Claim)
				}
				if c.deleting {
					says(t, now, c.reason, "not powered on", replaceIt)
					r.machineSays(c.reason, replaceIt)
					return
				}
				says(t, now, c.reason, `kubectl -n ns patch ph h --type merge -p '{"spec":{"maintenance":false}}'`)
				r.machineSays(c.reason, "spec.maintenance")
				edit(r.rig, &v1beta1.PhysicalHost{}, "h", func(h *v1beta1.PhysicalHost) { h.Spec.Maintenance = false })
				r.until("on after the maintenance", func(*v1beta1.PhysicalHost) bool { return r.power() == redfish.PowerOn })
				if got := r.bmc.Changes(); !slices.Equal(got, c.after) {
					t.Errorf("after the maintenance: %v", got)
				}
			})
		})
	}
}

// A system that runs is not cut by a maintenance, nor by the deletion of its PhysicalHost, however late its Node is.
func TestWhatRunsIsNotCutWhileItsHostIsWithheld(t *testing.T) {
	for _, deleting := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			r := newLifeRig(t, redfish.PowerOff, claimedHost())
			r.booted(1)
			if deleting {
				if err := r.api.Delete(t.Context(), r.getHost()); err != nil {
					t.Fatal(err)
				}
			} else {
				edit(r.rig, &v1beta1.PhysicalHost{}, "h", func(h *v1beta1.PhysicalHost) { h.Spec.Maintenance = true })
			}
			now := r.rest(2 * defaultBootTimeout)
			if got := r.bmc.Changes(); !slices.Equal(got, wholeBoot) {
				t.Errorf("deleting %v: %v", deleting, got)
			}
			if d := provision.State(now.Status.State); d != provision.Booting {
				t.Errorf("deleting %v: state %s", deleting, d)
			}
		})
	}
}
