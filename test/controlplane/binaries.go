package controlplane

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// The releases the harness runs. The modules under binaries/ require the same ones.
const (
	KubernetesVersion = "v1.36.3"
	CAPIVersion       = "v1.14.2"
	EtcdVersion       = "v3.6.15"
)

// Bin is the set of programs and shipped files a ControlPlane needs; all paths are absolute.
type Bin struct {
	Etcd, APIServer, ControllerManager, Kubectl string
	Core, Bootstrap, ControlPlane, Clusterctl   string
	// Repository holds Cluster API's own release files in clusterctl's layout:
	// <label>/<version>/<components>.yaml and metadata.yaml.
	Repository string
}

// BinariesOptions says where programs come from and go to; its zero value is what most callers want.
type BinariesOptions struct {
	// Cache is the folder for built programs; default $BESKAR7_CACHE, then <repository>/.cache/bin.
	Cache string
	// Source is the folder with the modules kubernetes, etcd and capi; default: found from the
	// working folder upwards.
	Source string
	// Progress receives a line for each program built, nothing when all are there; default os.Stderr.
	Progress io.Writer
}

// program is one thing to build: package pkg of module (a folder of Source) into a file name.
type program struct {
	module, name, pkg, ldflags string
	// asset is the file in $KUBEBUILDER_ASSETS that may be used instead, or empty.
	asset string
}

// programs lists what is built, in an order that compiles shared packages early.
func programs() []program {
	// Without a linked version kube-apiserver calls itself v0.0.0-master, which kubectl and Cluster
	// API's start-up check refuse.
	k8s := "-s -w" + versionFlags("k8s.io/component-base/version", KubernetesVersion)
	capi := "-s -w" + versionFlags("sigs.k8s.io/cluster-api/version", CAPIVersion)
	return []program{
		{"etcd", "etcd", "go.etcd.io/etcd/server/v3", "-s -w", "etcd"},
		{"kubernetes", "kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver", k8s, "kube-apiserver"},
		{"kubernetes", "kubectl", "k8s.io/kubernetes/cmd/kubectl", k8s, "kubectl"},
		{"kubernetes", "kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager", k8s, ""},
		{"capi", "core", "sigs.k8s.io/cluster-api/core", capi, ""},
		{"capi", "bootstrap-kubeadm", "sigs.k8s.io/cluster-api/bootstrap/kubeadm", capi, ""},
		{"capi", "control-plane-kubeadm", "sigs.k8s.io/cluster-api/controlplane/kubeadm", capi, ""},
		{"capi", "clusterctl", "sigs.k8s.io/cluster-api/cmd/clusterctl", capi, ""},
	}
}

func versionFlags(pkg, version string) string {
	n := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
	return fmt.Sprintf(" -X %[1]s.gitVersion=%[2]s -X %[1]s.gitMajor=%[3]s -X %[1]s.gitMinor=%[4]s", pkg, version, n[0], n[1])
}

// Binaries returns the programs, building those that are not in the cache yet: about ten minutes the
// first time, nothing later. Programs are keyed by module files, versions and Go version. It is safe
// to call from several processes at once; the second waits for the first. When KUBEBUILDER_ASSETS is
// set, etcd, kube-apiserver and kubectl found there are used as they are. An error of a build names
// the log file.
func Binaries(ctx context.Context, o BinariesOptions) (*Bin, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	b := &builder{BinariesOptions: o, keys: map[string]string{}}
	for _, m := range []string{"etcd", "kubernetes", "capi"} {
		if b.keys[m], err = moduleKey(filepath.Join(o.Source, m)); err != nil {
			return nil, err
		}
	}
	paths, err := b.ensure(ctx)
	if err != nil {
		return nil, err
	}
	return &Bin{
		Etcd: paths["etcd"], APIServer: paths["kube-apiserver"], Kubectl: paths["kubectl"],
		ControllerManager: paths["kube-controller-manager"],
		Core:              paths["core"], Bootstrap: paths["bootstrap-kubeadm"],
		ControlPlane: paths["control-plane-kubeadm"], Clusterctl: paths["clusterctl"],
		Repository: paths[repositoryName],
	}, nil
}

func (o BinariesOptions) withDefaults() (BinariesOptions, error) {
	if o.Progress == nil {
		o.Progress = os.Stderr
	}
	if o.Source == "" {
		dir, err := findSource()
		if err != nil {
			return o, err
		}
		o.Source = dir
	}
	if o.Cache == "" {
		o.Cache = os.Getenv("BESKAR7_CACHE")
	}
	if o.Cache == "" {
		// binaries → controlplane → test → repository
		o.Cache = filepath.Join(o.Source, "..", "..", "..", ".cache", "bin")
	}
	var err error
	if o.Cache, err = filepath.Abs(o.Cache); err != nil {
		return o, fmt.Errorf("resolving the cache folder: %w", err)
	}
	return o, nil
}

// findSource looks for test/controlplane/binaries from the working folder upwards, and then beside
// this file, whose name the compiler records unless it was told to trim paths.
func findSource() (string, error) {
	wd, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("finding the harness's modules: %w", err)
	}
	for dir := wd; ; dir = filepath.Dir(dir) {
		for _, sub := range []string{"test/controlplane/binaries", "controlplane/binaries", "binaries"} {
			if isSource(filepath.Join(dir, sub)) {
				return filepath.Join(dir, sub), nil
			}
		}
		if dir == filepath.Dir(dir) {
			break
		}
	}
	if _, file, _, ok := runtime.Caller(0); ok {
		if dir := filepath.Join(filepath.Dir(file), "binaries"); isSource(dir) {
			return dir, nil
		}
	}
	return "", fmt.Errorf("finding the harness's modules: no test/controlplane/binaries at or above %s", wd)
}

func isSource(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "kubernetes", "go.mod"))
	return err == nil
}

// moduleKey changes whenever a program built from the module in dir could change.
func moduleKey(dir string) (string, error) {
	h := sha256.New()
	for _, name := range []string{"go.mod", "go.sum"} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return "", fmt.Errorf("reading a module of the harness: %w", err)
		}
		fmt.Fprintf(h, "%s %d\n%s", name, len(data), data)
	}
	for _, p := range programs() {
		if p.module == filepath.Base(dir) {
			fmt.Fprintln(h, p.name, p.pkg, p.ldflags)
		}
	}
	fmt.Fprintln(h, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return hex.EncodeToString(h.Sum(nil))[:12], nil
}
