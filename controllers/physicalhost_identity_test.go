package controllers

import (
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/cluster-api/controllers/clustercache"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/actuator"
	"github.com/beskar7/beskar7/pkg/redfish"
	"github.com/beskar7/beskar7/pkg/redfish/redfishfake"
)

const swappedUUID = "bbbbbbbb-0000-4000-8000-00000000000b"

func swapped() *redfishfake.BMC {
	return redfishfake.New(redfishfake.Options{Power: redfish.PowerOff, Identity: redfish.Identity{SystemUUID: swappedUUID, SerialNumber: "B'1", SystemID: "1",
		ResetTypes: []string{"On", "ForceOff"}, BootTargets: []string{"Cd"}, Capabilities: []string{redfish.CapabilityBootOnceCD}}})
}

// I11, D13: another server at an unclaimed host's address is told, with what to do; its inventory is not taken for the host's until a
// person accepts it by name.
func TestAnotherServerIsToldAndAccepted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRunningRig(t, swapped(), inventoried(newHost()), newSecret("bmc"))
		now := r.settle()
		c := conditions.Get(now, v1beta1.IdentityVerifiedCondition)
		if now.Status.State != v1beta1.StateOtherServer || c.Status != metav1.ConditionFalse || c.Reason != v1beta1.ReasonOtherServer {
			t.Fatalf("state %s, %+v", now.Status.State, c)
		}
		command := "kubectl -n ns annotate ph h " + v1beta1.AcceptServerAnnotation + "=" + swappedUUID
		for _, want := range []string{"FAKE0001", "00000000-0000-4000-8000-000000000001", swappedUUID, "B'1", command} {
			if !strings.Contains(c.Message, want) {
				t.Errorf("the condition lacks %q: %s", want, c.Message)
			}
		}
		for _, kind := range []string{v1beta1.AvailableCondition, v1beta1.ReadyCondition} {
			if conditions.IsTrue(now, kind) || conditions.GetMessage(now, kind) != c.Message {
				t.Errorf("%s: %+v", kind, conditions.Get(now, kind))
			}
		}
		accept := func(name string) *v1beta1.PhysicalHost {
			edit(r.rig, &v1beta1.PhysicalHost{}, "h", func(h *v1beta1.PhysicalHost) { h.Annotations = map[string]string{v1beta1.AcceptServerAnnotation: name} })
			return r.settle()
		}
		r.host.Actuator.InspectAgain("ns/h") // an inspection that was wanted anyway takes nothing over
		if now := accept("cccccccc-0000-4000-8000-00000000000c"); now.Status.State != v1beta1.StateOtherServer || now.Status.Hardware.SerialNumber != "FAKE0001" {
			t.Fatalf("a third server was accepted, and the host is %s with %+v", now.Status.State, now.Status.Hardware)
		}
		now = accept(strings.ToUpper(swappedUUID))
		if !conditions.IsTrue(now, v1beta1.IdentityVerifiedCondition) || now.Status.Hardware.SystemUUID != swappedUUID || now.Status.Hardware.SerialNumber != "B'1" || now.Status.State != v1beta1.StateAvailable {
			t.Errorf("accepted, and the host is %s with %+v: %+v", now.Status.State, now.Status.Hardware, conditions.Get(now, v1beta1.IdentityVerifiedCondition))
		}
	})
}

// Another server that came between an inspection's first request and its others is not taken for the host's.
func TestTheInventoryOfAnotherServerIsNotTheHosts(t *testing.T) {
	met := actuator.Observation{Identity: &redfish.Identity{SystemUUID: swappedUUID, SerialNumber: "B'1"}, Hardware: &redfish.Hardware{}}
	h := inventoried(newHost())
	if reportInventory(h, met); h.Status.Hardware.SerialNumber != "FAKE0001" {
		t.Errorf("the host has the inventory of another server: %+v", h.Status.Hardware)
	}
	h.Annotations = map[string]string{v1beta1.AcceptServerAnnotation: swappedUUID}
	if reportInventory(h, met); h.Status.Hardware.SerialNumber != "B'1" {
		t.Errorf("the host has not the inventory of the server that was accepted: %+v", h.Status.Hardware)
	}
}

