//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	clusterctlv1 "sigs.k8s.io/cluster-api/cmd/clusterctl/api/v1alpha3"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/test/emulator"
	"github.com/beskar7/beskar7/test/lab"
)

// TestClusterLife is what users do to clusters between their creation and their end.
func TestClusterLife(t *testing.T) {
	l := newLab(t)
	t.Run("ClusterClass", func(t *testing.T) { clusterClass(newStory(t, l, "class", 4)) })
	t.Run("RolloutWithoutSpare", func(t *testing.T) { rolloutWithoutSpare(newStory(t, l, "rollout", 3)) })
	t.Run("RolloutReusesHosts", func(t *testing.T) { rolloutReusesHosts(newStory(t, l, "reuse", 6)) })
	t.Run("ControlPlaneUpgrade", func(t *testing.T) { controlPlaneUpgrade(newStory(t, l, "upgrade", 2)) })
	t.Run("ControlPlaneWithoutSpare", func(t *testing.T) { controlPlaneWithoutSpare(newStory(t, l, "cp-reuse", 3)) })
	t.Run("Pause", func(t *testing.T) { pause(newStory(t, l, "pause", 2, slow)) })
	t.Run("DeletedHalfway", func(t *testing.T) { deletedHalfway(newStory(t, l, "halfway", 4)) })
}

// slow gives the BMC long rests, so that a test can act between two changes of one server.
func slow(_ int, h *v1beta1.PhysicalHost) {
	h.Spec.RedfishConnection.Tuning = &v1beta1.Tuning{Cooldown: &metav1.Duration{Duration: 5 * time.Second}}
}

// clusterClass: a cluster of our ClusterClass is scaled and rolled out through its topology alone.
func clusterClass(s *story) {
	g := NewWithT(s.t)
	s.apply(lab.ClusterSpec{Name: "topo", ControlPlanes: 1, Workers: 1, Flavor: "topology"})
	s.running("topo", 1, 1)
	s.immutable(s.machines("topo")[0].Annotations[clusterv1.TemplateClonedFromNameAnnotation])

	const replicas = `[{"op":"replace","path":"/spec/topology/workers/machineDeployments/0/replicas","value":%d}]`
	s.kubectl("patch", "cluster", "topo", "--type=json", "-p", fmt.Sprintf(replicas, 3))
	s.running("topo", 1, 3)
	s.kubectl("patch", "cluster", "topo", "--type=json", "-p", fmt.Sprintf(replicas, 1))
	s.running("topo", 1, 1)

	// The topology controller finds out by a dry run that the template would change, and rotates it.
	before := s.worker("topo")
	s.kubectl("patch", "cluster", "topo", "--type=json", "-p", `[
		{"op":"test","path":"/spec/topology/variables/2/name","value":"hostSelectors"},
		{"op":"replace","path":"/spec/topology/variables/2/value","value":{"controlPlane":{},"workers":{"matchLabels":{"site":"lab"}}}}]`)
	s.until("the worker to be replaced", func(context.Context) (bool, string, error) {
		workers := s.workers("topo")
		return len(workers) == 1 && workers[0].UID != before.UID, fmt.Sprintf("%d workers", len(workers)), nil
	})
	s.running("topo", 1, 1)
	g.Expect(s.worker("topo").Spec.HostSelector).To(Equal(&metav1.LabelSelector{MatchLabels: map[string]string{"site": "lab"}}))

	s.remove("topo")
	s.available()
	w := s.witness()
	g.Expect([]int{w.Provisioned, w.Released}).To(Equal([]int{5, 5}))
}

// immutable checks that nobody edits a template, but the topology controller may ask what an edit would give.
func (s *story) immutable(name string) {
	s.t.Helper()
	g := NewWithT(s.t)
	edit := func(annotated bool, options ...client.UpdateOption) error {
		template, err := lab.Object(s.t.Context(), s.Lab, s.namespace, name, &v1beta1.Beskar7MachineTemplate{})
		g.Expect(err).NotTo(HaveOccurred())
		template.Spec.Template.Spec.BootMode = v1beta1.BootModeInstall
		if annotated {
			metav1.SetMetaDataAnnotation(&template.ObjectMeta, clusterv1.TopologyDryRunAnnotation, "")
		}
		return s.Client.Update(s.t.Context(), template, options...)
	}
	g.Expect(edit(false)).To(MatchError(ContainSubstring("immutable")), "an edit")
	g.Expect(edit(true)).To(MatchError(ContainSubstring("immutable")), "an edit that says it is a dry run")
	g.Expect(edit(false, client.DryRunAll)).To(MatchError(ContainSubstring("immutable")), "a person's dry run")
	g.Expect(edit(true, client.DryRunAll)).To(Succeed(), "a topology dry run")
}

