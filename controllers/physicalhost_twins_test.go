package controllers

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/cluster-api/util/conditions"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/actuator"
	"github.com/beskar7/beskar7/pkg/redfish"
	"github.com/beskar7/beskar7/pkg/redfish/redfishfake"
)

// registered is a host of that name, with an address of its own, registered so long before the epoch.
func registered(h *v1beta1.PhysicalHost, name string, age time.Duration) *v1beta1.PhysicalHost {
	h.ObjectMeta = named(name)
	h.CreationTimestamp = metav1.NewTime(epoch.Add(-age))
	h.Spec.RedfishConnection.Address = "https://bmc-" + name + ".example.com"
	return h
}

func (r *rig) reconcileHost(name string) {
	r.t.Helper()
	if _, err := r.host.Reconcile(r.t.Context(), ctrl.Request{NamespacedName: types.NamespacedName{Namespace: namespace, Name: name}}); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) hostNamed(name string) *v1beta1.PhysicalHost {
	r.t.Helper()
	h := &v1beta1.PhysicalHost{}
	r.get(h, name)
	return h
}

func (r *rig) offered(name string) bool {
	r.t.Helper()
	return conditions.IsTrue(r.hostNamed(name), v1beta1.AvailableCondition)
}

// slowly makes the controllers' writes of status take so long.
func (r *rig) slowly(delay time.Duration) {
	r.host.Client = interceptor.NewClient(r.api, interceptor.Funcs{
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
			<-time.After(delay)
			return c.SubResource(sub).Patch(ctx, o, p, opts...)
		}})
}

// D12, I1, I6: a second registration of a claimed server is not offered, claimed or cleaned, not for a moment, however slow the API
// server is.
func TestASecondRegistrationIsNeverOffered(t *testing.T) {
	for _, consent := range []bool{false, true} {
		for _, power := range []redfish.PowerState{redfish.PowerOff, redfish.PowerOn} {
			for _, delay := range []time.Duration{0, 10 * time.Millisecond, 3 * time.Second} {
				t.Run(fmt.Sprintf("consent %v, %s, writes take %s", consent, power, delay), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { secondRegistration(t, consent, power, delay) })
				})
			}
		}
	}
}

func secondRegistration(t *testing.T, consent bool, power redfish.PowerState, delay time.Duration) {
	a, h := registered(boundHost(), "a", time.Hour), registered(newHost(), "h", 0)
	a.Spec.Claim.Machine, h.Spec.ConsentToErase = "other", consent
	m, other, cluster := newMachine(), newMachine(), newCluster()
	m.Spec.HostRef = nil
	other.ObjectMeta, other.Spec.HostRef.Name = named("other"), "a"
	cluster.Status.Initialization.InfrastructureProvisioned = ptr.To(true)
	r := newRunningRig(t, redfishfake.New(redfishfake.Options{Power: power}), a, h, m, other, newOwner(), cluster, newSecret("bmc"))
	r.slowly(delay)
	for range 20 {
		r.reconcileHost("h")
		if r.offered("h") {
			t.Fatalf("offered in state %s", r.getHost().Status.State)
		}
		r.lookAtMachine(1)
		synctest.Wait()
	}
	now := r.getHost()
	if now.Status.State != v1beta1.StateDuplicate || now.Spec.Claim != nil || len(r.bmc.Changes()) > 0 {
		t.Errorf("state %s, claim %+v, changes %v", now.Status.State, now.Spec.Claim, r.bmc.Changes())
	}
	c := conditions.Get(now, v1beta1.IdentityVerifiedCondition)
	if c.Reason != v1beta1.ReasonDuplicate || !strings.Contains(c.Message, namespace+"/a") {
		t.Errorf("%+v", c)
	}
}

