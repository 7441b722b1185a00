package daemon

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"

	"k8s.io/client-go/rest"
)

// Installation tells this one from every other, the same after each restart: the cluster by what signs its API server, and the
// namespace. Sessions at BMCs carry it as a mark.
func Installation(config *rest.Config, namespace string) string {
	authority := config.CAData
	if len(authority) == 0 {
		authority, _ = os.ReadFile(config.CAFile) // none: the address has to do
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %s %s", authority, config.Host, namespace))
	return "beskar7-" + hex.EncodeToString(sum[:8])
}
