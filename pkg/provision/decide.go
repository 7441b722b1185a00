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
// stay in the slot, as no vendor is known to let them be taken from under a running system without harm. What is installed
// boots its disk again after a loss of power. A Live system has lost itself, and its bootstrap data were good for one boot: it
// boots again only on its owner's word (D14), with a new grant, of which the data are served for this boot alone.
var boundRules = []rule{
	{"bound-other-server", otherServer, OtherServer, None, "another server than the recorded one answers: a person decides"},
	{"bound-duplicate", duplicate, Duplicate, None, "the server is claimed through another PhysicalHost, too: a person decides"},
	{"revoke", func(f Facts) bool { return f.Install && f.Granted }, Provisioned, RevokeGrant, "installed: its media URLs end"},
	{"bound-unobserved", func(f Facts) bool { return !f.Observed || f.Power == PowerStateUnknown }, Provisioned, Observe, "the BMC was not read yet"},
	{"bound-disarm", func(f Facts) bool { return f.Install && f.Armed && !f.Quarantined && !moving(f) }, Provisioned, Disarm, "installed: it boots from its disk from now on, and the system that runs does not notice"},
	{"bound-rest-override", func(f Facts) bool { return f.ArmedOurs && f.Lasting && on(f) && !f.DataOpen && !f.Quarantined }, Provisioned, Disarm, "running, and the BMC would boot our medium for ever: its override is set back to rest"},
	{"bound-leave", func(f Facts) bool { return f.Quarantined || !off(f) }, Provisioned, None, "running, or left to a person"},
	{"bound-confirm", func(f Facts) bool { return !f.Steady }, Provisioned, Observe, "off: read once more before that is believed"},
	{"live-lost", func(f Facts) bool { return !f.Install && !f.AlwaysOn }, Lost, None, "off: a Live system lost itself with its power; its machine is to be deleted"},
	{"bound-withheld", withheld, Provisioned, None, "off, in maintenance or being deleted: not powered on"},
	{"bound-observe", func(f Facts) bool { return f.Install && !f.KeepOn }, Provisioned, None, "off, and its owner wants it left as it is"},
	{"bound-spent", func(f Facts) bool { return f.BootsSpent }, BootFailed, None, "off again soon after each of its boots: a person decides"},
	{"bound-rest", func(f Facts) bool { return f.BootResting }, Provisioned, None, "off again soon after its boot: the next boot has to wait"},
	{"bound-look", func(f Facts) bool { return f.Media == MediaUnknown }, Provisioned, Observe, "off: the slots are read before anything is done"},
	{"installed-eject", func(f Facts) bool { return f.Install && f.Media != MediaNone }, Provisioned, Eject, "off: the installer must not boot again"},
	{"installed-on", func(f Facts) bool { return f.Install }, Provisioned, PowerOn, "its owner wants it on"},
	{"live-wait", func(f Facts) bool { return ungranted(f) && f.Content == ContentWaiting }, Provisioned, None, "off, and the medium of another boot cannot be made now"},
	{"live-eject", func(f Facts) bool { return f.Media == MediaOther || !f.DataOpen && f.Media != MediaNone }, Provisioned, Eject, "off: the medium's data have ended, or it is another's"},
	{"live-mint", func(f Facts) bool { return !f.DataOpen || f.Media != MediaOurs && f.Content == ContentNoToken }, Provisioned, MintGrant, "off and empty: a capability for another boot, on its owner's word"},
	{"live-insert", func(f Facts) bool { return f.Media != MediaOurs }, Provisioned, Insert, "off, and its medium is not in"},
	{"live-arm", func(f Facts) bool { return !f.ArmedOurs }, Provisioned, Arm, "off: it lives on its medium"},
	{"live-on", always, Provisioned, PowerOn, "armed: the same claim boots again, on its owner's word"},
}

// withheld: its owner works on the server, or takes it away: nothing is started on it, nor cut.
func withheld(f Facts) bool { return f.Maintenance || f.Deleting }

// ungranted: the medium that is in, if any, cannot give another boot its data.
func ungranted(f Facts) bool { return !f.DataOpen || f.Media != MediaOurs }