// Two registrations of one server that nobody knew yet: whoever is looked at first is offered, and the other one only after the
// first is deleted.
func TestOfTwoNewRegistrationsOneIsOffered(t *testing.T) {
	for name, round := range map[string]func(look func(string)){
		"the older one first":   func(look func(string)) { look("a"); look("h") },
		"the younger one first": func(look func(string)) { look("h"); look("h"); look("h"); look("h"); look("a") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRunningRig(t, redfishfake.New(redfishfake.Options{Power: redfish.PowerOff}), registered(newHost(), "a", time.Hour), registered(newHost(), "h", 0), newSecret("bmc"))
				r.slowly(10 * time.Millisecond)
				for range 20 {
					round(r.reconcileHost)
					synctest.Wait()
					if r.offered("a") && r.offered("h") {
						t.Fatal("both are offered")
					}
				}
				first, second := "a", "h"
				if r.offered("h") {
					first, second = "h", "a"
				}
				if !r.offered(first) || r.hostNamed(second).Status.State != v1beta1.StateDuplicate {
					t.Fatalf("a is %s, h is %s", r.hostNamed("a").Status.State, r.hostNamed("h").Status.State)
				}
				r.host.twins = twins{} // a restart, after which the BMCs were read again
				r.reconcileHost(second)
				if r.offered(second) {
					t.Fatal("after a restart the other one is offered")
				}
				gone := r.hostNamed(first)
				if err := r.api.Delete(t.Context(), gone); err != nil {
					t.Fatal(err)
				}
				r.reconcileHost(first)
				if woken := r.host.hostsOfServer(t.Context(), gone); len(woken) != 1 || woken[0].Name != second {
					t.Errorf("the deletion wakes %v", woken)
				}
				for range 5 {
					r.reconcileHost(second)
					synctest.Wait()
				}
				if !r.offered(second) {
					t.Errorf("%s is %s although it is the only one now", second, r.hostNamed(second).Status.State)
				}
			})
		})
	}
}

// Two looks at the same moment: in whatever order they take in what was observed and settle whose the server is, one of them holds
// it, and the other one knows.
func TestOneHoldsAServerWhoeverIsLookedAtFirst(t *testing.T) {
	hosts := map[string]*v1beta1.PhysicalHost{"a": registered(inventoried(newHost()), "a", time.Hour), "h": registered(inventoried(newHost()), "h", 0)}
	for _, order := range []string{"aahh", "ahah", "ahha", "haah", "haha", "hhaa"} {
		known, twin, looked, better := twins{}, map[string]*twin{}, map[string][]types.NamespacedName{}, map[string]string{}
		for _, step := range order {
			name := string(step)
			if twin[name] == nil {
				twin[name] = newTwin(hosts[name], actuator.Observation{})
				looked[name] = known.put(twin[name])
				continue
			}
			for settled := false; !settled; {
				var others []*v1beta1.PhysicalHost
				for _, other := range looked[name] {
					others = append(others, hosts[other.Name])
				}
				var other *v1beta1.PhysicalHost
				if other, settled = known.settle(twin[name], hosts[name], others, looked[name]); other != nil {
					better[name] = other.Name
				}
				if !settled {
					looked[name] = known.put(twin[name])
				}
			}
		}
		if (better["a"] == "") == (better["h"] == "") || twin["a"].holds == twin["h"].holds || twin["a"].holds == (better["a"] != "") {
			t.Errorf("%s: better than a is %q, better than h is %q; a holds the server: %v, h: %v", order, better["a"], better["h"], twin["a"].holds, twin["h"].holds)
		}
	}
}

// Two claims on one server, as after a move beside a second registration: nothing is done through the lesser one, not even its
// release, and both say so.
func TestTwoClaimedRegistrationsAreReported(t *testing.T) {
	for _, release := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			a, h := registered(boundHost(), "a", 0), registered(inventoried(claimedHost()), "h", time.Hour)
			a.Spec.Claim.Machine, a.Spec.Claim.ID = "other", "fedcba9876543210"
			if release {
				h.Spec.Claim.Release = &v1beta1.Release{Reason: "MachineDeleted", RequestedAt: metav1.NewTime(epoch.Add(-time.Hour))}
			}
			other := newMachine()
			other.ObjectMeta, other.Spec.HostRef = named("other"), &v1beta1.HostRef{Name: "a", ClaimID: "fedcba9876543210"}
			r := newRunningRig(t, redfishfake.New(redfishfake.Options{Power: redfish.PowerOn}), a, h, newMachine(), other, newOwner(), newCluster(), newSecret("bmc"))
			for range 20 {
				r.reconcileHost("h")
				r.reconcileHost("a")
				synctest.Wait()
			}
			if got := r.bmc.Changes(); len(got) > 0 {
				t.Errorf("the bound, running server got %v", got)
			}
			lesser, owner := r.getHost(), r.hostNamed("a")
			for _, host := range []*v1beta1.PhysicalHost{lesser, owner} {
				if c := conditions.Get(host, v1beta1.IdentityVerifiedCondition); c.Status != metav1.ConditionFalse || c.Reason != v1beta1.ReasonDuplicate {
					t.Errorf("%s: %+v", host.Name, c)
				}
			}
			if conditions.IsTrue(lesser, v1beta1.ReadyCondition) || !conditions.IsTrue(owner, v1beta1.ReadyCondition) {
				t.Errorf("the lesser one: %s; the owner: %s", conditions.GetMessage(lesser, v1beta1.ReadyCondition), conditions.GetMessage(owner, v1beta1.ReadyCondition))
			}
			if blocked := conditions.GetMessage(lesser, v1beta1.ReleaseBlockedCondition); release && !strings.Contains(blocked, "ns/a is the same server") {
				t.Errorf("the release that waits says %q", blocked)
			}
		})
	}
}

