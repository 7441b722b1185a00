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
		Namespace: machine.Namespace, Machine: machine.Name, Cluster: req.Cluster, Owner: req.Owner, FailureDomain: req.FailureDomain,
		Requirements: machine.Spec.HardwareRequirements, Spread: machine.Spec.Spread, Reuse: machine.Spec.Reuse,
		Now: now, Selector: labels.Everything(),
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

// Placement says how the host that the machine has lies among those of the machine's owner. hosts are all of the namespace. An
// error wraps ErrSelector.
func Placement(req ClaimRequest, hosts []*v1beta1.PhysicalHost, host *v1beta1.PhysicalHost) (hostselection.Placement, error) {
	want, err := wanted(req, time.Time{})
	if err != nil {
		return hostselection.Placement{}, err
	}
	return hostselection.NewPool(want.Namespace, hosts...).Place(want, host), nil
}
