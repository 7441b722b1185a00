package controlplane

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

// house runs the stand-ins on one client with a cache.
type house struct {
	client client.Client
	live   client.Reader // not from the cache
	log    logr.Logger
	done   chan struct{} // closed when everything has ended
}

func newScheme() (*runtime.Scheme, error) {
	s := runtime.NewScheme()
	return s, errors.Join(clientgoscheme.AddToScheme(s), apiextensionsv1.AddToScheme(s))
}

// startHouse starts the router and the cache from which Providers read.
func (p *ControlPlane) startHouse(startCtx context.Context) error {
	if err := p.installCertManager(startCtx); err != nil {
		return err
	}
	logFile, err := os.OpenFile(p.log("standins"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("opening the stand-ins' log: %w", err)
	}
	log := newLog(logFile)
	mgr, err := p.newManager(log)
	if err != nil {
		logFile.Close()
		return err
	}
	h := &house{client: mgr.GetClient(), live: mgr.GetAPIReader(), log: log, done: make(chan struct{})}
	p.house = h
	go func() {
		defer close(h.done)
		defer logFile.Close()
		if err := mgr.Start(p.life); err != nil {
			log.Error(err, "stand-ins ended")
		}
	}()
	// Readers of the cache would otherwise each wait for their first list.
	for _, obj := range []client.Object{&appsv1.Deployment{}, &corev1.Pod{}, &corev1.Service{}} {
		if _, err := mgr.GetCache().GetInformer(startCtx, obj); err != nil {
			return fmt.Errorf("starting the stand-ins: %w", err)
		}
	}
	return nil
}

func (p *ControlPlane) newManager(log logr.Logger) (ctrl.Manager, error) {
	scheme, err := newScheme()
	if err != nil {
		return nil, fmt.Errorf("starting the stand-ins: %w", err)
	}
	mgr, err := ctrl.NewManager(p.harness, ctrl.Options{
		Scheme: scheme, Logger: log, Metrics: metricsserver.Options{BindAddress: "0"},
		GracefulShutdownTimeout: new(5 * time.Second),
	})
	if err != nil {
		return nil, fmt.Errorf("starting the stand-ins: %w", err)
	}
	r := &router{plane: p, client: mgr.GetClient(), live: mgr.GetAPIReader(), log: log}
	// Several control planes in one process have controllers of the same name.
	opts := controller.Options{SkipNameValidation: new(true)}
	err = errors.Join(
		ctrl.NewControllerManagedBy(mgr).Named("crd").WithOptions(opts).
			For(&apiextensionsv1.CustomResourceDefinition{}).Complete(r.reconciler(r.routeCRD)),
		ctrl.NewControllerManagedBy(mgr).Named("validating").WithOptions(opts).
			For(&admissionv1.ValidatingWebhookConfiguration{}).Complete(r.reconciler(r.routeValidating)),
		ctrl.NewControllerManagedBy(mgr).Named("mutating").WithOptions(opts).
			For(&admissionv1.MutatingWebhookConfiguration{}).Complete(r.reconciler(r.routeMutating)))
	if err != nil {
		return nil, fmt.Errorf("starting the stand-ins: %w", err)
	}
	return mgr, nil
}

func newLog(w io.Writer) logr.Logger {
	var mu sync.Mutex
	return funcr.New(func(prefix, args string) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintln(w, prefix, args)
	}, funcr.Options{LogTimestamp: true})
}
