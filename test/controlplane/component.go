package controlplane

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// apiAddress is where etcd and the API server listen.
type apiAddress struct{ etcd, etcdPeer, server int }

// startAttempts is how often a start is tried with new ports when one was taken meanwhile.
const startAttempts = 3

// startAPI starts etcd and kube-apiserver and waits until the API server is ready.
func (p *ControlPlane) startAPI(ctx context.Context) error {
	if err := p.writeAuditPolicy(); err != nil {
		return err
	}
	return p.retryPorts(func() ([]*Process, error) {
		var err error
		for _, port := range []*int{&p.api.etcd, &p.api.etcdPeer, &p.api.server} {
			if *port, err = p.port(); err != nil {
				return nil, err
			}
		}
		etcd, api := newProcess(p.etcdSpec()), newProcess(p.apiServerSpec())
		for _, proc := range []*Process{etcd, api} {
			if err := p.start(proc); err != nil {
				return []*Process{etcd, api}, err
			}
		}
		ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
		defer cancel()
		if err := etcd.Ready(ctx); err != nil {
			return []*Process{etcd, api}, err
		}
		return []*Process{etcd, api}, api.Ready(ctx)
	})
}

// startControllerManager starts kube-controller-manager: garbage collection, namespace deletion,
// Deployments and ServiceAccounts need it.
func (p *ControlPlane) startControllerManager(ctx context.Context) error {
	return p.retryPorts(func() ([]*Process, error) {
		port, err := p.port()
		if err != nil {
			return nil, err
		}
		proc := newProcess(p.controllerManagerSpec(port))
		if err := p.start(proc); err != nil {
			return []*Process{proc}, err
		}
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		return []*Process{proc}, proc.Ready(ctx)
	})
}

// retryPorts calls start again when one of its processes ended because its port was taken.
func (p *ControlPlane) retryPorts(start func() ([]*Process, error)) error {
	var err error
	for range startAttempts {
		var procs []*Process
		if procs, err = start(); err == nil {
			return nil
		}
		clash := false
		for _, proc := range procs {
			clash = clash || (proc.PID() == 0 && portClash(proc.Log()))
		}
		if !clash {
			return err
		}
		for i := len(procs) - 1; i >= 0; i-- {
			if stopErr := procs[i].Stop(stopGrace); stopErr != nil {
				return errors.Join(err, stopErr)
			}
		}
	}
	return err
}

func portClash(log string) bool {
	data, err := os.ReadFile(log)
	return err == nil && strings.Contains(string(data), "address already in use")
}

func (p *ControlPlane) spec(name, path, readyz string, args ...string) processSpec {
	return processSpec{
		name: name, path: path, args: args, dir: p.opts.Dir, log: p.log(name), readyz: readyz,
		env: p.baseEnv(), detach: p.opts.Detach,
	}
}

// baseEnv keeps the harness's own environment (proxies, kubeconfigs, Go settings) from its children.
func (p *ControlPlane) baseEnv() []string {
	env := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + p.opts.Dir, "TMPDIR=" + os.TempDir()}
	if dir := os.Getenv("GOCOVERDIR"); dir != "" {
		env = append(env, "GOCOVERDIR="+dir)
	}
	return env
}

func (p *ControlPlane) etcdSpec() processSpec {
	client, peer := "http://"+loopback(p.api.etcd), "http://"+loopback(p.api.etcdPeer)
	return p.spec("etcd", p.bin.Etcd, client+"/health",
		"--data-dir="+p.path("etcd-"+strconv.Itoa(p.api.etcd)),
		"--listen-client-urls="+client, "--advertise-client-urls="+client,
		"--listen-peer-urls="+peer, "--initial-advertise-peer-urls="+peer, "--initial-cluster=default="+peer,
		"--unsafe-no-fsync", "--log-level=warn")
}

