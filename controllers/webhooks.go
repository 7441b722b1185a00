package controllers

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/annotations"
	"sigs.k8s.io/cluster-api/util/topology"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/beskar7/beskar7/api/v1beta1"
)

// +kubebuilder:webhook:verbs=create;update,path=/validate-infrastructure-cluster-x-k8s-io-v1beta1-beskar7machinetemplate,mutating=false,failurePolicy=fail,matchPolicy=Equivalent,groups=infrastructure.cluster.x-k8s.io,resources=beskar7machinetemplates,versions=v1beta1,name=validation.beskar7machinetemplate.infrastructure.cluster.x-k8s.io,sideEffects=None,admissionReviewVersions=v1
// +kubebuilder:webhook:verbs=create;update,path=/validate-infrastructure-cluster-x-k8s-io-v1beta1-beskar7clustertemplate,mutating=false,failurePolicy=fail,matchPolicy=Equivalent,groups=infrastructure.cluster.x-k8s.io,resources=beskar7clustertemplates,versions=v1beta1,name=validation.beskar7clustertemplate.infrastructure.cluster.x-k8s.io,sideEffects=None,admissionReviewVersions=v1
// +kubebuilder:webhook:verbs=update,path=/validate-infrastructure-cluster-x-k8s-io-v1beta1-beskar7cluster,mutating=false,failurePolicy=fail,matchPolicy=Equivalent,groups=infrastructure.cluster.x-k8s.io,resources=beskar7clusters,versions=v1beta1,name=validation.beskar7cluster.infrastructure.cluster.x-k8s.io,sideEffects=None,admissionReviewVersions=v1

// SetupWebhooks registers the webhooks: only for what CEL rules cannot see, such as a topology dry run.
func SetupWebhooks(mgr ctrl.Manager) error {
	if err := ctrl.NewWebhookManagedBy(mgr, &v1beta1.Beskar7MachineTemplate{}).WithValidator(machineTemplateValidator{}).Complete(); err != nil {
		return fmt.Errorf("set up the Beskar7MachineTemplate webhook: %w", err)
	}
	if err := ctrl.NewWebhookManagedBy(mgr, &v1beta1.Beskar7ClusterTemplate{}).WithValidator(clusterTemplateValidator{}).Complete(); err != nil {
		return fmt.Errorf("set up the Beskar7ClusterTemplate webhook: %w", err)
	}
	if err := ctrl.NewWebhookManagedBy(mgr, &v1beta1.Beskar7Cluster{}).WithValidator(clusterValidator{}).Complete(); err != nil {
		return fmt.Errorf("set up the Beskar7Cluster webhook: %w", err)
	}
	return nil
}

const immutable = "is immutable: make a new template and point to it, so that the change is rolled out"

var templatePath = field.NewPath("spec", "template")

// machineTemplateValidator keeps templates immutable, as rollouts rotate the template's name; the topology controller's dry
// runs are let through.
type machineTemplateValidator struct{}

func (machineTemplateValidator) ValidateCreate(_ context.Context, t *v1beta1.Beskar7MachineTemplate) (admission.Warnings, error) {
	return nil, invalidTemplate(t, "Beskar7MachineTemplate", t.Name, validateMachineTemplate(t))
}

func (machineTemplateValidator) ValidateUpdate(ctx context.Context, before, t *v1beta1.Beskar7MachineTemplate) (admission.Warnings, error) {
	errs := validateMachineTemplate(t)
	if changed, err := templateChanged(ctx, t, equality.Semantic.DeepEqual(before.Spec, t.Spec)); err != nil {
		return nil, err
	} else if changed {
		errs = append(errs, field.Forbidden(templatePath, immutable))
	}
	return nil, invalidTemplate(t, "Beskar7MachineTemplate", t.Name, errs)
}

func (machineTemplateValidator) ValidateDelete(context.Context, *v1beta1.Beskar7MachineTemplate) (admission.Warnings, error) {
	return nil, nil
}

func validateMachineTemplate(t *v1beta1.Beskar7MachineTemplate) field.ErrorList {
	errs := t.Spec.Template.ObjectMeta.Validate(templatePath.Child("metadata"))
	if t.Spec.Template.Spec.HostRef != nil {
		errs = append(errs, field.Forbidden(templatePath.Child("spec", "hostRef"), "a template cannot name a host: use hostSelector"))
	}
	if t.Spec.Template.Spec.ProviderID != "" {
		errs = append(errs, field.Forbidden(templatePath.Child("spec", "providerID"), "a template cannot have a provider id"))
	}
	if s := t.Spec.Template.Spec.HostSelector; s != nil {
		if _, err := metav1.LabelSelectorAsSelector(s); err != nil {
			errs = append(errs, field.Invalid(templatePath.Child("spec", "hostSelector"), s, err.Error()))
		}
	}
	return errs
}

// clusterTemplateValidator keeps templates immutable.
type clusterTemplateValidator struct{}

func (clusterTemplateValidator) ValidateCreate(_ context.Context, t *v1beta1.Beskar7ClusterTemplate) (admission.Warnings, error) {
	return nil, invalidTemplate(t, "Beskar7ClusterTemplate", t.Name, t.Spec.Template.ObjectMeta.Validate(templatePath.Child("metadata")))
}

func (clusterTemplateValidator) ValidateUpdate(ctx context.Context, before, t *v1beta1.Beskar7ClusterTemplate) (admission.Warnings, error) {
	errs := t.Spec.Template.ObjectMeta.Validate(templatePath.Child("metadata"))
	if changed, err := templateChanged(ctx, t, equality.Semantic.DeepEqual(before.Spec, t.Spec)); err != nil {
		return nil, err
	} else if changed {
		errs = append(errs, field.Forbidden(templatePath, immutable))
	}
	return nil, invalidTemplate(t, "Beskar7ClusterTemplate", t.Name, errs)
}

func (clusterTemplateValidator) ValidateDelete(context.Context, *v1beta1.Beskar7ClusterTemplate) (admission.Warnings, error) {
	return nil, nil
}

// templateChanged is false for equal specs and for the topology controller's dry runs.
func templateChanged(ctx context.Context, t metav1.Object, equal bool) (bool, error) {
	if equal {
		return false, nil
	}
	req, err := admission.RequestFromContext(ctx)
	if err != nil {
		return false, apierrors.NewBadRequest(fmt.Sprintf("expected an admission request: %v", err))
	}
	return !topology.IsDryRunRequest(req, t), nil
}

func invalidTemplate(_ metav1.Object, kind, name string, errs field.ErrorList) error {
	if len(errs) == 0 {
		return nil
	}
	return apierrors.NewInvalid(v1beta1.GroupVersion.WithKind(kind).GroupKind(), name, errs)
}

// clusterValidator keeps an externally managed cluster externally managed: two managers would fight over it.
type clusterValidator struct{}

func (clusterValidator) ValidateCreate(context.Context, *v1beta1.Beskar7Cluster) (admission.Warnings, error) {
	return nil, nil
}

func (clusterValidator) ValidateUpdate(_ context.Context, before, c *v1beta1.Beskar7Cluster) (admission.Warnings, error) {
	if annotations.IsExternallyManaged(before) && !annotations.IsExternallyManaged(c) {
		return nil, invalidTemplate(c, "Beskar7Cluster", c.Name, field.ErrorList{
			field.Forbidden(field.NewPath("metadata", "annotations").Key(clusterv1.ManagedByAnnotation), "cannot be removed once it is set")})
	}
	return nil, nil
}

func (clusterValidator) ValidateDelete(context.Context, *v1beta1.Beskar7Cluster) (admission.Warnings, error) {
	return nil, nil
}
