package controlplane

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-logr/logr"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// injectFrom is the annotation by which cert-manager's injector knows what to put into caBundle.
const injectFrom = "cert-manager.io/inject-ca-from"

// router stands in for two parts of a cluster: cert-manager's CA injector and the Service that leads to
// a webhook. It rewrites every Service reference of a webhook or conversion to a URL on loopback, that of
// a balancer before the processes of the Service's Deployment, with our caBundle: a Service cannot lead to
// loopback. It is as strict as what it replaces: the object must name a Certificate that exists and is
// issued for the Service, the Service must exist and select a Deployment; otherwise the reference stays
// as it is, calls fail, and the log says why. It rewrites again whenever something puts a Service
// reference back, as clusterctl upgrade does.
//
// A known limit: clusterctl upgrade merges a CRD into the one that exists. For a CRD with a conversion
// webhook that would leave both url and service, which the API server refuses. It does not touch CRDs
// of providers that stay at their version.
type router struct {
	plane  *ControlPlane
	client client.Client
	live   client.Reader
	log    logr.Logger
}

// errUnrouted says that a reference cannot be followed yet.
var errUnrouted = errors.New("webhook not routed")

// reference is a Service reference of either API group.
type reference struct {
	namespace, name string
	path            *string
}

func (r *router) reconciler(route func(context.Context, client.ObjectKey) error) reconcile.Reconciler {
	return reconcile.Func(func(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
		err := route(ctx, req.NamespacedName)
		switch {
		case err == nil || apierrors.IsNotFound(err):
			return ctrl.Result{}, nil
		case errors.Is(err, errUnrouted):
			// The Service, Deployment or Certificate usually follows within the same second.
			r.log.Info("waiting", "object", req.Name, "reason", err.Error())
			return ctrl.Result{RequeueAfter: 200 * time.Millisecond}, nil
		case apierrors.IsConflict(err):
			return ctrl.Result{RequeueAfter: 10 * time.Millisecond}, nil
		}
		return ctrl.Result{}, err
	})
}

func (r *router) routeCRD(ctx context.Context, key client.ObjectKey) error {
	crd := &apiextensionsv1.CustomResourceDefinition{}
	if err := r.client.Get(ctx, key, crd); err != nil {
		return err
	}
	conv := crd.Spec.Conversion
	if conv == nil || conv.Webhook == nil || conv.Webhook.ClientConfig == nil || conv.Webhook.ClientConfig.Service == nil {
		return nil
	}
	base := crd.DeepCopy()
	cc := crd.Spec.Conversion.Webhook.ClientConfig
	url, err := r.resolve(ctx, crd, reference{cc.Service.Namespace, cc.Service.Name, cc.Service.Path})
	if err != nil {
		return err
	}
	cc.Service, cc.URL, cc.CABundle = nil, &url, r.plane.pki.hooks.certPEM
	return r.client.Patch(ctx, crd, client.MergeFrom(base))
}

func (r *router) routeValidating(ctx context.Context, key client.ObjectKey) error {
	c := &admissionv1.ValidatingWebhookConfiguration{}
	if err := r.client.Get(ctx, key, c); err != nil {
		return err
	}
	c = c.DeepCopy()
	var configs []*admissionv1.WebhookClientConfig
	for i := range c.Webhooks {
		configs = append(configs, &c.Webhooks[i].ClientConfig)
	}
	return r.routeAdmission(ctx, c, configs)
}

func (r *router) routeMutating(ctx context.Context, key client.ObjectKey) error {
	c := &admissionv1.MutatingWebhookConfiguration{}
	if err := r.client.Get(ctx, key, c); err != nil {
		return err
	}
	c = c.DeepCopy()
	var configs []*admissionv1.WebhookClientConfig
	for i := range c.Webhooks {
		configs = append(configs, &c.Webhooks[i].ClientConfig)
	}
	return r.routeAdmission(ctx, c, configs)
}

func (r *router) routeAdmission(ctx context.Context, obj client.Object, configs []*admissionv1.WebhookClientConfig) error {
	changed := false
	for _, cc := range configs {
		if cc.Service == nil {
			continue
		}
		url, err := r.resolve(ctx, obj, reference{cc.Service.Namespace, cc.Service.Name, cc.Service.Path})
		if err != nil {
			return err
		}
		cc.Service, cc.URL, cc.CABundle = nil, &url, r.plane.pki.hooks.certPEM
		changed = true
	}
	if !changed {
		return nil
	}
	return r.client.Update(ctx, obj)
}