// The server of a claim is the one that it was made for, also where status was lost, and nobody accepts another one.
func TestAClaimedHostStaysTheServerItWasClaimedAs(t *testing.T) {
	for name, c := range map[string]struct {
		edit func(*v1beta1.PhysicalHost)
		says string
	}{
		"held":  {func(*v1beta1.PhysicalHost) {}, "delete its Machine"},
		"bound": {func(h *v1beta1.PhysicalHost) { h.Spec.Claim.Bound = true }, "delete its Machine"},
		"accepted": {func(h *v1beta1.PhysicalHost) {
			h.Annotations = map[string]string{v1beta1.AcceptServerAnnotation: swappedUUID}
		}, "found system UUID " + swappedUUID},
		"releasing": {func(h *v1beta1.PhysicalHost) {
			h.Spec.Claim.Release = &v1beta1.Release{Reason: "MachineDeleted", RequestedAt: metav1.NewTime(epoch.Add(-time.Hour))}
		}, v1beta1.ReleaseUnverifiedAnnotation + "=" + claimID},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := claimedHost()
				h.Spec.Claim.Server = &v1beta1.Server{SystemUUID: "aaaaaaaa-0000-4000-8000-00000000000a", SerialNumber: "A1"}
				c.edit(h)
				r := newRunningRig(t, swapped(), h, newMachine(), newOwner(), newCluster(), newSecret("bmc"))
				now := r.settle()
				if got := r.bmc.Changes(); len(got) > 0 {
					t.Errorf("changed %v", got)
				}
				if !conditions.IsFalse(now, v1beta1.IdentityVerifiedCondition) || !conditions.IsFalse(now, v1beta1.ReadyCondition) {
					t.Errorf("%+v", now.Status.Conditions)
				}
				if said := conditions.GetMessage(now, v1beta1.ReadyCondition); !strings.Contains(said, c.says) || !strings.Contains(said, "another server answers at https://192.0.2.1") {
					t.Errorf("Ready says %q", said)
				}
				if now.Spec.Claim == nil {
					t.Error("the claim is cleared by what another server showed")
				}
			})
		})
	}
}

// A claim of a version that recorded no server is completed once, by the server of status.hardware, and never by another one; until
// then it is told what guards it.
func TestAClaimWithoutItsServerIsCompletedByTheSameServerOnly(t *testing.T) {
	same := func() *redfishfake.BMC { return redfishfake.New(redfishfake.Options{Power: redfish.PowerOff}) }
	recorded := &v1beta1.Server{SystemUUID: "00000000-0000-4000-8000-000000000001", SerialNumber: "FAKE0001"}
	for name, c := range map[string]struct {
		bmc  *redfishfake.BMC
		edit func(*v1beta1.PhysicalHost)
		want *v1beta1.Server
		says string
	}{
		"the same answers": {same(), func(*v1beta1.PhysicalHost) {}, recorded, ""},
		"releasing": {same(), func(h *v1beta1.PhysicalHost) {
			h.Spec.Claim.Release = &v1beta1.Release{Reason: "MachineDeleted", RequestedAt: metav1.NewTime(epoch)}
			h.Spec.Claim.Bound = true
		}, recorded, ""},
		"paused":          {same(), func(h *v1beta1.PhysicalHost) { h.Spec.Paused = true }, nil, "compared with status.hardware"},
		"another answers": {swapped(), func(*v1beta1.PhysicalHost) {}, nil, "Expected is what status.hardware says"},
		"status was lost": {swapped(), func(h *v1beta1.PhysicalHost) { h.Status.Hardware = nil }, nil,
			`kubectl -n ns patch ph h --type merge -p '{"spec":{"claim":{"server":{"systemUUID":"` + swappedUUID + `","serialNumber":"B'\''1"}}}}'`},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := inventoried(claimedHost())
				h.Finalizers = []string{v1beta1.HostFinalizer}
				c.edit(h)
				r := newRunningRig(t, c.bmc, h, newMachine(), newOwner(), newCluster(), newSecret("bmc"))
				var first *v1beta1.Server
				for range 12 {
					synctest.Wait()
					r.look(1)
					if claim := r.getHost().Spec.Claim; claim != nil && claim.Server != nil {
						first = claim.Server
					}
				}
				if !reflect.DeepEqual(first, c.want) {
					t.Fatalf("recorded %+v", first)
				}
				if said := conditions.GetMessage(r.getHost(), v1beta1.IdentityVerifiedCondition); !strings.Contains(said, c.says) || c.says == "" && said != "" {
					t.Errorf("it says %q", said)
				}
			})
		})
	}
}

