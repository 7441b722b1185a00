package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

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
	return lab.InstallCRDs(ctx, s.client, s.root, s.plane.Bin())
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
