//go:build linux

package integration

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/utils/clock"

	"github.com/beskar7/beskar7/pkg/coordinator/bmcqueue"
	"github.com/beskar7/beskar7/pkg/lease"
	"github.com/beskar7/beskar7/pkg/redfish"
)

// What a driver process of the fence test is told.
const (
	fenceName       = "BESKAR7_FENCE_NAME" // empty: this is no driver process
	fenceKubeconfig = "BESKAR7_FENCE_KUBECONFIG"
	fenceNamespace  = "BESKAR7_FENCE_NAMESPACE"
	fenceAddress    = "BESKAR7_FENCE_ADDRESS"
	fenceUser       = "BESKAR7_FENCE_USER"
	fencePassword   = "BESKAR7_FENCE_PASSWORD"
)

// Its lease is short, so that the test is.
const (
	fenceLease = 3 * time.Second
	fenceRenew = 2 * time.Second
	fenceRetry = 300 * time.Millisecond
	fenceQuiet = time.Second
)

// TestFenceDriverProcess is a driver process of TestFence: the real lease, the real gate and the real Redfish driver, put
// together as the manager does it. It never ends by itself but when the lease is lost. As a test of its own it does nothing.
func TestFenceDriverProcess(t *testing.T) {
	if os.Getenv(fenceName) == "" {
		return
	}
	go func() { // the test holds the other end: it does not leave us behind
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(1)
	}()
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv(fenceKubeconfig))
	if err != nil {
		t.Fatal(err)
	}
	lock, err := lease.NewDriverLock(config, os.Getenv(fenceNamespace), os.Getenv(fenceName), fenceRenew, clock.RealClock{})
	if err != nil {
		t.Fatal(err)
	}
	leaderelection.RunOrDie(t.Context(), leaderelection.LeaderElectionConfig{
		Lock: lock, LeaseDuration: fenceLease, RenewDeadline: fenceRenew, RetryPeriod: fenceRetry, ReleaseOnCancel: true,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(ctx context.Context) { drive(ctx, lock) },
			OnStoppedLeading: func() {}, // RunOrDie returns, and the process ends
		},
	})
	t.Log("the lease is lost")
}

// drive keeps one operation at the gate: read, ask the fence, change. Its wish is always to turn the boot override round.
func drive(ctx context.Context, lock *lease.Lock) {
	pool, asked := redfish.NewPool(redfish.Options{}), make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGUSR1)
	again := make(chan struct{}, 1)
	queue := bmcqueue.New(bmcqueue.Options{Fence: lock, Done: func(string) {
		select {
		case again <- struct{}{}:
		default:
		}
	}, Settings: bmcqueue.Settings{MaxConcurrentOps: 2, WorkerCount: 2, MaxQueueSize: 10, Cooldown: 100 * time.Millisecond, RetryAttempts: 3, MaxRetryDelay: time.Second}})
	queue.TakeOver(lock.HandOver(), fenceQuiet)
	go func() {
		if err := queue.Run(ctx); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}()
	target := redfish.Target{Address: os.Getenv(fenceAddress), Username: os.Getenv(fenceUser), Password: redfish.Password(os.Getenv(fencePassword)), InsecureSkipVerify: true,
		Timeouts: redfish.Timeouts{Connection: time.Minute, Request: time.Minute}} // no read is repeated because this process stood still
	for ctx.Err() == nil {
		queue.Submit(bmcqueue.Op{Endpoint: target.Address, Host: "default/h", Namespace: "default", Class: bmcqueue.ClassProvision, Kind: "Turn",
			Run: func(ctx context.Context) bmcqueue.Result { return turn(ctx, pool, target, asked) }})
		select {
		case <-ctx.Done():
		case <-again:
		}
	}
}

// turn stops the process just before it asks the fence, if that was asked for: the worst moment, as nothing else of the process
// has run yet when it goes on.
func turn(ctx context.Context, pool *redfish.Pool, target redfish.Target, asked <-chan os.Signal) bmcqueue.Result {
	bmc, err := pool.BMC(target)
	if err != nil {
		return bmcqueue.Result{Failure: bmcqueue.Other, Err: err}
	}
	state, err := bmc.State(ctx)
	if err != nil {
		return bmcqueue.Result{Failure: bmcqueue.Unreachable, Err: err}
	}
	select {
	case <-asked:
		stopHere()
	default:
	}
	if err := bmcqueue.CheckFence(ctx); err != nil {
		return bmcqueue.Result{Failure: bmcqueue.Other, Err: err}
	}
	if state.Boot.ArmedFrom(redfish.BootCD) {
		err = bmc.ClearBoot(ctx)
	} else {
		err = bmc.SetBootOnce(ctx, redfish.BootCD)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return bmcqueue.Result{Failure: bmcqueue.Other, Changed: true, Err: err}
	}
	return bmcqueue.Result{Changed: true}
}

// stopHere stops the process. A signal to the thread itself is taken before the call returns, one to the process perhaps later.
func stopHere() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := syscall.Tgkill(os.Getpid(), syscall.Gettid(), syscall.SIGSTOP); err != nil {
		panic(err)
	}
}
