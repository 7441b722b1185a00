package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	controlplanev1 "sigs.k8s.io/cluster-api/api/controlplane/kubeadm/v1beta2"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/test/controlplane"
	"github.com/beskar7/beskar7/test/lab"
)

const (
	namespace   = "demo"
	clusterName = "demo"
)

// demo is one run.
type demo struct {
	dir   string
	hosts int
	mode  string
	out   *screen
	limit time.Duration
	lab   *lab.Lab
	// replicas of the manager, and those that run.
	replicas int
	managers []*controlplane.Provider
}

// captured are the personas of the second and the third server, made after captures: not all servers of a site are alike.
var captured = []string{"sushy-tools", "supermicro-x13"}

// start brings the site up in an empty folder.
func (d *demo) start(ctx context.Context) error {
	if _, err := controlplane.Binaries(ctx, controlplane.BinariesOptions{Progress: d.out}); err != nil {
		return err
	}
	if err := os.RemoveAll(d.dir); err != nil {
		return err
	}
	if err := os.MkdirAll(d.dir, 0o755); err != nil {
		return err
	}
	options := lab.Options{Dir: d.dir, Progress: d.out}
	if d.mode == "leader" {
		options.ExtraArgs = []string{"--enable-claim-coordinator-leader-election"}
	}
	started, err := lab.Start(ctx, options)
	d.lab = started
	if err != nil {
		return err
	}
	if err := d.scaleManager(ctx); err != nil {
		return err
	}
	d.out.step("registering %d servers: a Secret and a PhysicalHost each", d.hosts)
	personas := make([]string, d.hosts)
	copy(personas[min(1, d.hosts):], captured)
	return d.lab.AddHostsOf(ctx, namespace, "server", personas)
}

// scaleManager runs as many replicas of the manager as asked for. The lab starts the first.
func (d *demo) scaleManager(ctx context.Context) error {
	d.managers = []*controlplane.Provider{d.lab.Manager}
	for i := 1; i < d.replicas; i++ {
		one, err := d.lab.RunReplica(i)
		if err != nil {
			return err
		}
		d.managers = append(d.managers, one)
	}
	if d.replicas <= 1 {
		return nil
	}
	d.out.step("kubectl scale deployment beskar7-controller-manager 1 -> %d", d.replicas)
	if _, err := d.lab.Plane.Kubectl(ctx, nil, "-n", "beskar7-system", "scale", "deployment", "beskar7-controller-manager", fmt.Sprintf("--replicas=%d", d.replicas)); err != nil {
		return err
	}
	ready, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for _, one := range d.managers {
		if err := one.Ready(ready); err != nil {
			return err
		}
	}
	return nil
}

// story is `make demo`.
func (d *demo) story(ctx context.Context) (err error) {
	// The first build takes as long as it takes: the time limit starts after it.
	if _, err := controlplane.Binaries(ctx, controlplane.BinariesOptions{Progress: d.out}); err != nil {
		return err
	}
	began := time.Now()
	ctx, cancel := context.WithTimeoutCause(ctx, d.limit, errors.New("the demo took longer than its limit"))
	defer cancel()
	defer func() {
		if d.lab != nil {
			err = errors.Join(err, d.lab.Stop())
		}
	}()
	if err := d.start(ctx); err != nil {
		return err
	}
	tell, stop := context.WithCancel(ctx)
	watched, recorded := d.watch(tell), d.record(tell)
	defer func() { stop(); <-watched; <-recorded }()
	if err := d.chapters(ctx); err != nil {
		return err
	}
	witness, err := d.lab.Witness(ctx, namespace)
	if err != nil {
		return fmt.Errorf("check the invariants: %w", err)
	}
	stop()
	<-watched
	<-recorded
	if err := witness.Err(); err != nil {
		return err
	}
	d.out.line("demo: ok hosts=%d machines_provisioned=%d machines_released=%d double_claims=%d seconds=%d",
		d.hosts, witness.Provisioned, witness.Released, witness.DoubleClaims, int(time.Since(began).Seconds()))
	return nil
}

