package lab

import (
	"cmp"
	"slices"
	"sort"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/beskar7/beskar7/api/v1beta1"
)

// clockSlack covers that time stamps are rounded, and that a wall clock may be slewed during a run.
const clockSlack = 2 * time.Millisecond

// history is the API server's record, up to a moment.
type history struct {
	// namespace to judge; empty means all. Writes of other namespaces are in the record: they, too, may permit an act.
	namespace string
	until     time.Time
	options   WitnessOptions
	// writes in any order.
	writes []write
}

// span brackets a moment: not before from, not after to.
type span struct{ from, to time.Time }

// kind of an object.
type kind int

const (
	hostKind kind = iota
	machineKind
)

// write is one successful change of an object, with all of the object that matters here after it.
type write struct {
	at   span
	kind kind
	key  types.NamespacedName
	uid  types.UID
	// version is the resourceVersion. Not set for a removal.
	version uint64
	removed bool
	// host or machine, by kind; nil for a removal.
	host    *hostVersion
	machine *machineVersion
}

// hostVersion is what matters of one version of a PhysicalHost.
type hostVersion struct {
	address     string
	consent     bool
	quarantined bool
	// available is the condition, reported says that state or conditions tell of an orphan, a quarantine or a blocked release.
	available, reported bool
	claim               *v1beta1.Claim
	mode                v1beta1.BootMode
	// bearsAgain is the owner's word that a Live system may boot again after it lost its power.
	bearsAgain bool
}

// claimID is empty when there is no claim.
func (v *hostVersion) claimID() string {
	if v == nil || v.claim == nil {
		return ""
	}
	return v.claim.ID
}

// machineVersion is what matters of one version of a Beskar7Machine.
type machineVersion struct {
	ref        *v1beta1.HostRef
	providerID string
}

// confirms says whether the machine names this claim of this host.
func (m *machineVersion) confirms(host, claimID string) bool {
	return m != nil && m.ref != nil && m.ref.Name == host && m.ref.ClaimID == claimID
}

// ordered puts the writes in the order of their effect and narrows their spans; see Witness for the rule.
func ordered(writes []write) []write {
	var versions, removals []write
	for _, w := range writes {
		if w.removed {
			removals = append(removals, w)
		} else {
			versions = append(versions, w)
		}
	}
	versions = distinct(versions)
	narrow(versions)
	return merge(versions, place(versions, removals))
}

// distinct sorts by version and drops repetitions: an update that changed nothing is answered with the version that is there.
func distinct(writes []write) []write {
	slices.SortStableFunc(writes, func(a, b write) int { return cmp.Compare(a.version, b.version) })
	out := writes[:0]
	for _, w := range writes {
		if n := len(out); n > 0 && out[n-1].version == w.version {
			last := &out[n-1]
			last.at = span{earlier(last.at.from, w.at.from), earlier(last.at.to, w.at.to)}
			continue
		}
		out = append(out, w)
	}
	return out
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// narrow uses that a version was committed after all lower ones had arrived and before any higher one was answered.
func narrow(writes []write) {
	for i := 1; i < len(writes); i++ {
		if before := writes[i-1].at.from; before.After(writes[i].at.from) {
			writes[i].at.from = before
		}
	}
	for i := len(writes) - 2; i >= 0; i-- {
		writes[i].at.to = earlier(writes[i].at.to, writes[i+1].at.to)
	}
}

// placed is a removal and the index of the version before which it comes.
type placed struct {
	before int
	write  write
}

// place finds where removals belong: after the last version of their object, before the object's next life, else late.
func place(versions, removals []write) []placed {
	type name struct {
		kind kind
		key  types.NamespacedName
	}
	lives := map[name][]int{}
	for i, w := range versions {
		n := name{w.kind, w.key}
		lives[n] = append(lives[n], i)
	}
	var out []placed
	for _, r := range removals {
		at := sort.Search(len(versions), func(i int) bool { return versions[i].at.from.After(r.at.to) })
		after := 0
		for _, i := range lives[name{r.kind, r.key}] {
			if versions[i].uid == r.uid {
				after = i + 1
			} else if i >= after && after > 0 {
				at = min(at, i)
				break
			}
		}
		out = append(out, placed{max(at, after), r})
	}
	slices.SortStableFunc(out, func(a, b placed) int { return cmp.Or(a.before-b.before, a.write.at.to.Compare(b.write.at.to)) })
	return out
}

func merge(versions []write, removals []placed) []write {
	out := make([]write, 0, len(versions)+len(removals))
	for i, w := range versions {
		for len(removals) > 0 && removals[0].before <= i {
			out, removals = append(out, removals[0].write), removals[1:]
		}
		out = append(out, w)
	}
	for _, r := range removals {
		out = append(out, r.write)
	}
	return out
}
