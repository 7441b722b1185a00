package provision

// rule is one line of the decision table: the first that applies decides.
type rule struct {
	name   string
	when   func(Facts) bool
	state  State
	action Action
	why    string
}

// Decide gives the next step. Exactly one rule fires for any facts: each table ends in a rule that always applies.
func Decide(f Facts) Decision {
	for _, r := range table(f) {
		if r.when(f) {
			return Decision{State: stateOf(f, r.state), Action: r.action, Rule: r.name}
		}
	}
	return Decision{State: Enrolling, Action: None, Rule: "none"}
}

// stateOf overrides the label of a rule where the host as a whole has a stronger one.
func stateOf(f Facts, s State) State {
	switch {
	case s == Releasing && f.ReleaseOverdue:
		return ReleaseBlocked
	case s != Paused && s != Releasing && f.Quarantined:
		return Quarantined
	}
	return s
}

func table(f Facts) []rule {
	switch {
	case f.Paused:
		return pausedRules
	case f.Claim == ClaimNone:
		return unclaimedRules
	case f.Claim == ClaimHeld && f.Bound:
		return boundRules
	case f.Claim == ClaimHeld:
		return provisioningRules
	case f.Claim == ClaimReleasing:
		return releasingRules
	}
	return inertRules
}

func always(Facts) bool       { return true }
func unobserved(f Facts) bool { return !f.Observed }
func off(f Facts) bool        { return f.Power == PowerStateOff }
func on(f Facts) bool         { return f.Power == PowerStateOn }
func moving(f Facts) bool {
	return f.Power == PowerStatePoweringOn || f.Power == PowerStatePoweringOff
}
func otherServer(f Facts) bool { return f.OtherServer }
func duplicate(f Facts) bool   { return f.Duplicate }
func unclear(f Facts) bool     { return f.Power == PowerStateUnknown || f.Media == MediaUnknown }

var pausedRules = []rule{
	{"paused", always, Paused, None, "paused: nothing is touched; what happens next is decided after the pause"},
}

// inertRules are for claims that both sides do not agree on: no hardware is touched (I2, I4).
var inertRules = []rule{
	{"give-up", func(f Facts) bool { return f.GiveUp && orphan(f) }, Quarantined, GiveUpClaim, "a person ended the orphan's claim unverified"},
	{"unconfirmed", func(f Facts) bool { return f.Claim == ClaimUnconfirmed }, Claimed, None, "the machine does not name the claim yet"},
	{"claim-expired", func(f Facts) bool { return f.Claim == ClaimExpired }, Claimed, ClearClaim, "nobody confirmed the claim in time; it never touched hardware"},
	{"orphan-bound", func(f Facts) bool { return f.Claim == ClaimOrphanBound && !f.Quarantined }, Orphaned, QuarantineOrphan, "a running system without its machine: a person decides"},
	{"orphan-expired", func(f Facts) bool { return f.Claim == ClaimOrphanExpired && !f.Quarantined }, Orphaned, ReleaseOrphan, "the machine did not come back, and nothing of it was ever seen running: the release is marked"},
	{"orphan", always, Orphaned, None, "the machine is gone without a release mark: nothing is touched"},
}

func orphan(f Facts) bool {
	return f.Claim == ClaimOrphaned || f.Claim == ClaimOrphanExpired || f.Claim == ClaimOrphanBound
}

