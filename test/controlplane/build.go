package controlplane

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// repositoryName is the cache entry of Cluster API's release files.
const repositoryName = "repository"

// builder fills the cache; keys maps a module to the hash in its cache folder's name.
type builder struct {
	BinariesOptions
	keys map[string]string
}

func (b *builder) path(module, name string) string {
	return filepath.Join(b.Cache, module+"-"+b.keys[module], name)
}

// ensure returns the path of every program and of the repository, after building what is missing.
func (b *builder) ensure(ctx context.Context) (map[string]string, error) {
	paths, missing := b.look()
	if len(missing) == 0 && exists(paths[repositoryName]) {
		return paths, nil
	}
	unlock, err := b.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	// Somebody else may have built them while this process waited.
	paths, missing = b.look()
	if len(missing) > 0 {
		if err := b.buildAll(ctx, missing); err != nil {
			return nil, err
		}
	}
	if !exists(paths[repositoryName]) {
		if err := b.buildRepository(ctx, paths["kubectl"], paths[repositoryName]); err != nil {
			return nil, err
		}
	}
	return paths, nil
}

func (b *builder) look() (paths map[string]string, missing []program) {
	paths = map[string]string{repositoryName: b.path("capi", repositoryName)}
	assets := os.Getenv("KUBEBUILDER_ASSETS")
	for _, p := range programs() {
		if assets != "" && p.asset != "" {
			if f := filepath.Join(assets, p.asset); exists(f) {
				paths[p.name] = f
				continue
			}
		}
		paths[p.name] = b.path(p.module, p.name)
		if !exists(paths[p.name]) {
			missing = append(missing, p)
		}
	}
	return paths, missing
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// lock takes the cache's lock, which the system drops when its holder dies.
func (b *builder) lock(ctx context.Context) (func(), error) {
	if err := os.MkdirAll(b.Cache, 0o755); err != nil {
		return nil, fmt.Errorf("making the cache folder: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(b.Cache, ".lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("opening the cache's lock: %w", err)
	}
	said := false
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			f.Close()
			return nil, fmt.Errorf("locking the cache: %w", err)
		}
		if !said {
			fmt.Fprintf(b.Progress, "waiting for another process that builds into %s\n", b.Cache)
			said = true
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("waiting for the cache's lock: %w", context.Cause(ctx))
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func (b *builder) buildAll(ctx context.Context, missing []program) error {
	logPath := filepath.Join(b.Cache, "build.log")
	log, err := os.Create(logPath)
	if err != nil {
		return fmt.Errorf("making the build log: %w", err)
	}
	defer log.Close()
	fmt.Fprintf(b.Progress, "building the management cluster from its Go modules: %d programs, about 10 minutes the first time, kept in %s\n",
		len(missing), b.Cache)
	start := time.Now()
	for i, p := range missing {
		fmt.Fprintf(b.Progress, "  %d/%d %s ...\n", i+1, len(missing), p.name)
		one := time.Now()
		if err := b.build(ctx, p, log); err != nil {
			return fmt.Errorf("building %s: %w (log: %s)", p.name, err, logPath)
		}
		fmt.Fprintf(b.Progress, "  %d/%d %s built in %s, %s so far\n", i+1, len(missing), p.name,
			time.Since(one).Round(time.Second), time.Since(start).Round(time.Second))
	}
	return nil
}

// build compiles one program beside its place and renames it, so that a killed build leaves nothing
// that looks finished.
func (b *builder) build(ctx context.Context, p program, log io.Writer) error {
	out := b.path(p.module, p.name)
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return err
	}
	tmp := out + ".part"
	fmt.Fprintf(log, "== %s (%s)\n", p.name, p.pkg)
	cmd := b.goCommand(ctx, p.module, "build", "-mod=readonly", "-ldflags", p.ldflags, "-o", tmp, p.pkg)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	}
	return os.Rename(tmp, out)
}

func (b *builder) goCommand(ctx context.Context, module string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = filepath.Join(b.Source, module)
	// A workspace file above would bring the project's own versions into these programs.
	cmd.Env = append(os.Environ(), "GOWORK=off")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) }
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// release is one of Cluster API's providers in its module: where its kustomization is, and the label
// and file name under which clusterctl looks for it.
type release struct{ kustomization, label, file string }

var releases = []release{
	{"core/config/default", "cluster-api", "core-components.yaml"},
	{"bootstrap/kubeadm/config/default", "bootstrap-kubeadm", "bootstrap-components.yaml"},
	{"controlplane/kubeadm/config/default", "control-plane-kubeadm", "control-plane-components.yaml"},
}

// buildRepository renders Cluster API's release files from the module's own folder.
func (b *builder) buildRepository(ctx context.Context, kubectl, out string) error {
	module, err := b.moduleDir(ctx)
	if err != nil {
		return err
	}
	metadata, err := os.ReadFile(filepath.Join(module, "metadata.yaml"))
	if err != nil {
		return fmt.Errorf("reading the release metadata of Cluster API: %w", err)
	}
	tmp := out + ".part"
	if err := os.RemoveAll(tmp); err != nil {
		return err
	}
	for _, r := range releases {
		dir := filepath.Join(tmp, r.label, CAPIVersion)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		var stderr bytes.Buffer
		cmd := exec.CommandContext(ctx, kubectl, "kustomize", filepath.Join(module, filepath.FromSlash(r.kustomization)))
		cmd.Stderr = &stderr
		yaml, err := cmd.Output()
		if err != nil {
			return fmt.Errorf("rendering %s of Cluster API: %w: %s", r.kustomization, err, stderr.String())
		}
		if err := os.WriteFile(filepath.Join(dir, r.file), yaml, 0o644); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, "metadata.yaml"), metadata, 0o644); err != nil {
			return err
		}
	}
	return os.Rename(tmp, out)
}

// moduleDir returns the folder of the Cluster API module in the module cache.
func (b *builder) moduleDir(ctx context.Context) (string, error) {
	cmd := b.goCommand(ctx, "capi", "mod", "download", "-json", "sigs.k8s.io/cluster-api@"+CAPIVersion)
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("finding the Cluster API module: %w", err)
	}
	var m struct{ Dir string }
	if err := json.Unmarshal(out, &m); err != nil {
		return "", fmt.Errorf("finding the Cluster API module: %w", err)
	}
	if m.Dir == "" {
		return "", errors.New("finding the Cluster API module: no folder in the answer of go mod download")
	}
	return m.Dir, nil
}