// resolve returns the URL that stands for a Service reference of obj.
func (r *router) resolve(ctx context.Context, obj client.Object, ref reference) (string, error) {
	if err := r.checkCertificate(ctx, obj, ref); err != nil {
		return "", err
	}
	deployment, err := r.deploymentOf(ctx, ref)
	if err != nil {
		return "", err
	}
	addr, err := r.plane.webhookAddress(*deployment)
	if err != nil {
		return "", err
	}
	path := "/"
	if ref.path != nil {
		path = *ref.path
	}
	return "https://" + addr + path, nil
}

// Routed waits until no webhook and no conversion refers to a Service any more; its error names those
// that do. What keeps one from being routed is in the stand-ins' log.
func (p *ControlPlane) Routed(ctx context.Context) error {
	var left []string
	for {
		now, err := p.unrouted(ctx)
		if err == nil && len(now) == 0 {
			return nil
		}
		if err == nil {
			left = now // kept for the message when the next look is cut off by ctx
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("waiting for webhooks to be routed: %w; left: %s (log: %s)",
				context.Cause(ctx), strings.Join(left, ", "), p.log("standins")), err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (p *ControlPlane) unrouted(ctx context.Context) (left []string, err error) {
	validating, mutating := &admissionv1.ValidatingWebhookConfigurationList{}, &admissionv1.MutatingWebhookConfigurationList{}
	crds := &apiextensionsv1.CustomResourceDefinitionList{}
	for _, list := range []client.ObjectList{validating, mutating, crds} {
		// Live: what was created a moment ago must not be missed.
		if err := p.house.live.List(ctx, list); err != nil {
			return nil, fmt.Errorf("listing webhooks: %w", err)
		}
	}
	for _, c := range validating.Items {
		if slices.ContainsFunc(c.Webhooks, func(w admissionv1.ValidatingWebhook) bool { return w.ClientConfig.Service != nil }) {
			left = append(left, c.Name)
		}
	}
	for _, c := range mutating.Items {
		if slices.ContainsFunc(c.Webhooks, func(w admissionv1.MutatingWebhook) bool { return w.ClientConfig.Service != nil }) {
			left = append(left, c.Name)
		}
	}
	for _, c := range crds.Items {
		if v := c.Spec.Conversion; v != nil && v.Webhook != nil && v.Webhook.ClientConfig != nil && v.Webhook.ClientConfig.Service != nil {
			left = append(left, c.Name)
		}
	}
	return left, nil
}

// checkCertificate demands what cert-manager would: without it, no caBundle in a real cluster.
func (r *router) checkCertificate(ctx context.Context, obj client.Object, ref reference) error {
	from := obj.GetAnnotations()[injectFrom]
	namespace, name, ok := strings.Cut(from, "/")
	if !ok {
		return fmt.Errorf("%w: annotation %s is %q, not namespace/name", errUnrouted, injectFrom, from)
	}
	cert := &unstructured.Unstructured{}
	cert.SetGroupVersionKind(certificateKind)
	// Live: the stub kinds are not worth a cache, and this happens once for each reference.
	if err := r.live.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, cert); err != nil {
		return fmt.Errorf("%w: Certificate %s: %w", errUnrouted, from, hideNotFound(err))
	}
	host := ref.name + "." + ref.namespace + ".svc"
	names, _, err := unstructured.NestedStringSlice(cert.Object, "spec", "dnsNames")
	if err != nil || !slices.Contains(names, host) {
		return fmt.Errorf("%w: Certificate %s is not for %s", errUnrouted, from, host)
	}
	return nil
}

// deploymentOf finds the Deployment whose Pods a Service selects.
func (r *router) deploymentOf(ctx context.Context, ref reference) (*client.ObjectKey, error) {
	svc := &corev1.Service{}
	if err := r.client.Get(ctx, client.ObjectKey{Namespace: ref.namespace, Name: ref.name}, svc); err != nil {
		return nil, fmt.Errorf("%w: Service %s/%s: %w", errUnrouted, ref.namespace, ref.name, hideNotFound(err))
	}
	list := &appsv1.DeploymentList{}
	if err := r.client.List(ctx, list, client.InNamespace(ref.namespace)); err != nil {
		return nil, fmt.Errorf("listing Deployments: %w", err)
	}
	selector := labels.SelectorFromSet(svc.Spec.Selector)
	for i := range list.Items {
		if len(svc.Spec.Selector) > 0 && selector.Matches(labels.Set(list.Items[i].Spec.Template.Labels)) {
			return new(client.ObjectKeyFromObject(&list.Items[i])), nil
		}
	}
	return nil, fmt.Errorf("%w: Service %s/%s selects no Deployment", errUnrouted, ref.namespace, ref.name)
}

// hideNotFound keeps the text of an error but not its meaning: that something else is missing must not
// be taken for the routed object's own absence.
func hideNotFound(err error) error {
	if apierrors.IsNotFound(err) {
		return errors.New(err.Error())
	}
	return err
}
