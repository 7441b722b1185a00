package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/test/controlplane"
	"github.com/beskar7/beskar7/test/lab"
)

// site is an API server with the CRDs of Cluster API and of Beskar7, and nobody who reconciles them.
type site struct {
	plane  *controlplane.ControlPlane
	client client.WithWatch
	dir    string
	root   string
	pace   *pace
	say    func(format string, args ...any)
}

// startSite starts it in an empty folder. The caller must call plane.Stop.
func startSite(ctx context.Context, dir string) (*site, error) {
	root, err := lab.Root("")
	if err != nil {
		return nil, err
	}
	s := &site{dir: dir, root: root, pace: watchPace(ctx), say: func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }}
	if s.plane, err = controlplane.Start(ctx, controlplane.Options{Dir: filepath.Join(dir, "plane")}); err != nil {
		return nil, err
	}
	if err := s.prepare(ctx); err != nil {
		return nil, errors.Join(err, s.plane.Stop())
	}
	return s, nil
}

func (s *site) prepare(ctx context.Context) error {
	scheme, err := lab.Scheme()
	if err != nil {
		return err
	}
	config := s.plane.Config()
	config.QPS, config.UserAgent = -1, "storm-harness"
	if s.client, err = client.NewWithWatch(config, client.Options{Scheme: scheme}); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(s.root, "config", "crd", "bases", "*.yaml"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("find our CRDs: %d files, %w", len(files), err)
	}
	files = append(files, filepath.Join(s.plane.Bin().Repository, "cluster-api", controlplane.CAPIVersion, "core-components.yaml"))
	for _, file := range files {
		if err := s.installCRDs(ctx, file); err != nil {
			return fmt.Errorf("install the CRDs of %s: %w", file, err)
		}
	}
	return lab.Until(ctx, "the CRDs to be served", time.Minute, func(ctx context.Context) (bool, string, error) {
		for _, list := range []client.ObjectList{&v1beta1.PhysicalHostList{}, &v1beta1.Beskar7MachineList{}, &v1beta1.Beskar7ClusterList{},
			&v1beta1.Beskar7MachineTemplateList{}, &clusterv1.ClusterList{}, &clusterv1.MachineList{}} {
			if err := s.client.List(ctx, list); err != nil {
				return false, err.Error(), nil //nolint:nilerr // why it is not there yet
			}
		}
		return true, "", nil
	})
}

// installCRDs creates the CRDs in a file of any objects. Conversion webhooks are left out with the versions that need them:
// nobody here speaks an old one.
func (s *site) installCRDs(ctx context.Context, file string) error {
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
		if err := s.client.Create(ctx, crd); err != nil {
			return err
		}
	}
	return nil
}

// makers is how many clients fill the API server before a storm.
const makers = 16

// each calls do for 0 to n-1 from several goroutines, and stops at the first error.
func each(ctx context.Context, n int, do func(context.Context, int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan int)
	var group sync.WaitGroup
	for range min(makers, n) {
		group.Go(func() {
			for i := range next {
				if err := do(ctx, i); err != nil {
					cancel(err)
				}
			}
		})
	}
	for i := 0; i < n && ctx.Err() == nil; i++ {
		next <- i
	}
	close(next)
	group.Wait()
	return context.Cause(ctx)
}

func (s *site) makeNamespace(ctx context.Context, name string) error {
	return s.client.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
}
