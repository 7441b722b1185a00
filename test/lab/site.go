package lab

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/test/emulator"
)

// caSecret holds the CA of the fleet's certificates in each namespace.
const caSecret = "bmc-ca"

// AddHosts starts n servers named prefix-0… and registers them in a namespace: Secret and PhysicalHost each.
func (l *Lab) AddHosts(ctx context.Context, namespace, prefix string, n int, change ...func(int, *v1beta1.PhysicalHost)) error {
	return l.AddHostsOf(ctx, namespace, prefix, make([]string, n), change...)
}

// AddHostsOf is AddHosts with a server of each persona; "" is the generic one.
func (l *Lab) AddHostsOf(ctx context.Context, namespace, prefix string, personas []string, change ...func(int,
	*v1beta1.PhysicalHost)) error {
	if err := l.ensureNamespace(ctx, namespace); err != nil {
		return err
	}
	ca := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: caSecret}, Data: map[string][]byte{"ca.crt": l.Fleet.CAPEM()}}
	if err := l.Client.Create(ctx, ca); client.IgnoreAlreadyExists(err) != nil {
		return err
	}
	for i, persona := range personas {
		bmc, err := l.Fleet.Add(emulator.Spec{Name: fmt.Sprintf("%s-%d", prefix, i), Persona: persona, Username: "admin",
			Password: "b7-" + strconv.Itoa(i) + "-secret"})
		if err != nil {
			return fmt.Errorf("start server %d: %w", i, err)
		}
		if err := l.Register(ctx, namespace, bmc, func(h *v1beta1.PhysicalHost) {
			h.Spec.FailureDomain = fmt.Sprintf("rack-%d", i%3+1)
			for _, c := range change {
				c(i, h)
			}
		}); err != nil {
			return err
		}
	}
	return nil
}

// Register writes the Secret and the PhysicalHost of a server, as its owner would.
func (l *Lab) Register(ctx context.Context, namespace string, bmc *emulator.BMC, change func(*v1beta1.PhysicalHost)) error {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: bmc.Name() + "-bmc"},
		Data: map[string][]byte{"username": []byte(bmc.Username()), "password": []byte(bmc.Password())}}
	if err := l.Client.Create(ctx, secret); err != nil {
		return err
	}
	host := &v1beta1.PhysicalHost{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: bmc.Name(), Labels: map[string]string{"site": "lab"}},
		Spec: v1beta1.PhysicalHostSpec{RedfishConnection: v1beta1.RedfishConnection{Address: bmc.URL(),
			CredentialsSecretRef: v1beta1.SecretReference{Name: secret.Name}, CABundleSecretRef: &v1beta1.SecretReference{Name: caSecret}}}}
	if change != nil {
		change(host)
	}
	return l.Client.Create(ctx, host)
}

func (l *Lab) ensureNamespace(ctx context.Context, name string) error {
	err := l.Client.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

// ClusterSpec is what a user gives to `clusterctl generate cluster`.
type ClusterSpec struct {
	Namespace, Name        string
	ControlPlanes, Workers int
	Flavor                 string
	Version                string
	Variables              map[string]string
}

// Generate runs `clusterctl generate cluster` and returns the YAML.
func (l *Lab) Generate(ctx context.Context, s ClusterSpec) ([]byte, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	if s.Version == "" {
		s.Version = KubernetesVersion
	}
	variables := map[string]string{"CONTROL_PLANE_ENDPOINT_HOST": "127.0.0.1", "CONTROL_PLANE_ENDPOINT_PORT": strconv.Itoa(port), "BESKAR7_IMAGE_URL": l.Image}
	for k, v := range s.Variables {
		variables[k] = v
	}
	args := []string{"generate", "cluster", s.Name, "--target-namespace", s.Namespace, "--infrastructure", "beskar7:" + Version,
		"--kubernetes-version", s.Version, "--control-plane-machine-count", strconv.Itoa(s.ControlPlanes), "--worker-machine-count", strconv.Itoa(s.Workers)}
	if s.Flavor != "" {
		args = append(args, "--flavor", s.Flavor)
	}
	return l.clusterctl(ctx, variables, args...)
}

// clusterctl runs it as a user with these variables in the environment would.
func (l *Lab) clusterctl(ctx context.Context, variables map[string]string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, l.Plane.Bin().Clusterctl, append([]string{"--config", l.Plane.ClusterctlConfig(), "--kubeconfig", l.Plane.Kubeconfig()}, args...)...)
	cmd.Env = append(os.Environ(), "CLUSTERCTL_DISABLE_VERSIONCHECK=true", "GOPROXY=off")
	for k, v := range variables {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("clusterctl %s: %w: %s", args[0], err, stderr.Bytes())
	}
	return out, nil
}

