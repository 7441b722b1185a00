package controllers

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/actuator"
	"github.com/beskar7/beskar7/pkg/coordinator/bmcqueue"
	"github.com/beskar7/beskar7/pkg/redfish"
	"github.com/beskar7/beskar7/pkg/redfish/redfishfake"
)

// oneBMC is a driver that reaches the same BMC at every address.
type oneBMC struct{ bmc *redfishfake.BMC }

func (o oneBMC) BMC(redfish.Target) (redfish.BMC, error) { return o.bmc, nil }
func (oneBMC) Release(redfish.Target) bool               { return false }
func (oneBMC) LogOut(context.Context, string) error      { return nil }
func (oneBMC) Forget(redfish.Target)                     {}

// runningRig is a rig with a gate that runs, around one server. It lives in a bubble of synctest: time passes when all rests.
type runningRig struct {
	*rig
	bmc *redfishfake.BMC
	mu  sync.Mutex
	// faults are how the next requests to the BMC fail, one each.
	faults []error
}

func newRunningRig(t *testing.T, bmc *redfishfake.BMC, objects ...client.Object) *runningRig {
	t.Helper()
	r := &runningRig{rig: newRig(t, objects...), bmc: bmc}
	r.run()
	bmc.SetFault(func(context.Context, redfishfake.Op) error {
		r.mu.Lock()
		defer r.mu.Unlock()
		if len(r.faults) > 0 {
			fault := r.faults[0]
			r.faults = r.faults[1:]
			return fault
		}
		return nil
	})
	return r
}

// run gives the host controller a gate that runs, and hands that know nothing yet.
func (r *runningRig) run() {
	r.gate = bmcqueue.New(bmcqueue.Options{Settings: bmcqueue.Settings{MaxConcurrentOps: 4, WorkerCount: 4, MaxQueueSize: 10, RetryAttempts: 3,
		OperationTimeout: time.Minute}, Done: func(string) {}})
	r.host.Actuator = actuator.New(actuator.Options{Gate: r.gate, Driver: oneBMC{r.bmc}, Clock: r.clock, Changed: func(string) {}})
	ctx, cancel := context.WithCancel(context.Background())
	ended, gate := make(chan error, 1), r.gate
	go func() { ended <- gate.Run(ctx) }()
	r.t.Cleanup(func() { cancel(); <-ended })
}

// fail lets the next n requests fail in that way.
func (r *runningRig) fail(n int, kind redfish.Kind, message string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for range n {
		r.faults = append(r.faults, &redfish.Error{Kind: kind, Op: "State", Message: message})
	}
}

// settle lets everything happen that happens at once, with a look at the host after each step of it.
func (r *runningRig) settle() *v1beta1.PhysicalHost {
	r.t.Helper()
	for range 12 {
		synctest.Wait()
		r.look(1)
	}
	return r.getHost()
}

// pass lets time pass, for the gate and for the controllers.
func (r *runningRig) pass(d time.Duration) {
	r.sleep(d)
	<-time.After(d)
}

// boundHost is a host of the fake BMC's server, bound to the machine m.
func boundHost() *v1beta1.PhysicalHost {
	h := inventoried(claimedHost())
	h.Spec.Claim.Bound = true
	return h
}

// inventoried gives the host the inventory of the fake BMC's server.
func inventoried(h *v1beta1.PhysicalHost) *v1beta1.PhysicalHost {
	h.Status.Hardware = &v1beta1.Hardware{Model: "Fake", Manufacturer: "Beskar7", SerialNumber: "FAKE0001", SystemUUID: "00000000-0000-4000-8000-000000000001"}
	h.Status.BMC = &v1beta1.BMCReport{SystemID: "1"}
	return h
}