// rolloutWithoutSpare: every host is in use, so that a new machine, which asks for no other, has to wait for the host of the one it
// replaces.
func rolloutWithoutSpare(s *story) {
	g := NewWithT(s.t)
	s.apply(lab.ClusterSpec{Name: "roll", ControlPlanes: 1, Workers: 2})
	s.running("roll", 1, 2)
	old, err := lab.Object(s.t.Context(), s.Lab, s.namespace, "roll-md-0", &v1beta1.Beskar7MachineTemplate{})
	g.Expect(err).NotTo(HaveOccurred())
	next := &v1beta1.Beskar7MachineTemplate{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "roll-md-0-v2"}, Spec: *old.Spec.DeepCopy()}
	next.Spec.Template.Spec.ImageURL = strings.Replace(s.Image, "base.iso", "next.iso", 1)
	next.Spec.Template.Spec.Reuse = v1beta1.ReuseRequire
	g.Expect(s.Client.Create(s.t.Context(), next)).To(Succeed())
	s.kubectl("patch", "machinedeployment", "roll-md-0", "--type=json", "-p",
		`[{"op":"replace","path":"/spec/template/spec/infrastructureRef/name","value":"roll-md-0-v2"}]`)

	fewest := 2
	s.until("both workers to run the new image", func(ctx context.Context) (bool, string, error) {
		fewest = min(fewest, s.readyWorkers("roll"))
		for _, m := range s.workers("roll") {
			if m.Spec.ImageURL != next.Spec.Template.Spec.ImageURL {
				return false, m.Name + " has the old image", nil
			}
		}
		return s.ClusterRuns(ctx, s.namespace, "roll", 1, 2)
	})
	g.Expect(fewest).To(Equal(1), "workers that ran at the worst moment of the rollout")
	for _, m := range s.workers("roll") {
		host, err := lab.Object(s.t.Context(), s.Lab, s.namespace, m.Spec.HostRef.Name, &v1beta1.PhysicalHost{})
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(host.Spec.Boot.ImageURL).To(Equal(next.Spec.Template.Spec.ImageURL))
	}
	s.remove("roll")
	s.available()
	w := s.witness()
	g.Expect([]int{w.Provisioned, w.Released}).To(Equal([]int{5, 5}))
}

// rolloutReusesHosts: although other hosts are free, each new worker waits for the host of the one it replaces, and finds on its
// disk what that one left.
func rolloutReusesHosts(s *story) {
	g := NewWithT(s.t)
	s.apply(lab.ClusterSpec{Name: "again", ControlPlanes: 1, Workers: 2})
	s.running("again", 1, 2)
	hosts := func() (names []string) {
		for _, m := range s.workers("again") {
			if m.Spec.HostRef != nil {
				names = append(names, m.Spec.HostRef.Name)
			}
		}
		return names
	}
	before := hosts()
	for _, name := range before {
		s.Fleet.Get(name).Disk().Put("of a worker", []byte(name))
	}
	old, err := lab.Object(s.t.Context(), s.Lab, s.namespace, "again-md-0", &v1beta1.Beskar7MachineTemplate{})
	g.Expect(err).NotTo(HaveOccurred())
	next := &v1beta1.Beskar7MachineTemplate{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "again-md-0-v2"}, Spec: *old.Spec.DeepCopy()}
	next.Spec.Template.Spec.Reuse = v1beta1.ReuseRequire
	g.Expect(s.Client.Create(s.t.Context(), next)).To(Succeed())
	s.kubectl("patch", "machinedeployment", "again-md-0", "--type=json", "-p",
		`[{"op":"replace","path":"/spec/template/spec/infrastructureRef/name","value":"again-md-0-v2"}]`)
	s.until("both workers to be replaced", func(ctx context.Context) (bool, string, error) {
		for _, m := range s.workers("again") {
			if m.Spec.Reuse != v1beta1.ReuseRequire {
				return false, m.Name + " is an old one", nil
			}
		}
		return s.ClusterRuns(ctx, s.namespace, "again", 1, 2)
	})
	g.Expect(hosts()).To(ConsistOf(before), "three other hosts were free all the time")
	for _, name := range before {
		kept, _ := s.Fleet.Get(name).Disk().Get("of a worker")
		g.Expect(string(kept)).To(Equal(name), "the disk of "+name)
	}
	s.remove("again")
	s.available()
	w := s.witness()
	g.Expect([]int{w.Provisioned, w.Released}).To(Equal([]int{5, 5}))
}

