package witness

import (
	"slices"
	"time"
)

// object is stored JSON; absent fields are empty.
type object map[string]any

func (o object) at(path ...string) any {
	var v any = map[string]any(o)
	for _, p := range path {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[p]
	}
	return v
}

func (o object) text(path ...string) string { s, _ := o.at(path...).(string); return s }
func (o object) yes(path ...string) bool    { b, _ := o.at(path...).(bool); return b }
func (o object) has(path ...string) bool    { return o.at(path...) != nil }

const (
	pausedAnnotation = "cluster.x-k8s.io/paused"
	movedAnnotation  = "clusterctl.cluster.x-k8s.io/delete-for-move"
)

type id struct{ site, kind, name string }

// world is what is true at one moment.
type world struct {
	objects map[id]object
	servers map[string]Server
	// boots are the power-ons of one claim, by its id.
	boots map[string][]Request
	// last is the last change of each server.
	last map[string]Request
	// lost: power went away by itself since the last boot.
	lost map[string]bool
	// another is since when another server than the recorded one answers.
	another map[string]time.Time
}

func newWorld() *world {
	return &world{objects: map[id]object{}, servers: map[string]Server{}, boots: map[string][]Request{}, last: map[string]Request{}, lost: map[string]bool{}, another: map[string]time.Time{}}
}

// standing is who says what of a host.
type standing struct {
	host, claim, machine  object
	exists, claimed       bool
	agreed, paused, bound bool
	released, quarantined bool
}

func (w *world) standing(site, host string) standing {
	h, ok := w.objects[id{site, "PhysicalHost", host}]
	s := standing{host: h, exists: ok, quarantined: h.has("spec", "quarantine")}
	claim, _ := h.at("spec", "claim").(map[string]any)
	s.claim, s.claimed = claim, claim != nil
	s.machine = w.objects[id{site, "Beskar7Machine", s.claim.text("machine")}]
	cluster := w.objects[id{site, "Cluster", s.claim.text("cluster")}]
	s.agreed = s.claimed && s.machine.text("spec", "hostRef", "name") == host && s.machine.text("spec", "hostRef", "claimID") == s.claim.text("id")
	s.bound, s.released = s.claim.yes("bound"), s.claim.has("release")
	s.paused = h.yes("spec", "paused") || h.has("metadata", "annotations", pausedAnnotation) || h.has("metadata", "annotations", movedAnnotation) ||
		s.claimed && (cluster.yes("spec", "paused") || s.machine.has("metadata", "annotations", pausedAnnotation))
	return s
}

// unread says why nobody may read bootstrap data of a machine from a host's medium (I12), or "". A bound Live system whose owner says
// that its image bears a second boot reads them again.
func (s standing) unread(machine string) string {
	switch {
	case !s.agreed:
		return "claim and machine do not name each other"
	case s.claim.text("machine") != machine:
		return "the claim is machine " + s.claim.text("machine") + "'s"
	case s.released:
		return "the host is in release"
	case s.bound && s.host.text("spec", "powerPolicy") != "AlwaysOn":
		return "the host is bound"
	}
	return ""
}

// forbids says why a request is wrong for what is stored, or "".
func (s standing) forbids(r Request, w *world, bootTimeout time.Duration) string {
	boots := slices.Contains([]string{On, Arm, Insert}, r.Op)
	off := r.Before.Power == "Off"
	switch {
	case !s.exists:
		return "I4: the server of no PhysicalHost was changed"
	case s.paused:
		return "I5: a paused host was changed"
	case !s.claimed && (boots || !s.host.yes("spec", "consentToErase") || s.quarantined):
		return "I4: an unclaimed host was changed"
	case !s.claimed:
		return ""
	case s.released && boots:
		return "I4: a host in release was made to boot"
	case s.released:
		return ""
	case !s.agreed:
		return "I4: claim and machine do not name each other"
	case s.quarantined:
		return "I5: a quarantined host was changed"
	case s.bound:
		return s.forbidsBound(r, off, boots)
	}
	return s.forbidsHeld(r, w, off, bootTimeout)
}

// forbidsHeld is forbids for a host that is being prepared, or boots.
func (s standing) forbidsHeld(r Request, w *world, off bool, bootTimeout time.Duration) string {
	cut := r.Op == ForceOff || r.Op == Shutdown
	switch {
	case cut:
		return s.forbidsOff(r, w, bootTimeout)
	case r.Op != Disarm && !off:
		return "D11: media or boot of a running server were changed"
	case r.Op == On && (!r.Before.Armed || len(r.Before.Media) == 0):
		return "I4: powered on without our medium, armed"
	}
	return ""
}

// forbidsBound is forbids for a host whose system was seen.
func (s standing) forbidsBound(r Request, off, boots bool) string {
	install := s.host.text("spec", "boot", "bootMode") == "Install"
	policy := s.host.text("spec", "powerPolicy")
	switch {
	case install && r.Op == Disarm:
		return ""
	case !off:
		return "I5: a bound, running system was touched"
	case install && boots && r.Op != On:
		return "I5: an installed system was to be installed again"
	case policy == "Observe":
		return "I5: its owner wants it left as it is"
	case !install && policy != "AlwaysOn":
		return "I5: a Live system that lost its power was booted again"
	}
	return ""
}

// forbidsOff: a boot of ours has its time.
func (s standing) forbidsOff(r Request, w *world, bootTimeout time.Duration) string {
	boots := w.boots[s.claim.text("id")]
	if n := len(boots); n > 0 && !w.lost[r.Host] && r.At.Sub(boots[n-1].At) < bootTimeout {
		return "I10: a boot of ours was ended before its time"
	}
	return ""
}
