package controlplane

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func shell(t *testing.T, script string, detach bool) *Process {
	t.Helper()
	dir := t.TempDir()
	return newProcess(processSpec{
		name: "sh", path: "/bin/sh", args: []string{"-c", script}, dir: dir, log: filepath.Join(dir, "log"),
		env: []string{"PATH=" + os.Getenv("PATH")}, detach: detach,
	})
}

func TestProcess(t *testing.T) {
	g := NewWithT(t)
	p := shell(t, "trap '' TERM; echo up; while :; do read -r x < /dev/zero; done", false)
	g.Expect(p.Kill9()).To(MatchError(ErrNotRunning))
	g.Expect(p.Stop(time.Second)).To(Succeed())
	g.Expect(p.Start()).To(Succeed())
	g.Expect(p.Start()).NotTo(Succeed())
	read := func() string { data, _ := os.ReadFile(p.Log()); return string(data) }
	g.Eventually(read, 5*time.Second).Should(Equal("up\n"))
	pid := p.PID()
	g.Expect(p.Stop(50 * time.Millisecond)).To(Succeed())
	g.Expect(p.PID()).To(BeZero())
	_, err := startTime(pid)
	g.Expect(err).To(HaveOccurred())
	g.Expect(p.Restart()).To(Succeed())
	g.Eventually(read, 5*time.Second).Should(Equal("up\nup\n"))
	g.Expect(p.Kill9()).To(Succeed())
	var exit *exec.ExitError
	g.Expect(errors.As(p.Wait(t.Context()), &exit)).To(BeTrue())
	p = shell(t, "exit 3", false)
	g.Expect(p.Start()).To(Succeed())
	g.Expect(p.Ready(t.Context())).To(MatchError(errEnded))
}

func TestStopOfDetachedProcesses(t *testing.T) {
	g := NewWithT(t)
	dir := t.TempDir()
	mine, other := shell(t, "exec sleep 600", true), shell(t, "exec sleep 600", true)
	g.Expect(mine.Start()).To(Succeed())
	g.Expect(other.Start()).To(Succeed())
	t.Cleanup(func() { _ = other.Kill9() })
	g.Expect(writeState(dir, []*Process{mine})).To(Succeed())
	// The same id with another start time is another process.
	g.Expect(processState{Name: "other", PID: other.PID(), Started: "1"}.stop()).To(Succeed())
	g.Expect(Stop(dir)).To(Succeed())
	g.Eventually(mine.PID).WithTimeout(time.Minute).Should(BeZero(), "whoever started it learns of its end a moment later")
	g.Expect(other.PID()).NotTo(BeZero())
	g.Expect(Stop(dir)).To(Succeed())
}

func TestCommandOfContainer(t *testing.T) {
	g := NewWithT(t)
	field := func(name, path string) corev1.EnvVar {
		return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}}
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "pod-1", Namespace: "ns", UID: "uid"}}
	c := &corev1.Container{
		Command: []string{"/manager", "--first"},
		Args:    []string{"--leader-elect", "--name=$(WHO)", "--keep=$$(WHO)", "--unknown=$(NOBODY)", "--drop", "value", "--last"},
		Env:     []corev1.EnvVar{field("POD", "metadata.name"), {Name: "WHO", Value: "$(POD).$(LATER)"}, {Name: "LATER", Value: "x"}, field("IP", "status.podIP")},
	}
	v := &Provider{
		plane: &ControlPlane{opts: Options{Dir: "/dir"}},
		opts: ProviderOptions{Namespace: "ns", Deployment: "ns-controller", Args: CAPIArgs,
			DropArgs: []string{"--leader-elect", "--drop"}, ExtraArgs: []string{"--v=4"}, Env: []string{"POD=mine"}},
		addr: Addresses{Webhook: 1, Metrics: 2, Health: 3, CertDir: "/certs"},
	}
	spec, err := v.commandOf(c, pod)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(spec.args).To(Equal([]string{
		"--first", "--name=pod-1.$(LATER)", "--keep=$(WHO)", "--unknown=$(NOBODY)", "--last",
		"--kubeconfig=/dir/providers/ns-controller/kubeconfig", "--webhook-port=1", "--webhook-cert-dir=/certs",
		"--diagnostics-address=127.0.0.1:2", "--insecure-diagnostics", "--health-addr=127.0.0.1:3", "--v=4",
	}))
	g.Expect(spec.env).To(ContainElements("POD=pod-1", "IP=127.0.0.1"))
	g.Expect(slices.Index(spec.env, "POD=mine")).To(BeNumerically(">", slices.Index(spec.env, "POD=pod-1")))

	v.opts.Args = Beskar7Args
	for want, args := range map[string][]string{
		"--metrics-bind-address=127.0.0.1:2": {"--metrics-bind-address=:8080"}, "--diagnostics-address=127.0.0.1:2": {"--diagnostics-address=:8443"},
	} {
		c.Args = args
		spec, err = v.commandOf(c, pod)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(spec.args).To(ContainElement(want))
		g.Expect(slices.DeleteFunc(spec.args, func(a string) bool { return !strings.HasSuffix(a, "127.0.0.1:2") })).To(HaveLen(1))
	}

	c.Env = []corev1.EnvVar{{Name: "S", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{Key: "k"}}}}
	_, err = v.commandOf(c, pod)
	g.Expect(err).To(MatchError(ContainSubstring("does not know")))
}

func TestFreePortsDiffer(t *testing.T) {
	g := NewWithT(t)
	seen := map[int]bool{}
	for range 50 {
		port, err := freePort()
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(seen).NotTo(HaveKey(port))
		seen[port] = true
		defer releasePorts(port)
	}
}
