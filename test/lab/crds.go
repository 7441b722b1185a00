package lab

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/test/controlplane"
)

func (l *Lab) installCRDs(ctx context.Context) error {
	return InstallCRDs(ctx, l.Client, l.options.Root, l.Plane.Bin())
}

// InstallCRDs puts the CRDs of Cluster API and of Beskar7 into a management cluster, and waits until they are served. root is the
// repository.
func InstallCRDs(ctx context.Context, c client.Client, root string, bin *controlplane.Bin) error {
	files, err := filepath.Glob(filepath.Join(root, "config", "crd", "bases", "*.yaml"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("find our CRDs: %d files, %w", len(files), err)
	}
	for _, file := range append(files, filepath.Join(bin.Repository, "cluster-api", controlplane.CAPIVersion, "core-components.yaml")) {
		if err := createCRDs(ctx, c, file); err != nil {
			return fmt.Errorf("install the CRDs of %s: %w", file, err)
		}
	}
	return Until(ctx, "the CRDs to be served", time.Minute, func(ctx context.Context) (bool, string, error) {
		for _, list := range []client.ObjectList{&v1beta1.PhysicalHostList{}, &v1beta1.Beskar7MachineList{}, &v1beta1.Beskar7ClusterList{},
			&v1beta1.Beskar7MachineTemplateList{}, &clusterv1.ClusterList{}, &clusterv1.MachineList{}} {
			if err := c.List(ctx, list); err != nil {
				return false, err.Error(), nil //nolint:nilerr // why it is not there yet
			}
		}
		return true, "", nil
	})
}

// createCRDs creates the CRDs in a file of any objects. Conversion webhooks are left out with the versions that need them:
// nobody here speaks an old one.
func createCRDs(ctx context.Context, c client.Client, file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	for _, text := range bytes.Split(data, []byte("\n---\n")) {
		crd := &apiextensionsv1.CustomResourceDefinition{}
		if !bytes.Contains(text, []byte("kind: CustomResourceDefinition\n")) {
			continue
		}
		if err := yaml.Unmarshal(text, crd); err != nil {
			return err
		}
		crd.Spec.Conversion = nil
		var stored []apiextensionsv1.CustomResourceDefinitionVersion
		for i := range crd.Spec.Versions {
			if crd.Spec.Versions[i].Storage {
				stored = append(stored, crd.Spec.Versions[i])
			}
		}
		crd.Spec.Versions = stored
		if err := c.Create(ctx, crd); err != nil {
			return err
		}
	}
	return nil
}
