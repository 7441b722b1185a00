package coordinator

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/hostselection"
)

// wanted is what host selection is asked for a claim, in both modes. An error wraps ErrSelector.
func wanted(req ClaimRequest, now time.Time) (hostselection.Request, error) {
	machine := req.Machine
	want := hostselection.Request{
		Namespace: machine.Namespace, Machine: machine.Name, FailureDomain: req.FailureDomain,
		Requirements: machine.Spec.HardwareRequirements, Now: now, Selector: labels.Everything(),
	}
	switch machine.Spec.Reuse {
	case v1beta1.ReuseRequire:
		// Without a predecessor there is nothing to wait for: the first machines of an owner take any host.
		want.Preferred, want.Require = req.PreferredHost, req.PreferredHost != ""
	case v1beta1.ReusePrefer:
		want.Preferred = req.PreferredHost
	case v1beta1.ReuseNone:
	}
	if machine.Spec.HostSelector != nil {
		selector, err := metav1.LabelSelectorAsSelector(machine.Spec.HostSelector)
		if err != nil {
			return hostselection.Request{}, fmt.Errorf("%w: %w", ErrSelector, err)
		}
		want.Selector = selector
	}
	return want, nil
}