func (p *ControlPlane) apiServerSpec() processSpec {
	return p.spec("kube-apiserver", p.bin.APIServer, "https://"+loopback(p.api.server)+"/readyz",
		"--etcd-servers=http://"+loopback(p.api.etcd),
		"--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--secure-port="+strconv.Itoa(p.api.server),
		"--tls-cert-file="+p.pki.file("apiserver.crt"), "--tls-private-key-file="+p.pki.file("apiserver.key"),
		"--client-ca-file="+p.pki.file("ca.crt"),
		"--kubelet-certificate-authority="+p.pki.file("ca.crt"),
		"--kubelet-client-certificate="+p.pki.file("apiserver-kubelet.crt"), "--kubelet-client-key="+p.pki.file("apiserver-kubelet.key"),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file="+p.pki.file("sa.pub"), "--service-account-signing-key-file="+p.pki.file("sa.key"),
		"--service-cluster-ip-range=10.96.0.0/16", "--endpoint-reconciler-type=none",
		"--authorization-mode=RBAC", "--allow-privileged=true",
		// It would add token volumes to Pods that nobody mounts, and hold Pods back until a
		// ServiceAccount exists that the provider's YAML brings anyway.
		"--disable-admission-plugins=ServiceAccount",
		"--audit-policy-file="+p.path("audit-policy.yaml"), "--audit-log-path="+p.AuditLog(),
		"--audit-log-maxsize=4096", "--shutdown-delay-duration=0s")
}

func (p *ControlPlane) controllerManagerSpec(port int) processSpec {
	return p.spec("kube-controller-manager", p.bin.ControllerManager, "https://"+loopback(port)+"/healthz",
		"--kubeconfig="+p.pki.file("controllers"), "--bind-address=127.0.0.1", "--secure-port="+strconv.Itoa(port),
		"--authentication-skip-lookup=true", "--authorization-always-allow-paths=/healthz",
		"--service-account-private-key-file="+p.pki.file("sa.key"), "--root-ca-file="+p.pki.file("ca.crt"),
		"--use-service-account-credentials=false", "--leader-elect=false",
		// It would take a Node for dead whose lease nobody renews, and evict its Pods.
		"--controllers=*,-node-lifecycle-controller",
		// The defaults (20, 30) make the deletion of a namespace with many kinds take a minute.
		"--kube-api-qps=200", "--kube-api-burst=400")
}

func (p *ControlPlane) writeAuditPolicy() error {
	bodies := ""
	if p.opts.AuditRequests {
		bodies = `- level: RequestResponse
  resources: [{group: infrastructure.cluster.x-k8s.io}]
`
	}
	policy := "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules:\n" + bodies + "- level: Metadata\n"
	return os.WriteFile(p.path("audit-policy.yaml"), []byte(policy), 0o600)
}

// writeKubeconfigs makes the clients of the administrator and of the stand-ins.
func (p *ControlPlane) writeKubeconfigs(context.Context) error {
	p.config, p.harness = p.restConfig(p.pki.admin), p.restConfig(p.pki.harness)
	for path, user := range map[string]keyPair{p.Kubeconfig(): p.pki.admin, p.pki.file("controllers"): p.pki.controllers} {
		err := p.writeKubeconfig(path, &clientcmdapi.AuthInfo{ClientCertificateData: user.certPEM, ClientKeyData: user.keyPEM})
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *ControlPlane) restConfig(user keyPair) *rest.Config {
	return &rest.Config{
		Host: "https://" + loopback(p.api.server), QPS: 200, Burst: 400,
		TLSClientConfig: rest.TLSClientConfig{CAData: p.pki.ca.certPEM, CertData: user.certPEM, KeyData: user.keyPEM},
	}
}

func (p *ControlPlane) writeKubeconfig(path string, user *clientcmdapi.AuthInfo) error {
	c := clientcmdapi.NewConfig()
	c.Clusters["management"] = &clientcmdapi.Cluster{Server: "https://" + loopback(p.api.server), CertificateAuthorityData: p.pki.ca.certPEM}
	c.AuthInfos["user"] = user
	c.Contexts["management"] = &clientcmdapi.Context{Cluster: "management", AuthInfo: "user"}
	c.CurrentContext = "management"
	if err := clientcmd.WriteToFile(*c, path); err != nil {
		return fmt.Errorf("writing a kubeconfig: %w", err)
	}
	return nil
}
