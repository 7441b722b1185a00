package process

import (
	"crypto/tls"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/webhook"

	"github.com/beskar7/beskar7/pkg/config"
	"github.com/beskar7/beskar7/pkg/lease"
)

// managerOptions: of Secrets the manager's cache holds metadata only, of all of them, as a changed BMC Secret must be seen;
// see clusterSecrets for those whose data is cached.
func managerOptions(s config.Settings, scheme *runtime.Scheme, lock *lease.Lock) ctrl.Options {
	patience := shutdownTimeout
	o := ctrl.Options{
		Scheme: scheme, GracefulShutdownTimeout: &patience,
		LeaderElection: true, LeaderElectionResourceLockInterface: lock, LeaderElectionReleaseOnCancel: true,
		LeaseDuration: &s.LeaderElection.LeaseDuration, RenewDeadline: &s.LeaderElection.RenewDeadline, RetryPeriod: &s.LeaderElection.RetryPeriod,
		HealthProbeBindAddress: s.Metrics.ProbeAddress,
		Metrics:                metricsOptions(s),
		WebhookServer:          webhook.NewServer(webhook.Options{Port: s.Webhook.Port, CertDir: s.Webhook.CertDir, TLSOpts: []func(*tls.Config){tlsOptions(s.TLS)}}),
		Client:                 client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&corev1.ConfigMap{}, &corev1.Secret{}}}},
	}
	o.Cache.DefaultTransform = cache.TransformStripManagedFields() // nobody here reads them, and each writer adds to them
	if s.Metrics.EnableProfiling {
		o.PprofBindAddress = s.Metrics.ProfilingAddress
	}
	if s.Scope.Namespace != "" {
		o.Cache.DefaultNamespaces = map[string]cache.Config{s.Scope.Namespace: {}}
	}
	return o
}

// metricsOptions: unless the settings ask for plain metrics, the API server is asked who scrapes and whether they may.
func metricsOptions(s config.Settings) metricsserver.Options {
	address, secure := s.Metrics.Endpoint()
	o := metricsserver.Options{BindAddress: address, SecureServing: secure, TLSOpts: []func(*tls.Config){tlsOptions(s.TLS)}}
	if secure {
		o.FilterProvider = filters.WithAuthenticationAndAuthorization
	}
	return o
}

// tlsOptions puts the settings of TLS into a server's; they were checked when they were loaded.
func tlsOptions(s config.TLS) func(*tls.Config) {
	return func(c *tls.Config) {
		c.MinVersion = tls.VersionTLS12
		if s.MinVersion == "VersionTLS13" {
			c.MinVersion = tls.VersionTLS13
		}
		c.CipherSuites, _ = config.CipherSuiteIDs(s.CipherSuites)
	}
}
