package lab

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	bootstrapv1 "sigs.k8s.io/cluster-api/api/bootstrap/kubeadm/v1beta2"
	controlplanev1 "sigs.k8s.io/cluster-api/api/controlplane/kubeadm/v1beta2"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/test/controlplane"
	"github.com/beskar7/beskar7/test/emulator"
	"github.com/beskar7/beskar7/test/kubeadmhost"
)

// KubernetesVersion is what the workload clusters of the lab run.
const KubernetesVersion = "v1.36.1"

// Version is the release of Beskar7 that the lab installs.
const Version = "v0.1.0"

// Options of a Lab.
type Options struct {
	// Dir holds everything the lab writes. Empty or absent; left behind.
	Dir string
	// Root is the repository; default: found from the working folder upwards.
	Root string
	// Progress gets a line for each step.
	Progress io.Writer
	// Settings are the data of the ConfigMap beskar7-config; nil means QuickSettings.
	Settings map[string]string
	// ExtraArgs of the manager.
	ExtraArgs []string
	// Detach lets the processes of the control plane outlive this one.
	Detach bool
	// Bare is a management cluster with the CRDs of Cluster API and of Beskar7 and nobody who reconciles them: no clusterctl, no webhooks,
	// no manager. Settings and ExtraArgs have no effect.
	Bare bool
	// Share makes the servers, workload clusters and images of another lab visible to this one, as for `clusterctl move`.
	Share *Lab
}

// QuickSettings make the manager as quick as the guide's ranges allow: emulated BMCs need no rest.
func QuickSettings() map[string]string {
	return map[string]string{
		"provisioning.bmcCooldownPeriod": "1s", "provisioning.maxConcurrentOps": "10", "provisioning.workerCount": "10",
		"bmc.requestTimeout": "10s", "bmc.connectionTimeout": "5s", "bmc.retryDelay": "1s", "hostSelection.maxBackoffDelay": "5s",
	}
}

// Lab is a running site.
type Lab struct {
	Plane   *controlplane.ControlPlane
	Fleet   *emulator.Fleet
	World   *kubeadmhost.World
	Manager *controlplane.Provider
	Client  client.Client
	Image   string

	options Options
	images  *imageServer
	media   string // the address of the media Service
	owned   []io.Closer
}

// Start starts a site up to a ready manager. The caller must call Stop, also after an error.
func Start(ctx context.Context, o Options) (*Lab, error) {
	ctrl.SetLogger(logr.Discard()) // what libraries log through controller-runtime says nothing to a person
	l := &Lab{options: o}
	if o.Progress == nil {
		l.options.Progress = io.Discard
	}
	root, err := Root(o.Root)
	if err != nil {
		return l, err
	}
	l.options.Root = root
	steps := []func(context.Context) error{l.startPlane, l.startServers, l.install, l.startManager}
	if o.Bare {
		steps = []func(context.Context) error{l.startPlane, l.startServers, l.installCRDs}
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return l, err
		}
	}
	return l, nil
}

// Root is the repository: as given, else found from the working folder upwards.
func Root(given string) (string, error) {
	if given != "" {
		return filepath.Abs(given)
	}
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "metadata.yaml")); err == nil {
			return dir, nil
		}
	}
	return "", errors.New("the repository's root (with metadata.yaml) is not above the working folder")
}

func (l *Lab) startPlane(ctx context.Context) error {
	plane, err := controlplane.Start(ctx, controlplane.Options{Dir: filepath.Join(l.options.Dir, "plane"), Progress: l.options.Progress, AuditRequests: true, Detach: l.options.Detach})
	if err != nil {
		return err
	}
	l.Plane = plane
	scheme, err := Scheme()
	if err != nil {
		return err
	}
	config := plane.Config()
	config.QPS, config.Burst = 200, 400
	l.Client, err = client.New(config, client.Options{Scheme: scheme})
	return err
}

// Scheme knows every kind that the lab's clients use.
func Scheme() (*runtime.Scheme, error) {
	s := runtime.NewScheme()
	return s, errors.Join(clientgoscheme.AddToScheme(s), clusterv1.AddToScheme(s), controlplanev1.AddToScheme(s), bootstrapv1.AddToScheme(s),
		v1beta1.AddToScheme(s), apiextensionsv1.AddToScheme(s))
}

