package integration

import (
	"net"
	"strconv"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"
)

// TestNetworkPolicy: what components/network-policy lets in, judged by the rules of the NetworkPolicy API for every port that the
// manager of each environment listens on. The way out is not limited. Kubelets' probes always pass, as that API says.
func TestNetworkPolicy(t *testing.T) {
	for _, environment := range []string{"default", "overlays/development", "overlays/staging", "overlays/production", "overlays/large-scale"} {
		t.Run(environment, func(t *testing.T) {
			documents := append(built(t, environment), ofKind(built(t, with(t, "network-policy")), "NetworkPolicy")...)
			pod := only[appsv1.Deployment](t, ofKind(documents, "Deployment")).Spec.Template
			policy := only[networkingv1.NetworkPolicy](t, ofKind(documents, "NetworkPolicy"))
			selector, err := metav1.LabelSelectorAsSelector(&policy.Spec.PodSelector)
			if err != nil || !selector.Matches(labels.Set(pod.Labels)) || policy.Namespace != ours {
				t.Fatalf("the policy is not about our Pods: %v, %v", selector, err)
			}
			if len(policy.Spec.PolicyTypes) != 1 || policy.Spec.PolicyTypes[0] != networkingv1.PolicyTypeIngress {
				t.Errorf("policy types %v", policy.Spec.PolicyTypes)
			}
			container := pod.Spec.Containers[0]
			declared := map[int32]string{}
			for _, p := range container.Ports {
				declared[p.ContainerPort] = p.Name
				judgePort(t, policy, p)
			}
			for _, port := range listening(t, container.Args) {
				if declared[port] == "" {
					t.Errorf("the manager listens on %d, which has no name that a policy could use", port)
				}
			}
			for _, document := range ofKind(documents, "Service") {
				service := only[corev1.Service](t, [][]byte{document})
				for _, p := range service.Spec.Ports {
					name := p.TargetPort.StrVal
					if p.TargetPort.Type == intstr.Int {
						name = declared[p.TargetPort.IntVal]
					}
					if !letsIn(t, policy, corev1.ContainerPort{Name: name}, nil) {
						t.Errorf("Service %s leads to %v, which is closed", service.Name, p.TargetPort)
					}
				}
			}
		})
	}
}

// judgePort says whether a port is as open as it must be: to anybody, to scrapers, or to nobody.
func judgePort(t *testing.T, policy *networkingv1.NetworkPolicy, p corev1.ContainerPort) {
	t.Helper()
	open, scraped := letsIn(t, policy, p, nil), letsIn(t, policy, p, labels.Set{"metrics": "enabled"})
	want, found := map[string][2]bool{"media": {true, true}, "webhook-server": {true, true}, "metrics": {false, true}, "diagnostics": {false, true},
		"health": {}, "pprof": {}}[p.Name]
	if !found {
		t.Errorf("nothing is said about port %s", p.Name)
	}
	if got := [2]bool{open, scraped}; got != want {
		t.Errorf("%s is open to anybody, to scrapers: %v, want %v", p.Name, got, want)
	}
}

func only[T any](t *testing.T, documents [][]byte) *T {
	t.Helper()
	o := new(T)
	if len(documents) != 1 {
		t.Fatalf("%d documents of %T", len(documents), o)
	}
	if err := yaml.UnmarshalStrict(documents[0], o); err != nil {
		t.Fatal(err)
	}
	return o
}

// letsIn applies the policy to a connection from a Pod in a namespace with labels; nil is from outside of the cluster.
func letsIn(t *testing.T, policy *networkingv1.NetworkPolicy, to corev1.ContainerPort, from labels.Set) bool {
	t.Helper()
	for _, rule := range policy.Spec.Ingress {
		source := len(rule.From) == 0
		for _, peer := range rule.From {
			if peer.NamespaceSelector == nil || peer.PodSelector != nil || peer.IPBlock != nil {
				t.Fatalf("this test does not know such a peer: %+v", peer)
			}
			selector, err := metav1.LabelSelectorAsSelector(peer.NamespaceSelector)
			if err != nil {
				t.Fatal(err)
			}
			source = source || from != nil && selector.Matches(from)
		}
		port := len(rule.Ports) == 0
		for _, p := range rule.Ports {
			port = port || p.Port == nil || *p.Port == intstr.FromString(to.Name) || *p.Port == intstr.FromInt32(to.ContainerPort)
		}
		if source && port {
			return true
		}
	}
	return false
}

// listening are the ports of all flags that name one. 0 and an empty address are none.
func listening(t *testing.T, args []string) []int32 {
	t.Helper()
	var ports []int32
	for _, arg := range args {
		flag, value, _ := strings.Cut(arg, "=")
		switch {
		case strings.HasSuffix(flag, "-port"):
		case strings.HasSuffix(flag, "-address") && value != "" && value != "0":
			_, port, err := net.SplitHostPort(value)
			if err != nil {
				t.Fatal(err)
			}
			value = port
		default:
			continue
		}
		port, err := strconv.ParseInt(value, 10, 32)
		if err != nil {
			t.Fatalf("%s: %v", arg, err)
		}
		ports = append(ports, int32(port))
	}
	if len(ports) < 4 {
		t.Fatalf("only %v are found in %v", ports, args)
	}
	return ports
}