// chapters are what a user would do.
func (d *demo) chapters(ctx context.Context) error {
	for _, chapter := range []struct {
		title string
		run   func(context.Context) error
	}{
		{"every server is enrolled: observed off, empty, inventoried", d.available},
		{"clusterctl generate cluster | kubectl apply: 1 control plane, 2 workers", d.create},
		{"kubectl scale machinedeployment 2 -> 4", func(ctx context.Context) error { return d.scaleWorkers(ctx, 4) }},
		{"kubectl scale machinedeployment 4 -> 1", func(ctx context.Context) error { return d.scaleWorkers(ctx, 1) }},
		{"kubectl scale kubeadmcontrolplane 1 -> 3", func(ctx context.Context) error { return d.scaleControlPlane(ctx, 3) }},
		{"kubectl delete cluster", d.remove},
		{"every server is Available again: observed off, empty, disarmed", d.available},
	} {
		d.out.step("%s", chapter.title)
		if err := chapter.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", chapter.title, err)
		}
	}
	return nil
}

func (d *demo) available(ctx context.Context) error {
	return lab.Until(ctx, "every host to be Available", 5*time.Minute, func(ctx context.Context) (bool, string, error) {
		return d.lab.AllAvailable(ctx, namespace)
	})
}

func (d *demo) create(ctx context.Context) error {
	if err := d.lab.Apply(ctx, lab.ClusterSpec{Namespace: namespace, Name: clusterName, ControlPlanes: 1, Workers: 2}); err != nil {
		return err
	}
	return d.running(ctx, 1, 2)
}

// running waits until Cluster API says that all machines run, the cluster is available, and the nodes are really there.
func (d *demo) running(ctx context.Context, controlPlanes, workers int) error {
	return lab.Until(ctx, fmt.Sprintf("%d control plane and %d worker machines to run", controlPlanes, workers), 10*time.Minute, func(ctx context.Context) (bool, string, error) {
		return d.lab.ClusterRuns(ctx, namespace, clusterName, controlPlanes, workers)
	})
}

func (d *demo) scaleWorkers(ctx context.Context, n int) error {
	list := &clusterv1.MachineDeploymentList{}
	if err := d.lab.Client.List(ctx, list, client.InNamespace(namespace)); err != nil {
		return err
	}
	if len(list.Items) != 1 {
		return fmt.Errorf("expected one MachineDeployment, found %d", len(list.Items))
	}
	if _, err := d.lab.Plane.Kubectl(ctx, nil, "-n", namespace, "scale", "machinedeployment", list.Items[0].Name, fmt.Sprintf("--replicas=%d", n)); err != nil {
		return err
	}
	return d.running(ctx, 1, n)
}

func (d *demo) scaleControlPlane(ctx context.Context, n int) error {
	list := &controlplanev1.KubeadmControlPlaneList{}
	if err := d.lab.Client.List(ctx, list, client.InNamespace(namespace)); err != nil {
		return err
	}
	if len(list.Items) != 1 {
		return fmt.Errorf("expected one KubeadmControlPlane, found %d", len(list.Items))
	}
	if _, err := d.lab.Plane.Kubectl(ctx, nil, "-n", namespace, "scale", "kubeadmcontrolplane", list.Items[0].Name, fmt.Sprintf("--replicas=%d", n)); err != nil {
		return err
	}
	return d.running(ctx, n, 1)
}

func (d *demo) remove(ctx context.Context) error {
	cluster := &clusterv1.Cluster{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: clusterName}}
	if err := d.lab.Client.Delete(ctx, cluster); err != nil {
		return err
	}
	return lab.Until(ctx, "the cluster to be gone", 10*time.Minute, func(ctx context.Context) (bool, string, error) {
		machines := &v1beta1.Beskar7MachineList{}
		if err := d.lab.Client.List(ctx, machines, client.InNamespace(namespace)); err != nil {
			return false, "", err
		}
		if len(machines.Items) > 0 {
			m := &machines.Items[0]
			return false, fmt.Sprintf("machine %s: %s", m.Name, conditions.GetMessage(m, v1beta1.ReadyCondition)), nil
		}
		err := d.lab.Client.Get(ctx, client.ObjectKeyFromObject(cluster), cluster)
		return client.IgnoreNotFound(err) == nil && err != nil, "the Cluster object is still there", client.IgnoreNotFound(err)
	})
}