// startServers starts what stands for hardware, or takes over another lab's.
func (l *Lab) startServers(context.Context) error {
	if s := l.options.Share; s != nil {
		l.Fleet, l.World, l.images, l.Image = s.Fleet, s.World, s.images, s.Image
		return nil
	}
	consoles := filepath.Join(l.options.Dir, "consoles")
	if err := os.MkdirAll(consoles, 0o755); err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(l.options.Dir, "servers.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(log, nil))
	l.owned = append(l.owned, log)
	if l.World, err = kubeadmhost.New(kubeadmhost.Options{Log: logger, Dir: consoles, KubernetesVersion: KubernetesVersion}); err != nil {
		return err
	}
	if l.Fleet, err = emulator.New(emulator.Options{Log: logger, Guest: l.World.Guest}); err != nil {
		return err
	}
	if l.images, err = serveImages(); err != nil {
		return err
	}
	l.Image = l.images.url("base.iso")
	l.owned = append([]io.Closer{l.Fleet, l.World, l.images}, l.owned...)
	return nil
}

// TrustMedia lets BMCs trust the authority that this lab's manager made for its media, and that of a lab that it shares them with.
// Booted servers are not told: what they trust came with their medium. A manager with a certificate of a folder has made none.
func (l *Lab) TrustMedia(ctx context.Context) error {
	pool := x509.NewCertPool()
	for _, from := range []*Lab{l, l.options.Share} {
		if from == nil {
			continue
		}
		secret := &corev1.Secret{}
		err := from.Client.Get(ctx, client.ObjectKey{Namespace: "beskar7-system", Name: "beskar7-media-ca"}, secret)
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read the authority of media: %w", err)
		}
		if !pool.AppendCertsFromPEM(secret.Data["ca.crt"]) {
			return errors.New("the authority of media cannot be read")
		}
	}
	l.Fleet.SetMediaTrust(pool)
	return nil
}

// install puts our release in: a ConfigMap of settings, then clusterctl init.
func (l *Lab) install(ctx context.Context) error {
	components := filepath.Join(l.options.Root, "out", "release", "infrastructure-beskar7", Version, "infrastructure-components.yaml")
	if _, err := os.Stat(components); err != nil {
		return fmt.Errorf("the release is not built (make release): %w", err)
	}
	if err := l.Plane.AddSource(controlplane.ReleaseSource{Name: "beskar7", Type: "InfrastructureProvider", URL: components}); err != nil {
		return err
	}
	if err := l.Plane.Init(ctx, "--infrastructure", "beskar7:"+Version); err != nil {
		return err
	}
	settings := l.options.Settings
	if settings == nil {
		settings = QuickSettings()
	}
	return l.Client.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "beskar7-system", Name: "beskar7-config"}, Data: settings})
}

// startManager runs our Deployment's container as a process, with its own ServiceAccount's rights.
func (l *Lab) startManager(ctx context.Context) error {
	if _, err := l.BuildManager(ctx); err != nil {
		return err
	}
	fmt.Fprintln(l.options.Progress, "starting the manager under its ServiceAccount")
	address, err := l.Plane.Balance("beskar7-system", "beskar7-controller-manager", func(a controlplane.Addresses) int { return a.Media })
	if err != nil {
		return err
	}
	l.media = address
	manager, err := l.RunReplica(0)
	if err != nil {
		return err
	}
	l.Manager = manager
	ready, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	if err := manager.Ready(ready); err != nil {
		return err
	}
	return errors.Join(l.TrustMedia(ready), l.Plane.Routed(ready))
}

// BuildManager builds our binary and returns its path.
func (l *Lab) BuildManager(ctx context.Context) (string, error) {
	fmt.Fprintln(l.options.Progress, "building the manager")
	binary := filepath.Join(l.options.Root, "bin", "manager")
	build := exec.CommandContext(ctx, "go", "build", "-o", binary, ".")
	build.Dir = l.options.Root // the flags of `go test`, so that both share what is compiled
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the manager: %w\n%s", err, out)
	}
	return binary, nil
}

// RunReplica makes room for one more Pod of our Deployment, which may be one of a surge; it waits while there is none. The first
// is started with the lab. Media are advertised at one address that leads to every replica, as the Service does.
func (l *Lab) RunReplica(instance int) (*controlplane.Provider, error) {
	return l.Plane.RunProvider(controlplane.ProviderOptions{Namespace: "beskar7-system", Deployment: "beskar7-controller-manager", Instance: instance,
		Binary: filepath.Join(l.options.Root, "bin", "manager"), ExtraArgs: l.options.ExtraArgs,
		Args: func(a controlplane.Addresses) []string {
			cache := filepath.Join(l.options.Dir, fmt.Sprintf("media-cache-%d", instance))
			return append(controlplane.Beskar7Args(a), "--media-cache-dir="+cache, "--media-advertise-url=https://"+l.media)
		}})
}

// Stop ends everything that this lab started, in order.
func (l *Lab) Stop() error {
	var errs []error
	if l.Plane != nil {
		errs = append(errs, l.Plane.Stop())
	}
	for _, c := range l.owned {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// Logs is the folder with the logs of all processes.
func (l *Lab) Logs() string { return l.Plane.Logs() }
