package v1beta1

import "fmt"

// ProviderID is the id of the node that runs on a host for one claim.
func ProviderID(namespace, host, claimID string) string {
	return fmt.Sprintf("%s://%s/%s/%s", ProviderIDScheme, namespace, host, claimID)
}

// ClaimedBy says whether the host's claim and the machine's hostRef name each other. Only then may hardware be touched.
func (h *PhysicalHost) ClaimedBy(m *Beskar7Machine) bool {
	claim, ref := h.Spec.Claim, m.Spec.HostRef
	return claim != nil && ref != nil && h.Namespace == m.Namespace &&
		claim.Machine == m.Name && claim.ID == ref.ClaimID && ref.Name == h.Name
}