// controlPlaneUpgrade: the only control plane machine is replaced, over the one spare host. (The lab's images have no version of
// Kubernetes of their own, so that the node's version says nothing.)
func controlPlaneUpgrade(s *story) {
	g := NewWithT(s.t)
	s.apply(lab.ClusterSpec{Name: "up", ControlPlanes: 1})
	s.running("up", 1, 0)
	before := s.machines("up")[0]
	s.kubectl("patch", "kubeadmcontrolplane", "up-control-plane", "--type=merge", "-p", `{"spec":{"version":"v1.36.2"}}`)
	s.until("the control plane machine to be replaced", func(context.Context) (bool, string, error) {
		machines := s.machines("up")
		return len(machines) == 1 && machines[0].UID != before.UID, fmt.Sprintf("%d machines", len(machines)), nil
	})
	s.running("up", 1, 0)
	after := s.machines("up")[0]
	machine, err := lab.Object(s.t.Context(), s.Lab, s.namespace, after.Name, &clusterv1.Machine{})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(machine.Spec.Version).To(Equal("v1.36.2"))
	g.Expect(after.Spec.HostRef.Name).NotTo(Equal(before.Spec.HostRef.Name))
	s.remove("up")
	s.available()
	w := s.witness()
	g.Expect([]int{w.Provisioned, w.Released}).To(Equal([]int{2, 2}))
}

// controlPlaneWithoutSpare: three control plane machines on the only three hosts are replaced one by one, each on the host of the one
// that it replaces, where the disk is as that one left it.
func controlPlaneWithoutSpare(s *story) {
	g := NewWithT(s.t)
	s.apply(lab.ClusterSpec{Name: "three", ControlPlanes: 3})
	s.running("three", 3, 0)
	was := map[string]bool{}
	for _, m := range s.machines("three") {
		was[m.Name] = true
		s.Fleet.Get(m.Spec.HostRef.Name).Disk().Put("of a control plane", []byte(m.Spec.HostRef.Name))
	}
	old, err := lab.Object(s.t.Context(), s.Lab, s.namespace, "three-control-plane", &v1beta1.Beskar7MachineTemplate{})
	g.Expect(err).NotTo(HaveOccurred())
	next := &v1beta1.Beskar7MachineTemplate{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "three-control-plane-v2"}, Spec: *old.Spec.DeepCopy()}
	next.Spec.Template.Spec.Reuse = v1beta1.ReuseRequire
	g.Expect(s.Client.Create(s.t.Context(), next)).To(Succeed())
	s.kubectl("patch", "kubeadmcontrolplane", "three-control-plane", "--type=merge", "-p", `{"spec":{
		"machineTemplate":{"spec":{"infrastructureRef":{"name":"three-control-plane-v2"}}},
		"rollout":{"strategy":{"type":"RollingUpdate","rollingUpdate":{"maxSurge":0}}}}}`)
	fewest := 3
	s.until("all three to be replaced", func(ctx context.Context) (bool, string, error) {
		machines := s.machines("three")
		fewest = min(fewest, len(machines))
		for _, m := range machines {
			if was[m.Name] {
				return false, m.Name + " is an old one", nil
			}
		}
		return s.ClusterRuns(ctx, s.namespace, "three", 3, 0)
	})
	g.Expect(fewest).To(BeNumerically(">=", 2), "machines at a time")
	for _, b := range s.servers() {
		kept, _ := b.Disk().Get("of a control plane")
		g.Expect(string(kept)).To(Equal(b.Name()), "the disk of "+b.Name())
	}
	s.remove("three")
	s.available()
	w := s.witness()
	g.Expect([]int{w.Provisioned, w.Released}).To(Equal([]int{6, 6}))
}