// unclaimedRules never touch a host (I4), but for its owner's explicit consent.
var unclaimedRules = []rule{
	{"delete", func(f Facts) bool { return f.Deleting }, Deleting, RemoveFinalizer, "nobody's: it can go"},
	{"quarantined", func(f Facts) bool { return f.Quarantined }, Quarantined, None, "out of the pool until a person removes spec.quarantine"},
	{"enrol", unobserved, Enrolling, Observe, "the BMC was not read yet"},
	{"other-server", otherServer, OtherServer, None, "another server than the recorded one answers: a person decides"},
	{"inspect", func(f Facts) bool { return !f.Inventoried }, Inspecting, Inspect, "the hardware was not read yet"},
	{"duplicate", duplicate, Duplicate, None, "another PhysicalHost is the same server"},
	{"maintenance", func(f Facts) bool { return f.Maintenance }, Maintenance, None, "kept out of the pool by its owner"},
	{"look-again", func(f Facts) bool { return unclear(f) || moving(f) }, Enrolling, Observe, "power or slots are not known"},
	{"clean-power", func(f Facts) bool { return f.Consent && on(f) }, Cleaning, ForceOff, "running, and its owner consents to erase it"},
	{"powered-on", on, PoweredOn, None, "running, and not ours to stop"},
	{"clean-media", func(f Facts) bool { return f.Consent && f.Media != MediaNone }, Cleaning, Eject, "media of others, and its owner consents"},
	{"clean-override", func(f Facts) bool { return f.Consent && f.Armed }, Cleaning, Disarm, "a boot override of others, and its owner consents"},
	{"not-empty", func(f Facts) bool { return f.Media != MediaNone || f.Armed }, NotEmpty, None, "media or a boot override that someone else set"},
	{"available", always, Available, None, "off, empty, disarmed, known, nobody's"},
}

// boundRules leave a running system alone (I5), but for what D9a says: an installed one is disarmed, and its media end; they
// stay in the slot, as no vendor is known to let them be taken from under a running system without harm. A Live system that
// lost power boots again from its medium.
var boundRules = []rule{
	{"bound-other-server", otherServer, OtherServer, None, "another server than the recorded one answers: a person decides"},
	{"bound-duplicate", duplicate, Duplicate, None, "the server is claimed through another PhysicalHost, too: a person decides"},
	{"revoke", func(f Facts) bool { return f.Install && f.Granted }, Provisioned, RevokeGrant, "installed: its media URLs end"},
	{"bound-unobserved", func(f Facts) bool { return !f.Observed || f.Power == PowerStateUnknown }, Provisioned, Observe, "the BMC was not read yet"},
	{"bound-disarm", func(f Facts) bool { return f.Install && f.Armed && !f.Quarantined && !moving(f) }, Provisioned, Disarm, "installed: it boots from its disk from now on, and the system that runs does not notice"},
	{"bound-leave", func(f Facts) bool { return f.Quarantined || !f.KeepOn || !off(f) }, Provisioned, None, "running, or its owner wants it left as it is"},
	{"bound-look", func(f Facts) bool { return f.Media == MediaUnknown }, Provisioned, Observe, "off: the slots are read before anything is done"},
	{"installed-eject", func(f Facts) bool { return f.Install && f.Media != MediaNone }, Provisioned, Eject, "off: the installer must not boot again"},
	{"installed-on", func(f Facts) bool { return f.Install }, Provisioned, PowerOn, "its owner wants it on"},
	{"live-eject", func(f Facts) bool { return f.Media == MediaOther }, Provisioned, Eject, "off, with media that are not the present ones"},
	{"live-wait", func(f Facts) bool { return f.Media != MediaOurs && f.Content == ContentWaiting }, Provisioned, None, "off, and its medium is gone and cannot be made now"},
	{"live-mint", func(f Facts) bool { return f.Media != MediaOurs && f.Content == ContentNoToken }, Provisioned, MintGrant, "off, and its medium is gone: a new capability is needed"},
	{"live-insert", func(f Facts) bool { return f.Media != MediaOurs }, Provisioned, Insert, "off, and its medium is gone"},
	{"live-arm", func(f Facts) bool { return !f.ArmedOurs }, Provisioned, Arm, "off: it lives on its medium"},
	{"live-on", always, Provisioned, PowerOn, "power was lost; the same claim boots again"},
}