// An inspection that does not tell who the server is leaves on record who it was.
func TestAnInspectionWithoutIdentityErasesNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRunningRig(t, redfishfake.New(redfishfake.Options{Power: redfish.PowerOff}), inventoried(newHost()), newSecret("bmc"))
		r.bmc.SetIdentity(redfish.Identity{Vendor: "generic", SystemUUID: "00000000-0000-0000-0000-000000000000", SystemID: "1"})
		r.settle()
		r.host.Actuator.InspectAgain("ns/h")
		now := r.settle()
		if hw := now.Status.Hardware; hw.SerialNumber != "FAKE0001" || hw.SystemUUID != "00000000-0000-4000-8000-000000000001" || hw.CPU.Cores != 16 {
			t.Errorf("%+v", hw)
		}
		if c := conditions.Get(now, v1beta1.IdentityVerifiedCondition); c.Status != metav1.ConditionUnknown || c.Reason != v1beta1.ReasonIdentityNotTold {
			t.Errorf("%+v", c)
		}
	})
}

// D10: BMCs give the UUID in the order of RFC 4122 where the kernel, and so the kubelet, gives that of SMBIOS (metal-stack/go-hal#57).
func TestANodeIsKnownByItsUUIDInEitherOrderOfBytes(t *testing.T) {
	const node = "e7b45c00-8909-11eb-8000-7cc255106afe"
	for name, c := range map[string]struct {
		server v1beta1.Server
		status bool
		want   bool
	}{
		"by inventory":        {v1beta1.Server{SystemUUID: "005cb4e7-0989-eb11-8000-7cc255106afe"}, true, true},
		"by claim":            {v1beta1.Server{SystemUUID: "005CB4E7-0989-EB11-8000-7CC255106AFE"}, false, true},
		"in the same order":   {v1beta1.Server{SystemUUID: node}, false, true},
		"of another server":   {v1beta1.Server{SystemUUID: "005cb4e7-0989-eb11-8000-7cc255106aff"}, false, false},
		"by nothing":          {v1beta1.Server{SerialNumber: "S1"}, false, false},
		"not by place holder": {v1beta1.Server{SystemUUID: "00000000-0000-0000-0000-000000000000"}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			host, machine := claimedHost(), newMachine()
			if c.status {
				host.Status.Hardware = &v1beta1.Hardware{SystemUUID: c.server.SystemUUID}
			} else {
				host.Spec.Claim.Server = &c.server
			}
			machine.Spec.ProviderID = v1beta1.ProviderID(namespace, "h", claimID)
			n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "m"}, Status: corev1.NodeStatus{NodeInfo: corev1.NodeSystemInfo{SystemUUID: node}}}
			scheme := runtime.NewScheme()
			if err := corev1.AddToScheme(scheme); err != nil {
				t.Fatal(err)
			}
			remote := fake.NewClientBuilder().WithScheme(scheme).WithObjects(n).Build()
			r := newRig(t, host, machine, newOwner(), newCluster())
			r.machine.ClusterCache = clustercache.NewFakeClusterCache(remote, client.ObjectKey{Namespace: namespace, Name: "c"})
			if err := r.machine.watchOwnNode(t.Context(), &machineWork{machine: machine, owner: newOwner(), cluster: newCluster(), host: host}); err != nil {
				t.Fatal(err)
			}
			if err := remote.Get(t.Context(), client.ObjectKey{Name: "m"}, n); err != nil {
				t.Fatal(err)
			}
			if (n.Spec.ProviderID == machine.Spec.ProviderID) != c.want {
				t.Errorf("provider id %q", n.Spec.ProviderID)
			}
		})
	}
}