// pause: a paused cluster's hardware is left alone, between two steps of provisioning and when a running server loses its power.
func pause(s *story) {
	g := NewWithT(s.t)
	s.apply(lab.ClusterSpec{Name: "still", ControlPlanes: 1, Workers: 1})
	s.until("the first medium", func(context.Context) (bool, string, error) {
		return s.serversWith(emulator.EventInsert) > 0, "none yet", nil
	})
	s.paused("still")
	g.Expect(s.serversWith(emulator.EventBoot)).To(BeZero(), "the pause came between the medium and the boot")
	s.untouched(20 * time.Second)
	s.unpaused("still")
	s.running("still", 1, 1)

	s.paused("still")
	worker := s.worker("still")
	bmc := s.Fleet.Get(worker.Spec.HostRef.Name)
	bmc.CutPower()
	s.untouched(20 * time.Second)
	g.Expect(bmc.State().Power).To(Equal(emulator.Off))
	s.unpaused("still")
	s.until("the host to say that it lost its system", func(ctx context.Context) (bool, string, error) {
		host, err := lab.Object(ctx, s.Lab, s.namespace, worker.Spec.HostRef.Name, &v1beta1.PhysicalHost{})
		return err == nil && host.Status.State == v1beta1.StateLost, string(host.Status.State), err
	})
	g.Expect(bmc.State().Power).To(Equal(emulator.Off), "a Live system that lost its power is not booted again")
	s.kubectl("delete", "machine", worker.OwnerReferences[0].Name, "--wait=false")
	s.until("another worker", func(context.Context) (bool, string, error) {
		workers := s.workers("still")
		return len(workers) > 0 && s.worker("still").UID != worker.UID, fmt.Sprintf("%d workers", len(workers)), nil
	})
	s.running("still", 1, 1)

	s.remove("still")
	s.available()
	w := s.witness()
	g.Expect([]int{w.Provisioned, w.Released}).To(Equal([]int{3, 3}))
}

// paused pauses a cluster and waits until that is stored where `clusterctl move` keeps it: on the hosts.
func (s *story) paused(cluster string) {
	s.t.Helper()
	s.kubectl("patch", "cluster", cluster, "--type=merge", "-p", `{"spec":{"paused":true}}`)
	s.until("the pause to reach machines and hosts", func(ctx context.Context) (bool, string, error) {
		for _, m := range s.machines(cluster) {
			if _, blocked := m.Annotations[clusterctlv1.BlockMoveAnnotation]; blocked {
				return false, m.Name + " blocks a move", nil
			}
			if m.Spec.HostRef == nil {
				continue
			}
			host, err := lab.Object(ctx, s.Lab, s.namespace, m.Spec.HostRef.Name, &v1beta1.PhysicalHost{})
			if err != nil || !host.Spec.Paused || host.Status.State != v1beta1.StatePaused {
				return false, fmt.Sprintf("host %s is %s", host.Name, host.Status.State), err
			}
		}
		return true, "", nil
	})
}

// unpaused ends the pause and waits until no host has it.
func (s *story) unpaused(cluster string) {
	s.t.Helper()
	s.kubectl("patch", "cluster", cluster, "--type=merge", "-p", `{"spec":{"paused":null}}`)
	s.until("the pause to end", func(ctx context.Context) (bool, string, error) {
		hosts, err := s.Hosts(ctx, s.namespace)
		paused := slices.ContainsFunc(hosts, func(h v1beta1.PhysicalHost) bool { return h.Spec.Paused })
		return !paused, "a host is paused", err
	})
	for _, m := range s.machines(cluster) {
		if m.Spec.HostRef != nil {
			NewWithT(s.t).Expect(m.Annotations).To(HaveKey(clusterctlv1.BlockMoveAnnotation), m.Name)
		}
	}
}

// untouched checks that for a while no BMC of the story is asked to change anything.
func (s *story) untouched(d time.Duration) {
	s.t.Helper()
	before := s.changes()
	NewWithT(s.t).Consistently(s.changes).WithTimeout(d).WithPolling(200*time.Millisecond).Should(Equal(before), "changes that BMCs were asked for")
}

// changes are the changing requests that the story's BMCs got so far, but for logins.
func (s *story) changes() []string {
	var out []string
	for _, b := range s.servers() {
		for _, c := range b.Requests().Changes {
			if !c.Session {
				out = append(out, fmt.Sprintf("%s %s %s at %s", b.Name(), c.Method, c.Path, c.Start.Format(time.StampMilli)))
			}
		}
	}
	return out
}

