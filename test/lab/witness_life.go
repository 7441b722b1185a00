package lab

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// interval is a time during which something was true of a host.
type interval struct {
	opened, closed span
	// open: it was still true at the end; closed is not set.
	open bool
	// host as it was when the interval opened: its address, claim id, boot mode and its owner's word stay for the whole interval.
	host *hostVersion
}

// may says whether it can have been true at t.
func (i interval) may(t time.Time) bool {
	return !t.Before(i.opened.from.Add(-clockSlack)) && (i.open || !t.After(i.closed.to.Add(clockSlack)))
}

// must says whether it was certainly true at t.
func (i interval) must(t time.Time) bool {
	return t.After(i.opened.to.Add(clockSlack)) && (i.open || t.Before(i.closed.from.Add(-clockSlack)))
}

// track is when something was true, oldest first.
type track []interval

// set says what is true of a host from a write on; nil: it is not true.
func (t *track) set(host *hostVersion, at span) {
	if n := len(*t); n > 0 && (*t)[n-1].open {
		last := &(*t)[n-1]
		if host != nil && host.address == last.host.address && host.claimID() == last.host.claimID() && host.mode == last.host.mode &&
			host.bearsAgain == last.host.bearsAgain {
			return
		}
		last.open, last.closed = false, at
	}
	if host != nil {
		*t = append(*t, interval{opened: at, open: true, host: host})
	}
}

// tenure is one claim on one host, from its first to its last version.
type tenure struct {
	interval
	key types.NamespacedName
	// confirmed, marked: at some time, by the machine's hostRef and by a release mark.
	confirmed, marked bool
	// granted, bound: at some time, a capability to read its medium, and that its system was seen.
	granted, bound bool
	// cleared: the claim was taken away and the host stayed; quarantined in that write or before.
	cleared, quarantined bool
	// unordered: it was cleared together with what the host should boot.
	unordered bool
}

// life is all that the API's history says of one PhysicalHost name.
type life struct {
	key types.NamespacedName
	uid types.UID
	now *hostVersion
	// addresses that it ever had.
	addresses []string
	// permitted: hardware work is: the claim is confirmed or being released, or nobody's with consent to erase.
	permitted track
	// orphaned: an unbound claim without a release mark whose machine does not exist.
	orphaned track
	// bound: claimed and bound, and no release was asked for.
	bound track
	// offered: Available, and no claim.
	offered track
	tenures []*tenure
}

// refresh derives the tracks from the present host and its machine.
func (l *life) refresh(machine *machineVersion, at span) {
	v := l.now
	when := func(is bool) *hostVersion {
		if is {
			return v
		}
		return nil
	}
	there := v != nil
	if there && !slices.Contains(l.addresses, v.address) {
		l.addresses = append(l.addresses, v.address)
	}
	claimed := there && v.claim != nil
	marked := claimed && v.claim.Release != nil
	confirmed := claimed && machine.confirms(l.key.Name, v.claim.ID)
	if claimed {
		t := l.tenures[len(l.tenures)-1]
		t.confirmed, t.marked = t.confirmed || confirmed, t.marked || marked
		t.granted, t.bound = t.granted || v.claim.Media != nil, t.bound || v.claim.Bound
	}
	l.track(machine, at, when, there, claimed, marked, confirmed)
}

// track opens and closes the tracks of what a host may and may not have done to it.
func (l *life) track(machine *machineVersion, at span, when func(bool) *hostVersion, there, claimed, marked, confirmed bool) {
	v := l.now
	l.permitted.set(when(marked || confirmed || there && !claimed && v.consent), at)
	l.orphaned.set(when(claimed && machine == nil && !marked && !v.claim.Bound), at)
	l.bound.set(when(claimed && v.claim.Bound && !marked), at)
	l.offered.set(when(there && !claimed && v.available), at)
}

// had says whether the host ever had an address.
func (l *life) had(address string) bool { return slices.Contains(l.addresses, address) }

// permits says whether hardware work at t can have been legitimate for the server at an address.
func (l *life) permits(address string, t time.Time, grace time.Duration) bool {
	for _, i := range l.permitted {
		if i.host.address == address && i.may(t) {
			return true
		}
	}
	for _, i := range l.orphaned {
		if grace > 0 && i.host.address == address && i.may(t) && !t.Before(i.opened.from.Add(grace-clockSlack)) {
			return true
		}
	}
	return false
}