// provisioningRules bring a host from whatever it is to a boot from our media: off, empty, insert, arm, on, seen. What runs is
// cut only if it is certainly of our own doing, and shows no sign of life. What has run and is off is booted again only if
// certainly nobody used its bootstrap data (D14): they are good for one Node.
var provisioningRules = []rule{
	{"quarantined-held", func(f Facts) bool { return f.Quarantined }, Quarantined, None, "quarantined: nothing is started on it"},
	{"held-other-server", otherServer, OtherServer, None, "another server than the recorded one answers: a person decides"},
	{"held-duplicate", duplicate, Duplicate, None, "the server is claimed through another PhysicalHost, too: a person decides"},
	{"boot-look", func(f Facts) bool { return f.Booted && unobserved(f) }, Booting, Observe, "booted, and this process did not read its BMC yet: the system is not taken for gone"},
	{"first-look", unobserved, Provisioning, Observe, "the BMC was not read yet"},
	{"bind", func(f Facts) bool { return f.NodeSeen || f.Report == ReportSucceeded }, Booting, MarkBound, "its node was seen, or it phoned home"},
	{"boot-unclear", func(f Facts) bool { return f.Booted && (unclear(f) || moving(f)) }, Booting, Observe, "booted, and power or slots are not known"},
	{"look", func(f Facts) bool { return unclear(f) || moving(f) }, Provisioning, Observe, "power or slots are not known"},
	{"confirm-on", func(f Facts) bool { return on(f) && untouched(f) && !f.Steady }, Provisioning, Observe, "on, and not by our doing: read once more before that is believed"},
	{"yield", func(f Facts) bool { return on(f) && untouched(f) }, Claimed, YieldClaim, "powered on by its owner before anything of ours was in it: the machine looks for another host"},
	{"boot-lives", func(f Facts) bool { return on(f) && lived(f) }, Booting, None, "its system runs, though not as it should: it is never cut"},
	{"boot-overdue", func(f Facts) bool { return on(f) && ours(f) && f.BootOverdue && !f.BootsSpent && !withheld(f) }, Booting, ForceOff, "no sign of life in time: power off and boot again"},
	{"boot-failed", func(f Facts) bool { return on(f) && ours(f) && f.BootOverdue && f.BootsSpent }, BootFailed, None, "no sign of life of as many boots as there may be: left running, for a person to look at"},
	{"wait-for-boot", func(f Facts) bool { return on(f) && ours(f) }, Booting, None, "running from our media; its node is awaited"},
	{"stop-ours", func(f Facts) bool { return on(f) && inserted(f) && !f.NodeUnknown && !f.BootsSpent && !withheld(f) }, Provisioning, ForceOff, "powered on by others while our media went in: off, and on as it should be"},
	{"leave-stranger", on, Provisioning, None, "running, and nobody can say whether by our doing: a person decides"},
	{"boot-confirm", func(f Facts) bool { return (f.Booted || lived(f)) && !f.Steady }, Booting, Observe, "off after it ran: read once more before that is believed"},
	{"boot-lost", func(f Facts) bool { return lived(f) && !bearsAgain(f) }, Lost, None, "off, and its system may have used its bootstrap data; its machine is to be deleted"},
	{"boot-unknown", func(f Facts) bool { return f.Booted && f.NodeUnknown && !bearsAgain(f) }, Provisioning, None, "off, and nobody can say whether its system used its bootstrap data: not booted again before the cluster answers"},
	{"withheld", withheld, Provisioning, None, "off, in maintenance or being deleted: nothing is started"},
	{"boots-spent", func(f Facts) bool { return f.BootsSpent }, BootFailed, None, "off, without a sign of life of as many boots as there may be: a person decides"},
	{"boot-rest", func(f Facts) bool { return f.BootResting }, Provisioning, None, "off without a sign of life: the next boot has to wait"},
	{"eject-other", func(f Facts) bool { return f.Media == MediaOther }, Provisioning, Eject, "media that are not the present ones"},
	{"wait-content", func(f Facts) bool { return f.Media != MediaOurs && f.Content == ContentWaiting }, Provisioning, None, "image or bootstrap data are not ready"},
	{"mint", func(f Facts) bool { return f.Media != MediaOurs && f.Content == ContentNoToken }, Provisioning, MintGrant, "a capability is needed"},
	{"insert", func(f Facts) bool { return f.Media != MediaOurs }, Provisioning, Insert, "off and empty: our media go in"},
	{"arm", func(f Facts) bool { return !f.ArmedOurs }, Provisioning, Arm, "our media are in: boot from them once"},
	{"power-on", always, Provisioning, PowerOn, "armed"},
}

// untouched: nothing of this claim was ever in the server.
func untouched(f Facts) bool { return !f.Granted && !f.Booted }

// ours: what runs was booted by us for this claim. Without the record (a lost status), our media in the slots and an override
// that is ours, or was consumed, say the same: they went in while the server was off.
func ours(f Facts) bool { return f.Booted || f.Media == MediaOurs && (!f.Armed || f.ArmedOurs) }

// inserted: something of the present capability is in the slots, and went in while the server was off.
func inserted(f Facts) bool { return f.Media == MediaOurs || f.Media == MediaPartial }

// lived: a system of this claim ran that is not bound: its Node was not told its provider id, or it reported a failure.
func lived(f Facts) bool { return f.NodeNamed || f.Report == ReportFailed }

// bearsAgain: its owner says that another boot with the same bootstrap data does no harm.
func bearsAgain(f Facts) bool { return f.AlwaysOn && !f.Install }

// releasingRules stop, then leave nothing bootable, then let go (I6). The claim goes last.
var releasingRules = []rule{
	{"give-up-release", func(f Facts) bool { return f.GiveUp }, Quarantined, GiveUpClaim, "a person ended the release unverified"},
	{"release-other-server", otherServer, Releasing, None, "another server than the recorded one answers, which proves nothing: a person decides"},
	{"release-duplicate", duplicate, Releasing, None, "the server is claimed through another PhysicalHost, too: a person decides"},
	{"release-untouched", func(f Facts) bool { return f.NoSecret && untouched(f) && !f.Bound }, Releasing, ClearClaim, "the BMC's Secret is gone, and nothing was done for the claim: there is nothing to undo, and the host is offered only once its BMC was read"},
	{"release-look", func(f Facts) bool { return !f.Observed || unclear(f) }, Releasing, Observe, "the BMC must be read before anything is proven"},
	{"release-settle", moving, Releasing, Observe, "power is changing"},
	{"release-shutdown", func(f Facts) bool { return on(f) && (f.Bound || f.NodeSeen || f.NodeNamed) && !f.ShutdownOverdue }, Releasing, ShutDown, "running a system: gracefully first"},
	{"release-off", on, Releasing, ForceOff, "running no system that was ever seen, or deaf to a graceful shutdown"},
	{"release-eject", func(f Facts) bool { return f.Media != MediaNone }, Releasing, Eject, "off: every slot is emptied"},
	{"release-disarm", func(f Facts) bool { return f.Armed }, Releasing, Disarm, "off and empty: the override is cleared"},
	{"release-prove", func(f Facts) bool { return !f.Proven }, Releasing, Observe, "what was read before the release was asked for proves nothing"},
	{"release-done", always, Releasing, ClearClaim, "observed off, empty and disarmed"},
}