// servers are the BMCs of the story.
func (s *story) servers() []*emulator.BMC {
	return slices.DeleteFunc(s.Fleet.BMCs(), func(b *emulator.BMC) bool { return !strings.HasPrefix(b.Name(), s.namespace+"-") })
}

// serversWith counts the servers in whose log there is such an event.
func (s *story) serversWith(kind emulator.EventKind) int {
	n := 0
	for _, b := range s.servers() {
		if slices.ContainsFunc(b.Events(), func(e emulator.Event) bool { return e.Kind == kind }) {
			n++
		}
	}
	return n
}

// machines are a cluster's Beskar7Machines.
func (s *story) machines(cluster string) []v1beta1.Beskar7Machine {
	s.t.Helper()
	list := &v1beta1.Beskar7MachineList{}
	NewWithT(s.t).Expect(s.Client.List(s.t.Context(), list, client.InNamespace(s.namespace), client.MatchingLabels{clusterv1.ClusterNameLabel: cluster})).To(Succeed())
	return list.Items
}

// workers are those that are no control plane machines.
func (s *story) workers(cluster string) []v1beta1.Beskar7Machine {
	s.t.Helper()
	return slices.DeleteFunc(s.machines(cluster), func(m v1beta1.Beskar7Machine) bool {
		_, cp := m.Labels[clusterv1.MachineControlPlaneLabel]
		return cp
	})
}

// worker is the latest one.
func (s *story) worker(cluster string) v1beta1.Beskar7Machine {
	s.t.Helper()
	workers := s.workers(cluster)
	NewWithT(s.t).Expect(workers).NotTo(BeEmpty())
	return slices.MaxFunc(workers, func(a, b v1beta1.Beskar7Machine) int { return a.CreationTimestamp.Compare(b.CreationTimestamp.Time) })
}

// readyWorkers counts the workers whose nodes are really up.
func (s *story) readyWorkers(cluster string) int {
	s.t.Helper()
	up := map[string]bool{}
	for _, n := range s.World.Nodes() {
		up[n.ProviderID] = n.Ready && n.On
	}
	return len(slices.DeleteFunc(s.workers(cluster), func(m v1beta1.Beskar7Machine) bool { return !up[m.Spec.ProviderID] }))
}

// deletedHalfway: a cluster that is deleted before it was ever there gives everything back, whatever had been done.
func deletedHalfway(s *story) {
	for i, moment := range []struct {
		name string
		come func(since []int) bool
	}{
		{"the first host is claimed", func([]int) bool {
			return slices.ContainsFunc(s.machines("half-0"), func(m v1beta1.Beskar7Machine) bool { return m.Spec.HostRef != nil })
		}},
		{"the first medium is in", func(since []int) bool { return s.newEvents(since, emulator.EventInsert) == 1 }},
		{"the control plane boots", func(since []int) bool { return s.newEvents(since, emulator.EventBoot) == 1 }},
		{"a worker's medium is in", func(since []int) bool { return s.newEvents(since, emulator.EventInsert) >= 2 }},
	} {
		name := fmt.Sprintf("half-%d", i)
		since := s.eventCounts()
		s.apply(lab.ClusterSpec{Name: name, ControlPlanes: 1, Workers: 3})
		s.until(moment.name, func(context.Context) (bool, string, error) { return moment.come(since), "not yet", nil })
		s.remove(name)
		s.available()
		s.t.Logf("deleted when %s: every host is Available again", moment.name)
	}
	w := s.witness()
	if w.Released < 4 {
		s.t.Errorf("%d hosts were released: each of the 4 clusters had one at least", w.Released)
	}
}

// eventCounts marks the ends of the servers' logs.
func (s *story) eventCounts() []int {
	var out []int
	for _, b := range s.servers() {
		out = append(out, len(b.Events()))
	}
	return out
}

// newEvents counts the servers in whose log there is such an event after the marks.
func (s *story) newEvents(since []int, kind emulator.EventKind) int {
	n := 0
	for i, b := range s.servers() {
		if slices.ContainsFunc(b.Events()[since[i]:], func(e emulator.Event) bool { return e.Kind == kind }) {
			n++
		}
	}
	return n
}
