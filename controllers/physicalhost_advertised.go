package controllers

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/cluster-api/util/conditions"

	"github.com/beskar7/beskar7/api/v1beta1"
)

// phoneHomeBase is the URL under which this host's system reports.
func (r *PhysicalHostReconciler) phoneHomeBase(host *v1beta1.PhysicalHost) string {
	if host.Spec.PhoneHomeURL != "" {
		return host.Spec.PhoneHomeURL
	}
	return r.PhoneHomeURL
}

// uncovered says at which of a host's URLs the media door is not trusted, and why; "" if at all of them it is.
func (r *PhysicalHostReconciler) uncovered(host *v1beta1.PhysicalHost) string {
	if r.Certificate == nil {
		return ""
	}
	if err := r.Certificate.Covers(r.phoneHomeBase(host)); err != nil {
		return fmt.Sprintf("the certificate of the media server does not do for the phone-home URL %s: %v. The booted system cannot report how its bootstrap ended, "+
			"unless something in front of the media server shows another certificate", r.phoneHomeBase(host), err)
	}
	if err := r.Certificate.Covers(r.mediaBase(host)); err != nil {
		return fmt.Sprintf("the certificate of the media server does not do for the media URL %s: %v. A BMC that verifies certificates cannot read its media, "+
			"unless something in front of the media server shows another certificate", r.mediaBase(host), err)
	}
	return ""
}

// setAdvertised tells of a certificate that does not do for the URLs that this host is given. Hosts that never had a reason to
// complain do not have the condition.
func setAdvertised(host *v1beta1.PhysicalHost, g *gathered) {
	switch {
	case g.uncovered != "":
		conditions.Set(host, condition(v1beta1.AdvertisedURLsTrustedCondition, metav1.ConditionFalse, v1beta1.ReasonCertificateMismatch, g.uncovered))
	case conditions.Has(host, v1beta1.AdvertisedURLsTrustedCondition):
		conditions.Set(host, condition(v1beta1.AdvertisedURLsTrustedCondition, metav1.ConditionTrue, v1beta1.ReasonCertificateCovers, ""))
	}
}
