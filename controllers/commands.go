package controllers

import (
	"fmt"

	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"

	"github.com/beskar7/beskar7/api/v1beta1"
)

// The commands that messages give to people: each ends a wait, or has something tried now, and can be copied as it stands, up to the
// end of the message: nothing follows the last one.

func annotateHost(h *v1beta1.PhysicalHost, annotation, value string) string {
	return fmt.Sprintf("kubectl -n %s annotate ph %s %s=%s --overwrite", h.Namespace, h.Name, annotation, value)
}

func patchHost(h *v1beta1.PhysicalHost, patch string) string {
	return fmt.Sprintf("kubectl -n %s patch ph %s --type merge -p '%s'", h.Namespace, h.Name, patch)
}

// retryNow has the BMC tried at once.
func retryNow(h *v1beta1.PhysicalHost) string {
	return annotateHost(h, v1beta1.RetryNowAnnotation, `"$(date +%s)"`)
}

// releaseUnverified ends the present claim, into quarantine.
func releaseUnverified(h *v1beta1.PhysicalHost) string {
	return annotateHost(h, v1beta1.ReleaseUnverifiedAnnotation, h.Spec.Claim.ID)
}

// consent has an unclaimed host powered off and emptied.
func consent(h *v1beta1.PhysicalHost) string {
	return patchHost(h, `{"spec":{"consentToErase":true}}`)
}

// deleteMachine gives the host back: the Machine of Cluster API, if the host's own machine is known to have one.
func deleteMachine(h *v1beta1.PhysicalHost, m *v1beta1.Beskar7Machine) string {
	if m != nil {
		for _, owner := range m.OwnerReferences {
			if owner.Kind == "Machine" {
				return fmt.Sprintf("kubectl -n %s delete machines.%s %s", h.Namespace, clusterv1.GroupVersion.Group, owner.Name)
			}
		}
	}
	return fmt.Sprintf("kubectl -n %s delete beskar7machines %s", h.Namespace, h.Spec.Claim.Machine)
}
