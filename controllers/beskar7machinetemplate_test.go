package controllers

import (
	"fmt"
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/beskar7/beskar7/api/v1beta1"
)

func hardware(architecture string, cores, threads int32, memory string) v1beta1.PhysicalHost {
	h := *newHost()
	h.Status.Hardware = &v1beta1.Hardware{CPU: v1beta1.CPU{Architecture: architecture, Cores: cores, Threads: threads}}
	if memory != "" {
		h.Status.Hardware.Memory = resource.MustParse(memory)
	}
	return h
}

// The autoscaler is told the least Node that a machine of the template can become, whatever the order of the hosts.
func TestCapacityIsThatOfTheLeastNode(t *testing.T) {
	uninspected := *newHost()
	for name, c := range map[string]struct {
		hosts             []v1beta1.PhysicalHost
		cpu, memory, arch string
	}{
		"none":                                {nil, "", "", ""},
		"not inspected yet":                   {[]v1beta1.PhysicalHost{uninspected}, "", "", ""},
		"threads, not cores":                  {[]v1beta1.PhysicalHost{hardware("amd64", 32, 64, "256Gi")}, "64", "256Gi", "amd64"},
		"cores where no threads are known":    {[]v1beta1.PhysicalHost{hardware("amd64", 32, 0, "256Gi")}, "32", "256Gi", "amd64"},
		"the least of each":                   {[]v1beta1.PhysicalHost{hardware("amd64", 8, 16, "512Gi"), hardware("amd64", 32, 64, "64Gi"), uninspected}, "16", "64Gi", "amd64"},
		"a silent BMC says nothing":           {[]v1beta1.PhysicalHost{hardware("", 0, 0, ""), hardware("arm64", 8, 16, "64Gi")}, "16", "64Gi", "arm64"},
		"half silent":                         {[]v1beta1.PhysicalHost{hardware("amd64", 0, 0, "32Gi"), hardware("amd64", 8, 16, "64Gi")}, "16", "32Gi", "amd64"},
		"silent BMCs only":                    {[]v1beta1.PhysicalHost{hardware("", 0, 0, "")}, "", "", ""},
		"two architectures give none":         {[]v1beta1.PhysicalHost{hardware("amd64", 8, 16, "64Gi"), hardware("", 8, 16, "64Gi"), hardware("arm64", 16, 32, "64Gi")}, "", "", ""},
		"one that Kubernetes has no word for": {[]v1beta1.PhysicalHost{hardware("mips", 8, 16, "64Gi")}, "16", "64Gi", ""},
	} {
		t.Run(name, func(t *testing.T) {
			for range len(c.hosts) + 1 {
				list, info := capacity(c.hosts, labels.Everything(), v1beta1.HardwareRequirements{})
				cpu, memory := "", ""
				if q, ok := list["cpu"]; ok {
					cpu = q.String()
				}
				if q, ok := list["memory"]; ok {
					memory = q.String()
				}
				if cpu != c.cpu || memory != c.memory || info.Architecture != c.arch || (info.OperatingSystem == "linux") != (len(list) > 0) {
					t.Fatalf("%d hosts: cpu %q, memory %q, %+v", len(c.hosts), cpu, memory, info)
				}
				if len(c.hosts) > 0 {
					c.hosts = append(slices.Clone(c.hosts[1:]), c.hosts[0])
				}
			}
		})
	}
}

// A host wakes the templates of its namespace that select it or did, and no others.
func TestAHostWakesItsTemplates(t *testing.T) {
	template := func(namespace, role string) *v1beta1.Beskar7MachineTemplate {
		m := &v1beta1.Beskar7MachineTemplate{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "t-" + role}}
		if role != "" {
			m.Spec.Template.Spec.HostSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"role": role}}
		}
		return m
	}
	r := newRig(t, template(namespace, ""), template(namespace, "db"), template(namespace, "web"), template(namespace, "gpu"), template("elsewhere", ""))
	before, after := newHost(), newHost()
	before.Labels, after.Labels = map[string]string{"role": "db"}, map[string]string{"role": "web"}
	events := (&Beskar7MachineTemplateReconciler{Client: r.api}).hostEvents()
	queue := &collected{}
	events.Update(t.Context(), event.UpdateEvent{ObjectOld: before, ObjectNew: after}, queue)
	slices.Sort(queue.names)
	if got := fmt.Sprint(queue.names); got != "[ns/t- ns/t-db ns/t-web]" {
		t.Error("a changed label woke", got)
	}
	queue.names = nil
	events.Delete(t.Context(), event.DeleteEvent{Object: after}, queue)
	slices.Sort(queue.names)
	if got := fmt.Sprint(queue.names); got != "[ns/t- ns/t-web]" {
		t.Error("a deletion woke", got)
	}
}

// collected is a queue that keeps what is added.
type collected struct {
	requestQueue
	names []string
}

func (c *collected) Add(r ctrl.Request) { c.names = append(c.names, r.String()) }
