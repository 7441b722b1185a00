package controllers

import (
	"context"
	"fmt"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/coordinator"
	"github.com/beskar7/beskar7/pkg/redfish"
)

// Field indexes of PhysicalHosts, besides coordinator.HostByClaimMachine.
const (
	hostByCluster = "spec.claim.cluster"
	hostBySecret  = "spec.redfishConnection.secrets"
	// hostByNeededSecret has the claimed hosts only.
	hostByNeededSecret = "spec.redfishConnection.secrets.claimed"
	hostByBootstrap    = "spec.boot.bootstrapSecret"
	hostByToken        = "spec.claim.media.tokenHash"
	hostByServer       = "status.hardware.identities"
)

// indexHosts registers every index of hosts.
func indexHosts(ctx context.Context, indexer client.FieldIndexer) error {
	indexes := map[string]func(*v1beta1.PhysicalHost) []string{
		hostByCluster: func(h *v1beta1.PhysicalHost) []string {
			if h.Spec.Claim == nil {
				return nil
			}
			return []string{h.Spec.Claim.Cluster}
		},
		hostBySecret:       secretsOf,
		hostByNeededSecret: secretsNeededBy,
		hostByBootstrap: func(h *v1beta1.PhysicalHost) []string {
			if h.Spec.Boot == nil {
				return nil
			}
			return []string{h.Spec.Boot.BootstrapSecret}
		},
		hostByToken: func(h *v1beta1.PhysicalHost) []string {
			if h.Spec.Claim == nil || h.Spec.Claim.Media == nil {
				return nil
			}
			return []string{h.Spec.Claim.Media.TokenHash}
		},
		hostByServer: serverIdentities,
	}
	for field, extract := range indexes {
		if err := indexer.IndexField(ctx, &v1beta1.PhysicalHost{}, field, func(o client.Object) []string {
			return extract(o.(*v1beta1.PhysicalHost))
		}); err != nil {
			return fmt.Errorf("index PhysicalHosts by %s: %w", field, err)
		}
	}
	if err := indexer.IndexField(ctx, &v1beta1.PhysicalHost{}, coordinator.HostByClaimMachine, coordinator.IndexHostByClaimMachine); err != nil {
		return fmt.Errorf("index PhysicalHosts by %s: %w", coordinator.HostByClaimMachine, err)
	}
	return nil
}

// serverIdentities are the names under which two PhysicalHosts can be found to be the same server: endpoint and system, SMBIOS
// UUID, serial number with model.
func serverIdentities(h *v1beta1.PhysicalHost) []string {
	var ids []string
	system := h.Spec.RedfishConnection.SystemID
	if system == "" && h.Status.BMC != nil {
		system = h.Status.BMC.SystemID
	}
	if endpoint, err := redfish.EndpointKey(h.Spec.RedfishConnection.Address); err == nil && system != "" {
		ids = append(ids, "endpoint "+endpoint+" "+system)
	}
	if hw := h.Status.Hardware; hw != nil {
		if realUUID(hw.SystemUUID) {
			ids = append(ids, "uuid "+strings.ToLower(hw.SystemUUID))
		}
		if hw.SerialNumber != "" && hw.Model != "" {
			ids = append(ids, "serial "+hw.Manufacturer+" "+hw.Model+" "+hw.SerialNumber)
		}
	}
	return ids
}

// realUUID is false for the place holders that boards ship with, which many servers share.
func realUUID(uuid string) bool {
	switch strings.ToLower(uuid) {
	case "", "00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff",
		"03000200-0400-0500-0006-000700080009", "00020003-0004-0005-0006-000700080009":
		return false
	}
	return true
}
