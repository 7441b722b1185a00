//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	clusterctlcluster "sigs.k8s.io/cluster-api/cmd/clusterctl/client/cluster"
	capie2e "sigs.k8s.io/cluster-api/test/e2e"
	"sigs.k8s.io/cluster-api/test/framework"
	"sigs.k8s.io/cluster-api/test/framework/clusterctl"

	"github.com/beskar7/beskar7/test/lab"
)

// TestClusterAPISpecs runs specs that Cluster API exports for providers, unmodified. They make their own namespaces, wait with
// Cluster API's own conditions, and delete everything, hosts and their namespace included.
func TestClusterAPISpecs(t *testing.T) {
	l := newLab(t)
	ctx := context.WithoutCancel(t.Context())
	RegisterFailHandler(Fail)
	site := newSpecSite(t, l)
	Describe("QuickStart", func() {
		capie2e.QuickStartSpec(ctx, func() capie2e.QuickStartSpecInput {
			return capie2e.QuickStartSpecInput{
				E2EConfig: site.config, ClusterctlConfigPath: l.Plane.ClusterctlConfig(), BootstrapClusterProxy: site.proxy, ArtifactFolder: site.artifacts,
				InfrastructureProvider: &site.provider, PostNamespaceCreated: site.addHosts(ctx, "quick", 3),
				PostMachinesProvisioned: func(proxy framework.ClusterProxy, namespace, cluster string) {
					framework.ValidateResourceVersionStable(ctx, framework.ValidateResourceVersionStableInput{
						ClusterProxy: proxy, Namespace: namespace, OwnerGraphFilterFunction: clusterctlcluster.FilterClusterObjectsWithNameFilter(cluster)})
				},
			}
		})
	})
	Describe("MachineDeploymentScale", func() {
		capie2e.MachineDeploymentScaleSpec(ctx, func() capie2e.MachineDeploymentScaleSpecInput {
			return capie2e.MachineDeploymentScaleSpecInput{
				E2EConfig: site.config, ClusterctlConfigPath: l.Plane.ClusterctlConfig(), BootstrapClusterProxy: site.proxy, ArtifactFolder: site.artifacts,
				InfrastructureProvider: &site.provider, PostNamespaceCreated: site.addHosts(ctx, "scale", 5),
			}
		})
	})
	if !RunSpecs(t, "Cluster API's own specs") {
		t.FailNow()
	}
	witness, err := l.Witness(t.Context(), "")
	g := NewWithT(t)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(witness.Err()).NotTo(HaveOccurred())
	// 1 + 1, then 1 + 1 with two more workers.
	g.Expect([]int{witness.Provisioned, witness.Released, witness.DoubleClaims}).To(Equal([]int{6, 6, 0}))
}

// specSite is what the specs are given.
type specSite struct {
	lab       *lab.Lab
	proxy     framework.ClusterProxy
	config    *clusterctl.E2EConfig
	artifacts string
	provider  string
}

func newSpecSite(t *testing.T, l *lab.Lab) *specSite {
	scheme, err := lab.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	framework.TryAddDefaultSchemes(scheme)
	// The specs run clusterctl inside this process: these are its variables. Port: see addHosts.
	for k, v := range map[string]string{"CONTROL_PLANE_ENDPOINT_HOST": "127.0.0.1", "CONTROL_PLANE_ENDPOINT_PORT": "0", "BESKAR7_IMAGE_URL": l.Image,
		"CLUSTERCTL_DISABLE_VERSIONCHECK": "true", "GOPROXY": "off", "XDG_CONFIG_HOME": filepath.Join(l.Plane.Dir(), "xdg")} {
		t.Setenv(k, v)
	}
	return &specSite{lab: l, provider: "beskar7:" + lab.Version, artifacts: filepath.Join(l.Plane.Dir(), "artifacts"),
		proxy: framework.NewClusterProxy("lab", l.Plane.Kubeconfig(), scheme),
		config: &clusterctl.E2EConfig{
			Variables: map[string]string{capie2e.KubernetesVersion: lab.KubernetesVersion},
			Intervals: map[string][]string{
				"default/wait-cluster": {"3m", "1s"}, "default/wait-control-plane": {"8m", "1s"}, "default/wait-worker-nodes": {"8m", "1s"},
				"default/wait-delete-cluster": {"8m", "1s"}, "default/wait-nodes-ready": {"8m", "1s"},
			}}}
}

// addHosts registers servers in the namespace that a spec made, and sets a free port for its cluster.
func (s *specSite) addHosts(ctx context.Context, prefix string, n int) func(framework.ClusterProxy, string) {
	return func(_ framework.ClusterProxy, namespace string) {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		Expect(err).NotTo(HaveOccurred())
		Expect(os.Setenv("CONTROL_PLANE_ENDPOINT_PORT", strconv.Itoa(listener.Addr().(*net.TCPAddr).Port))).To(Succeed())
		Expect(listener.Close()).To(Succeed())
		Expect(s.lab.AddHosts(ctx, namespace, prefix, n)).To(Succeed(), fmt.Sprintf("register servers in %s", namespace))
	}
}
