package controlplane

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/yaml"
)

// ReleaseSource is a provider in clusterctl's configuration.
type ReleaseSource struct {
	Name string `json:"name"` // as in "clusterctl init --infrastructure <name>"
	Type string `json:"type"` // "InfrastructureProvider", ...
	// URL is the absolute path of the components file: <base>/<label>/<version>/<file>.yaml. Other
	// versions beside it are found.
	URL string `json:"url"`
}

// Providers of Cluster API that Init starts, by the namespace and Deployment their YAML makes.
func (p *ControlPlane) capiProviders() []ProviderOptions {
	list := []ProviderOptions{
		{Namespace: "capi-system", Deployment: "capi-controller-manager", Binary: p.bin.Core},
		{Namespace: "capi-kubeadm-bootstrap-system", Deployment: "capi-kubeadm-bootstrap-controller-manager", Binary: p.bin.Bootstrap},
		{Namespace: "capi-kubeadm-control-plane-system", Deployment: "capi-kubeadm-control-plane-controller-manager", Binary: p.bin.ControlPlane},
	}
	for i := range list {
		list[i].Args = CAPIArgs
		// Outside a Pod these managers cannot learn the namespace of their Lease, and end.
		list[i].DropArgs = []string{"--leader-elect"}
	}
	return list
}

// ClusterctlConfig is the path of clusterctl's configuration: Cluster API's own release files and the
// sources added.
func (p *ControlPlane) ClusterctlConfig() string { return p.path("clusterctl.yaml") }

// AddSource adds a provider to clusterctl's configuration.
func (p *ControlPlane) AddSource(s ReleaseSource) error {
	if !filepath.IsAbs(s.URL) {
		return fmt.Errorf("adding provider %s: %q is not an absolute path", s.Name, s.URL)
	}
	p.mu.Lock()
	p.sources = append(slices.DeleteFunc(p.sources, func(o ReleaseSource) bool { return o.Name == s.Name && o.Type == s.Type }), s)
	p.mu.Unlock()
	return p.writeClusterctlConfig(context.Background())
}

func (p *ControlPlane) writeClusterctlConfig(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	repository := func(i int) string {
		return filepath.Join(p.bin.Repository, releases[i].label, CAPIVersion, releases[i].file)
	}
	config := map[string]any{
		"CLUSTER_TOPOLOGY": "true",
		"overridesFolder":  p.path("overrides"),
		"providers": append([]ReleaseSource{
			{"cluster-api", "CoreProvider", repository(0)},
			{"kubeadm", "BootstrapProvider", repository(1)},
			{"kubeadm", "ControlPlaneProvider", repository(2)},
		}, p.sources...),
	}
	for k, v := range p.opts.Variables {
		config[k] = v
	}
	data, err := yaml.Marshal(config)
	if err != nil {
		return fmt.Errorf("writing clusterctl's configuration: %w", err)
	}
	if err := os.WriteFile(p.ClusterctlConfig(), data, 0o600); err != nil {
		return fmt.Errorf("writing clusterctl's configuration: %w", err)
	}
	return nil
}

// Clusterctl runs clusterctl against this control plane, offline, and returns its standard output. Its
// log output goes to a file and, when it fails, into the error.
func (p *ControlPlane) Clusterctl(ctx context.Context, args ...string) (string, error) {
	return p.run(ctx, p.bin.Clusterctl, nil, append([]string{"--config=" + p.ClusterctlConfig()}, args...)...)
}

// Kubectl runs kubectl as administrator with input as its standard input and returns its standard output.
func (p *ControlPlane) Kubectl(ctx context.Context, input []byte, args ...string) (string, error) {
	return p.run(ctx, p.bin.Kubectl, input, args...)
}

func (p *ControlPlane) run(ctx context.Context, binary string, input []byte, args ...string) (string, error) {
	name := filepath.Base(binary)
	log, err := os.OpenFile(p.log(name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return "", fmt.Errorf("opening the log of %s: %w", name, err)
	}
	defer log.Close()
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Dir, cmd.Stdin = p.opts.Dir, bytes.NewReader(input)
	cmd.Env = append(p.baseEnv(), "KUBECONFIG="+p.Kubeconfig(), "XDG_CONFIG_HOME="+p.path("xdg"),
		"CLUSTERCTL_DISABLE_VERSIONCHECK=true", "GOPROXY=off")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	start := time.Now()
	err = cmd.Run()
	// Standard output may hold a kubeconfig or a Secret: it is the caller's, not the log's.
	fmt.Fprintf(log, "== %s %s (%s)\n%s", name, strings.Join(args, " "), time.Since(start).Round(time.Millisecond), stderr.Bytes())
	if err != nil {
		return stdout.String(), fmt.Errorf("running %s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

// Init runs "clusterctl init" with args, among them the infrastructure provider, and then starts the
// three managers of Cluster API and waits until they are ready and every webhook is routed. The
// infrastructure provider itself is the caller's to run, with RunProvider. ClusterTopology is enabled. A later Init may add providers.
func (p *ControlPlane) Init(ctx context.Context, args ...string) error {
	fmt.Fprintf(p.opts.Progress, "clusterctl init %s\n", strings.Join(args, " "))
	if _, err := p.Clusterctl(ctx, append([]string{"init"}, args...)...); err != nil {
		return err
	}
	var errs []error
	var started []*Provider
	for _, o := range p.capiProviders() {
		if p.followed(o) {
			continue
		}
		v, err := p.RunProvider(o)
		if err != nil {
			return err
		}
		started = append(started, v)
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	for _, v := range started {
		errs = append(errs, v.Ready(ctx))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return p.Routed(ctx)
}
