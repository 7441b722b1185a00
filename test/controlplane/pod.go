package controlplane

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// tokenLife is longer than any run of the harness.
const tokenLife = 24 * 3600

// commandOf translates a container into a process.
func (v *Provider) commandOf(c *corev1.Container, pod *corev1.Pod) (processSpec, error) {
	vars := map[string]string{}
	var env []string
	if len(c.EnvFrom) > 0 {
		return processSpec{}, fmt.Errorf("container %s uses envFrom, which this kubelet does not know", c.Name)
	}
	for _, e := range c.Env {
		value := expand(e.Value, vars)
		if e.ValueFrom != nil {
			var err error
			if value, err = fieldValue(e, pod); err != nil {
				return processSpec{}, err
			}
		}
		vars[e.Name] = value
		env = append(env, e.Name+"="+value)
	}
	var args []string
	if len(c.Command) > 1 {
		args = append(args, c.Command[1:]...)
	}
	args = dropArgs(append(args, c.Args...), v.opts.DropArgs)
	for i := range args {
		args[i] = expand(args[i], vars)
	}
	args = slices.Concat(args, []string{"--kubeconfig=" + v.kubeconfig()}, sameMetrics(args, v.opts.Args(v.addr)), v.opts.ExtraArgs)
	ready, err := v.newProbing(pod, c.ReadinessProbe)
	if err != nil {
		return processSpec{}, err
	}
	readyz := "http://" + loopback(v.addr.Health) + "/readyz"
	if ready != nil {
		readyz = ready.url
	}
	return processSpec{
		name: v.Name(), path: v.opts.Binary, dir: v.dir(), log: v.Log(), args: args,
		env:    slices.Concat(v.plane.baseEnv(), env, v.opts.Env),
		readyz: readyz, detach: v.plane.opts.Detach,
	}, nil
}

// sameMetrics keeps a Pod's choice of how metrics are served: where it gives --diagnostics-address and not --metrics-bind-address, the
// first is what is brought onto loopback.
func sameMetrics(args, loopback []string) []string {
	const plain, checked = "--metrics-bind-address=", "--diagnostics-address="
	given := func(flag string) bool {
		return slices.ContainsFunc(args, func(a string) bool { return strings.HasPrefix(a, flag) })
	}
	if given(plain) || !given(checked) {
		return loopback
	}
	out := slices.Clone(loopback)
	for i := range out {
		if address, ok := strings.CutPrefix(out[i], plain); ok {
			out[i] = checked + address
		}
	}
	return out
}

// dropArgs leaves out flags by name, in the forms "--flag", "--flag=value" and "--flag value".
func dropArgs(args, names []string) []string {
	var out []string
	for i := 0; i < len(args); i++ {
		name, _, joined := strings.Cut(args[i], "=")
		if !slices.Contains(names, name) {
			out = append(out, args[i])
			continue
		}
		if !joined && i+1 < len(args) && !strings.HasPrefix(args[i+1], "-") {
			i++
		}
	}
	return out
}

// fieldValue resolves the sources a kubelet would, as far as managers use them.
func fieldValue(e corev1.EnvVar, pod *corev1.Pod) (string, error) {
	if e.ValueFrom.FieldRef == nil {
		return "", fmt.Errorf("variable %s has a source other than fieldRef, which this kubelet does not know", e.Name)
	}
	switch path := e.ValueFrom.FieldRef.FieldPath; path {
	case "metadata.name":
		return pod.Name, nil
	case "metadata.namespace":
		return pod.Namespace, nil
	case "metadata.uid":
		return string(pod.UID), nil
	case "spec.nodeName":
		return nodeName, nil
	case "spec.serviceAccountName":
		return pod.Spec.ServiceAccountName, nil
	case "status.podIP", "status.hostIP":
		return "127.0.0.1", nil
	default:
		return "", fmt.Errorf("variable %s has the field %s as its source, which this kubelet does not know", e.Name, path)
	}
}

var variable = regexp.MustCompile(`\$\$|\$\([A-Za-z_][A-Za-z0-9_.-]*\)`)

// expand replaces $(NAME) by variables known so far; unknown ones stay, and $$ is an escaped $.
func expand(s string, vars map[string]string) string {
	return variable.ReplaceAllStringFunc(s, func(m string) string {
		if m == "$$" {
			return "$"
		}
		if value, ok := vars[m[2:len(m)-1]]; ok {
			return value
		}
		return m
	})
}

func (v *Provider) kubeconfig() string { return filepath.Join(v.dir(), "kubeconfig") }

// writeCredentials gives the process a kubeconfig with a new token of its own ServiceAccount.
func (v *Provider) writeCredentials(ctx context.Context, account string) error {
	if account == "" {
		account = "default"
	}
	if err := os.MkdirAll(v.dir(), 0o700); err != nil {
		return fmt.Errorf("making the folder of %s: %w", v.Name(), err)
	}
	sa := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: v.opts.Namespace, Name: account}}
	req := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: new(int64(tokenLife))}}
	if err := v.plane.house.client.SubResource("token").Create(ctx, sa, req); err != nil {
		return fmt.Errorf("requesting a token of ServiceAccount %s/%s: %w", v.opts.Namespace, account, err)
	}
	tokenFile := filepath.Join(v.dir(), "token")
	if err := os.WriteFile(tokenFile, []byte(req.Status.Token), 0o600); err != nil {
		return fmt.Errorf("writing the token of %s: %w", v.Name(), err)
	}
	return v.plane.writeKubeconfig(v.kubeconfig(), &clientcmdapi.AuthInfo{TokenFile: tokenFile})
}

// reportPod writes what a kubelet would about the Pod, when it changed.
func (v *Provider) reportPod(ctx context.Context, pod *corev1.Pod) error {
	proc := v.process()
	ready := proc != nil && proc.PID() != 0 && probe(ctx, proc.spec.readyz)
	v.ready.Store(ready)
	status := corev1.ConditionFalse
	if ready {
		status = corev1.ConditionTrue
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady && c.Status == status && pod.Status.Phase == corev1.PodRunning {
			return nil
		}
	}
	base := pod.DeepCopy()
	pod = pod.DeepCopy()
	now := metav1.NewTime(time.Now().Truncate(time.Second))
	pod.Status.Phase, pod.Status.PodIP, pod.Status.HostIP = corev1.PodRunning, "127.0.0.1", "127.0.0.1"
	if pod.Status.StartTime == nil {
		pod.Status.StartTime = &now
	}
	pod.Status.PodIPs, pod.Status.HostIPs = []corev1.PodIP{{IP: "127.0.0.1"}}, []corev1.HostIP{{IP: "127.0.0.1"}}
	pod.Status.Conditions = []corev1.PodCondition{
		{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: now},
		{Type: corev1.PodInitialized, Status: corev1.ConditionTrue, LastTransitionTime: now},
		{Type: corev1.ContainersReady, Status: status, LastTransitionTime: now},
		{Type: corev1.PodReady, Status: status, LastTransitionTime: now},
	}
	pod.Status.ContainerStatuses = nil
	for _, c := range pod.Spec.Containers {
		pod.Status.ContainerStatuses = append(pod.Status.ContainerStatuses, corev1.ContainerStatus{
			Name: c.Name, Image: c.Image, Ready: ready, Started: &ready, RestartCount: int32(v.Restarts()),
			State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: now}},
		})
	}
	err := v.plane.house.client.Status().Patch(ctx, pod, client.MergeFrom(base))
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}
