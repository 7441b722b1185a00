package scope

import (
	"sigs.k8s.io/cluster-api/util/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Owned says whether an object is this manager's: whether its watch-filter label has the value of --watch-filter. Without a filter
// all objects are. It is the one predicate of scope: two managers with different filters may share an API server, and never a BMC.
//
// It is asked where objects come in (events, mappings, resyncs), where hosts are chosen, counted or served, at the start of every
// reconcile, since a key may come from anywhere, and on the live read right before a BMC is changed. It is not asked of an object
// that another one names: whether a claim's machine exists, who else needs a Secret, and which other object is the same server, are
// facts whoever owns it.
func Owned(filter string, o client.Object) bool {
	return filter == "" || labels.HasWatchLabel(o, filter)
}
