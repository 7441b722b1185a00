package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/config"
)

// Access is a way into a management cluster.
type Access struct {
	Client client.Client
	// Forward opens a way to a port of a Pod and returns its address here; close ends it.
	Forward func(ctx context.Context, namespace, pod, port string) (address string, close func(), err error)
}

// Scheme holds the kinds that commands read and write.
func Scheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	if err := AddToScheme(scheme); err != nil { // fails only if kinds collide
		panic(err)
	}
	return scheme
}

// AddToScheme adds the kinds that commands and manager read and write.
func AddToScheme(scheme *runtime.Scheme) error {
	return errors.Join(clientgoscheme.AddToScheme(scheme), clusterv1.AddToScheme(scheme), v1beta1.AddToScheme(scheme))
}

// Connect reaches the cluster of a kubeconfig, as kubectl would.
func Connect(kubeconfig, kubecontext string) (*Access, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = kubeconfig
	rest, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: kubecontext}).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("find the management cluster: %w", err)
	}
	c, err := client.New(rest, client.Options{Scheme: Scheme()})
	if err != nil {
		return nil, fmt.Errorf("reach the management cluster: %w", err)
	}
	return &Access{Client: c, Forward: forwarder(rest)}, nil
}

// place is where the manager runs, from flags.
type place struct{ kubeconfig, context, namespace, deployment string }

func (c *CLI) place(flags *pflag.FlagSet) *place {
	p := &place{}
	flags.StringVar(&p.kubeconfig, "kubeconfig", "", "the kubeconfig of the management cluster")
	flags.StringVar(&p.context, "context", "", "the context in it")
	flags.StringVar(&p.deployment, "deployment", "beskar7-controller-manager", "the manager's Deployment")
	namespace := config.DefaultNamespace
	for _, line := range c.Env {
		if value, ok := strings.CutPrefix(line, "POD_NAMESPACE="); ok && value != "" {
			namespace = value
		}
	}
	flags.StringVarP(&p.namespace, "namespace", "n", namespace, "the manager's namespace")
	return p
}

// installation is a manager as its cluster knows it.
type installation struct {
	*Access
	place      place
	deployment *appsv1.Deployment
	// sources of its settings; a file of --config is in its Pods, where it cannot be read.
	sources config.Sources
	// configMaps that exist, by name.
	configMaps map[string]*corev1.ConfigMap
}

func (c *CLI) installation(ctx context.Context, p *place) (*installation, error) {
	access, err := c.Connect(p.kubeconfig, p.context)
	if err != nil {
		return nil, err
	}
	in := &installation{Access: access, place: *p}
	return in, in.read(ctx)
}

// read looks at the Deployment and the ConfigMaps as they are now.
func (in *installation) read(ctx context.Context) error {
	in.deployment, in.configMaps = &appsv1.Deployment{}, map[string]*corev1.ConfigMap{}
	err := in.Client.Get(ctx, client.ObjectKey{Namespace: in.place.namespace, Name: in.place.deployment}, in.deployment)
	if apierrors.IsNotFound(err) {
		return fmt.Errorf("there is no Deployment %s in namespace %s: name them with --deployment and --namespace", in.place.deployment, in.place.namespace)
	}
	if err != nil {
		return fmt.Errorf("read the manager's Deployment: %w", err)
	}
	sources, found := sourcesOf(in.deployment)
	if !found {
		return fmt.Errorf("Deployment %s has no container named %s", in.place.deployment, containerName) //nolint:staticcheck // a kind begins with a capital
	}
	for _, name := range configMapNames(sources) {
		configMap := &corev1.ConfigMap{}
		err := in.Client.Get(ctx, client.ObjectKey{Namespace: in.place.namespace, Name: name}, configMap)
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read ConfigMap %s: %w", name, err)
		}
		in.configMaps[name] = configMap
		sources.ConfigMaps = append(sources.ConfigMaps, config.ConfigMap{Name: name, Data: configMap.Data})
	}
	in.sources = sources
	return nil
}

// strongest is the name of the ConfigMap whose values win: where changes go.
func (in *installation) strongest() string {
	names := configMapNames(in.sources)
	return names[len(names)-1] // the setting holds at least one name
}

// pods are those of the Deployment that are ready.
func (in *installation) pods(ctx context.Context) ([]corev1.Pod, error) {
	selector, err := metav1.LabelSelectorAsSelector(in.deployment.Spec.Selector)
	if err != nil {
		return nil, fmt.Errorf("the Deployment's selector: %w", err)
	}
	list := &corev1.PodList{}
	if err := in.Client.List(ctx, list, client.InNamespace(in.place.namespace), client.MatchingLabelsSelector{Selector: selector}); err != nil {
		return nil, fmt.Errorf("list the manager's Pods: %w", err)
	}
	return slices.DeleteFunc(list.Items, func(p corev1.Pod) bool {
		ready := slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
			return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
		})
		return p.DeletionTimestamp != nil || p.Status.Phase != corev1.PodRunning || !ready
	}), nil
}

// metricsPort is where the Pods serve metrics, and whether over https.
func (in *installation) metricsPort() (port string, secure bool, err error) {
	settings, findings := config.Load(in.sources)
	if len(findings.Errors) > 0 {
		return "", false, fmt.Errorf("the settings of the Deployment are invalid: %s", findings.Errors[0])
	}
	address, secure := settings.Metrics.Endpoint()
	if _, port, err = net.SplitHostPort(address); err != nil {
		return "", false, errors.New("the manager serves no metrics: metrics.bindAddress or diagnostics.address is 0")
	}
	return port, secure, nil
}