// provisioningRules bring a host from whatever it is to a boot from our media: off, empty, insert, arm, on, seen.
var provisioningRules = []rule{
	{"quarantined-held", func(f Facts) bool { return f.Quarantined }, Quarantined, None, "quarantined: nothing is started on it"},
	{"held-other-server", otherServer, OtherServer, None, "another server than the recorded one answers: a person decides"},
	{"held-duplicate", duplicate, Duplicate, None, "the server is claimed through another PhysicalHost, too: a person decides"},
	{"first-look", unobserved, Provisioning, Observe, "the BMC was not read yet"},
	{"bind", func(f Facts) bool { return alive(f) && (f.NodeSeen || f.Report == ReportSucceeded) }, Booting, MarkBound, "its node was seen, or it phoned home"},
	{"look", func(f Facts) bool { return unclear(f) || moving(f) }, Provisioning, Observe, "power or slots are not known"},
	{"boot-overdue", func(f Facts) bool { return on(f) && ours(f) && f.BootOverdue }, Booting, ForceOff, "no sign of life in time: power off and boot again"},
	{"wait-for-boot", func(f Facts) bool { return on(f) && ours(f) }, Booting, None, "running from our media; its node is awaited"},
	{"stop-stranger", on, Provisioning, ForceOff, "claimed, unbound and running something that we did not boot"},
	{"eject-other", func(f Facts) bool { return f.Media == MediaOther }, Provisioning, Eject, "media that are not the present ones"},
	{"wait-content", func(f Facts) bool { return f.Media != MediaOurs && f.Content == ContentWaiting }, Provisioning, None, "image or bootstrap data are not ready"},
	{"mint", func(f Facts) bool { return f.Media != MediaOurs && f.Content == ContentNoToken }, Provisioning, MintGrant, "a capability is needed"},
	{"insert", func(f Facts) bool { return f.Media != MediaOurs }, Provisioning, Insert, "off and empty: our media go in"},
	{"arm", func(f Facts) bool { return !f.ArmedOurs }, Provisioning, Arm, "our media are in: boot from them once"},
	{"power-on", always, Provisioning, PowerOn, "armed"},
}

// alive: running something, so that a sign of life can be of this boot.
func alive(f Facts) bool { return f.Power == PowerStateOn }

// ours: what runs was booted by us for this claim. Without the record (a lost status), our media in the slots and an
// override that was consumed say the same.
func ours(f Facts) bool { return f.Booted || (f.Media == MediaOurs && !f.Armed) }

// releasingRules stop, then leave nothing bootable, then let go (I6). The claim goes last.
var releasingRules = []rule{
	{"give-up-release", func(f Facts) bool { return f.GiveUp }, Quarantined, GiveUpClaim, "a person ended the release unverified"},
	{"release-other-server", otherServer, Releasing, None, "another server than the recorded one answers, which proves nothing: a person decides"},
	{"release-duplicate", duplicate, Releasing, None, "the server is claimed through another PhysicalHost, too: a person decides"},
	{"release-look", func(f Facts) bool { return !f.Observed || unclear(f) }, Releasing, Observe, "the BMC must be read before anything is proven"},
	{"release-settle", moving, Releasing, Observe, "power is changing"},
	{"release-shutdown", func(f Facts) bool { return on(f) && (f.Bound || f.NodeSeen) && !f.ShutdownOverdue }, Releasing, ShutDown, "running a system: gracefully first"},
	{"release-off", on, Releasing, ForceOff, "running no system that was ever seen, or deaf to a graceful shutdown"},
	{"release-eject", func(f Facts) bool { return f.Media != MediaNone }, Releasing, Eject, "off: every slot is emptied"},
	{"release-disarm", func(f Facts) bool { return f.Armed }, Releasing, Disarm, "off and empty: the override is cleared"},
	{"release-prove", func(f Facts) bool { return !f.Proven }, Releasing, Observe, "what was read before the release was asked for proves nothing"},
	{"release-done", always, Releasing, ClearClaim, "observed off, empty and disarmed"},
}