// Apply generates a cluster and applies it.
func (l *Lab) Apply(ctx context.Context, s ClusterSpec) error {
	if err := l.ensureNamespace(ctx, s.Namespace); err != nil {
		return err
	}
	manifest, err := l.Generate(ctx, s)
	if err != nil {
		return err
	}
	_, err = l.Plane.Kubectl(ctx, manifest, "apply", "--server-side", "-f", "-")
	return err
}

func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().(*net.TCPAddr).Port, nil
}

// Hosts are the PhysicalHosts of a namespace, by name.
func (l *Lab) Hosts(ctx context.Context, namespace string) ([]v1beta1.PhysicalHost, error) {
	list := &v1beta1.PhysicalHostList{}
	err := l.Client.List(ctx, list, client.InNamespace(namespace))
	return list.Items, err
}

// AllAvailable says whether every host of the namespace can be claimed, and names one that cannot.
func (l *Lab) AllAvailable(ctx context.Context, namespace string) (bool, string, error) {
	hosts, err := l.Hosts(ctx, namespace)
	if err != nil {
		return false, "", err
	}
	for i := range hosts {
		if h := &hosts[i]; !conditions.IsTrue(h, v1beta1.AvailableCondition) {
			return false, fmt.Sprintf("%s is %s: %s", h.Name, h.Status.State, conditions.GetMessage(h, v1beta1.AvailableCondition)), nil
		}
	}
	return len(hosts) > 0, "", nil
}

// Until polls a condition until it holds; the error names what was last in the way.
func Until(ctx context.Context, what string, limit time.Duration, done func(context.Context) (bool, string, error)) error {
	last := ""
	err := wait.PollUntilContextTimeout(ctx, 250*time.Millisecond, limit, true, func(ctx context.Context) (bool, error) {
		ok, why, err := done(ctx)
		if err != nil {
			last = err.Error() // a server that is being restarted, say: asked again until the limit
			return false, nil  //nolint:nilerr // kept in last
		}
		if why != "" {
			last = why
		}
		return ok, nil
	})
	if err != nil {
		return fmt.Errorf("waiting for %s: %w (last: %s)", what, err, last)
	}
	return nil
}

// Object reads an object by name.
func Object[T client.Object](ctx context.Context, l *Lab, namespace, name string, into T) (T, error) {
	return into, l.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, into)
}

// ClusterRuns says whether Cluster API reports the cluster available with exactly these machines running, and the workload
// cluster has exactly their nodes.
func (l *Lab) ClusterRuns(ctx context.Context, namespace, name string, controlPlanes, workers int) (bool, string, error) {
	machines := &clusterv1.MachineList{}
	if err := l.Client.List(ctx, machines, client.InNamespace(namespace), client.MatchingLabels{clusterv1.ClusterNameLabel: name}); err != nil {
		return false, "", err
	}
	if n := len(machines.Items); n != controlPlanes+workers {
		return false, fmt.Sprintf("there are %d machines", n), nil
	}
	nodes := map[string]bool{}
	for _, n := range l.World.Nodes() {
		nodes[n.ProviderID] = n.Ready && n.On
	}
	cps := 0
	for i := range machines.Items {
		m := &machines.Items[i]
		if _, ok := m.Labels[clusterv1.MachineControlPlaneLabel]; ok {
			cps++
		}
		if m.Status.Phase != string(clusterv1.MachinePhaseRunning) || !conditions.IsTrue(m, clusterv1.ReadyCondition) {
			return false, fmt.Sprintf("machine %s is %s: %s", m.Name, m.Status.Phase, conditions.GetMessage(m, clusterv1.ReadyCondition)), nil
		}
		if !nodes[m.Spec.ProviderID] {
			return false, fmt.Sprintf("no ready node with %s", m.Spec.ProviderID), nil
		}
	}
	cluster, err := Object(ctx, l, namespace, name, &clusterv1.Cluster{})
	if err != nil {
		return false, "", err
	}
	if !conditions.IsTrue(cluster, clusterv1.AvailableCondition) {
		return false, "cluster: " + conditions.GetMessage(cluster, clusterv1.AvailableCondition), nil
	}
	return cps == controlPlanes, fmt.Sprintf("%d control plane machines", cps), nil
}
