package controllers

import (
	"context"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/controllers/media"
	"github.com/beskar7/beskar7/pkg/coordinator"
)

// Field indexes of PhysicalHosts, besides those that others name.
const (
	hostByCluster = "spec.claim.cluster"
	hostBySecret  = "spec.redfishConnection.secrets"
	// hostByNeededSecret has the claimed hosts only.
	hostByNeededSecret = "spec.redfishConnection.secrets.claimed"
	hostByBootstrap    = "spec.boot.bootstrapSecret"
	hostByServer       = "status.hardware.identities"
)

// IndexHosts registers every index of hosts; SetupAll does it, too.
func IndexHosts(ctx context.Context, indexer client.FieldIndexer) error {
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
		media.HostByToken: media.IndexHostByToken,
		hostByServer:      serverIdentities,
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
