package hostselection

import "github.com/beskar7/beskar7/api/v1beta1"

// Meets says whether the recorded inventory of a host meets the requirements; an unknown inventory meets none.
func Meets(host *v1beta1.PhysicalHost, needs v1beta1.HardwareRequirements) bool {
	return host.Status.Hardware != nil && apply(hardwareFilters(&needs), host) == ""
}
