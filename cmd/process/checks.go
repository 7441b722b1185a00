package process

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/healthz"

	"github.com/beskar7/beskar7/controllers"
)

// addChecks makes /healthz and /readyz mean something, and adds webhooks and the settings watch to every replica.
func (p *parts) addChecks() error {
	if err := p.mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return err
	}
	if p.settings.Webhook.CertDir != "" {
		if err := controllers.SetupWebhooks(p.mgr); err != nil {
			return err
		}
		if err := p.mgr.AddReadyzCheck("webhook", p.mgr.GetWebhookServer().StartedChecker()); err != nil {
			return err
		}
	}
	if err := p.mgr.AddReadyzCheck("caches", cachesSynced(p.mgr.GetCache(), p.illegible.Found)); err != nil {
		return err
	}
	if err := p.mgr.AddReadyzCheck("settings", p.live.Ready); err != nil {
		return err
	}
	return p.mgr.Add(everywhere{func(ctx context.Context) error { return p.live.Watch(ctx, p.mgr, p.metrics) }})
}

// cachesSynced is ready once the manager's caches are.
func cachesSynced(c cache.Cache, illegible func() string) healthz.Checker {
	return func(r *http.Request) error {
		soon, cancel := context.WithTimeout(r.Context(), time.Second)
		defer cancel()
		if !c.WaitForCacheSync(soon) {
			return errors.New(strings.TrimSuffix("the caches are not synced yet: "+illegible(), ": "))
		}
		return nil
	}
}
