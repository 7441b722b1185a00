package controllers

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/actuator"
	"github.com/beskar7/beskar7/pkg/provision"
)

// How long a BMC is left alone after a change is what the vendor table says of the row that the driver chose, or the owner's word.
func TestRestOfAHost(t *testing.T) {
	host := &v1beta1.PhysicalHost{}
	if got := restOf(host); got != (actuator.Rest{}) {
		t.Errorf("of an unknown BMC: %+v", got)
	}
	host.Status.BMC = &v1beta1.BMCReport{Vendor: "fujitsu-irmc"}
	if got := restOf(host); got != (actuator.Rest{AfterEject: 2 * time.Second, AfterInsert: 20 * time.Second}) {
		t.Errorf("of the table: %+v", got)
	}
	if got := newRig(t).host.order(host, &gathered{}, provision.Decision{}).Rest; got.AfterInsert != 20*time.Second {
		t.Errorf("an operation is told %+v", got)
	}
	host.Spec.RedfishConnection.Tuning = &v1beta1.Tuning{SettleTime: &metav1.Duration{Duration: 3 * time.Second}}
	if got, all := restOf(host), 3*time.Second; got != (actuator.Rest{AfterEject: all, AfterInsert: all, AfterPower: all}) {
		t.Errorf("of its owner: %+v", got)
	}
	host.Spec.RedfishConnection.Tuning.SettleTime.Duration = 0
	if got := restOf(host); got != (actuator.Rest{}) {
		t.Errorf("its owner wants none: %+v", got)
	}
}