// Boards that ship with place holders, and servers that share what is no place holder: who is whose duplicate.
func TestWhoIsADuplicate(t *testing.T) {
	const one, two = "11111111-2222-3333-4444-555555555501", "11111111-2222-3333-4444-555555555502"
	for name, c := range map[string]struct {
		a, b v1beta1.Hardware
		edit func(a, b *v1beta1.PhysicalHost)
		want bool
	}{
		"UUIDs overrule a serial that many have": {a: v1beta1.Hardware{SystemUUID: one, SerialNumber: "To be filled by O.E.M."}, b: v1beta1.Hardware{SystemUUID: two, SerialNumber: "To be filled by O.E.M."}},
		"UUIDs overrule the serial of a chassis": {a: v1beta1.Hardware{SystemUUID: one, SerialNumber: "CH1"}, b: v1beta1.Hardware{SystemUUID: two, SerialNumber: "CH1"}},
		"place holders only":                     {a: v1beta1.Hardware{SystemUUID: "03000200-0400-0500-0006-000700080009", SerialNumber: "Default string"}, b: v1beta1.Hardware{SystemUUID: "03000200-0400-0500-0006-000700080009", SerialNumber: "Default string"}},
		"one UUID in either order of bytes":      {a: v1beta1.Hardware{SystemUUID: "005cb4e7-0989-eb11-8000-7cc255106afe"}, b: v1beta1.Hardware{SystemUUID: "e7b45c00-8909-11eb-8000-7cc255106afe"}, want: true},
		"one serial":                             {a: v1beta1.Hardware{SerialNumber: "S1"}, b: v1beta1.Hardware{SerialNumber: "S1"}, want: true},
		"one serial of different makers":         {a: v1beta1.Hardware{SerialNumber: "1001", Manufacturer: "HPE"}, b: v1beta1.Hardware{SerialNumber: "1001", Manufacturer: "Dell Inc."}},
		"one endpoint and system": {edit: func(a, b *v1beta1.PhysicalHost) {
			a.Spec.RedfishConnection.Address, b.Spec.RedfishConnection.Address = "https://BMC:443/", "https://bmc"
		}, want: true},
		"two systems of one endpoint": {a: v1beta1.Hardware{SerialNumber: "CH1"}, b: v1beta1.Hardware{SerialNumber: "CH1"}, edit: func(a, b *v1beta1.PhysicalHost) {
			a.Spec.RedfishConnection.Address, b.Spec.RedfishConnection.Address = "https://bmc", "https://bmc"
			b.Spec.RedfishConnection.SystemID = "2"
		}},
		"the server that a claim recorded": {b: v1beta1.Hardware{SystemUUID: one}, edit: func(a, _ *v1beta1.PhysicalHost) {
			a.Status = v1beta1.PhysicalHostStatus{}
			a.Spec.Claim = &v1beta1.Claim{ID: claimID, Machine: "m", Cluster: "c", Server: &v1beta1.Server{SystemUUID: one}}
		}, want: true},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := registered(newHost(), "a", time.Hour), registered(newHost(), "h", 0)
			a.Status.Hardware, b.Status.Hardware = &c.a, &c.b
			a.Status.BMC, b.Status.BMC = &v1beta1.BMCReport{SystemID: "1"}, &v1beta1.BMCReport{SystemID: "1"}
			if c.edit != nil {
				c.edit(a, b)
			}
			r := newRig(t, a, b, newSecret("bmc"))
			g, err := r.host.gather(t.Context(), r.api, b)
			if err != nil {
				t.Fatal(err)
			}
			if g.facts.Duplicate != c.want || (g.duplicateOf == "ns/a") != c.want {
				t.Errorf("duplicate %v, of %q", g.facts.Duplicate, g.duplicateOf)
			}
		})
	}
}
