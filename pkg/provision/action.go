package provision

// Action is the one thing to do next.
type Action string

// The actions. Those below Observe touch or read the BMC, the others write to the API server.
const (
	// None: nothing to do until something changes.
	None Action = "None"

	// RemoveFinalizer lets a deleted, unclaimed host go.
	RemoveFinalizer Action = "RemoveFinalizer"
	// ClearClaim removes claim and boot in one write.
	ClearClaim Action = "ClearClaim"
	// YieldClaim removes claim and boot of a host that its owner uses: nothing of ours was ever in it.
	YieldClaim Action = "YieldClaim"
	// GiveUpClaim removes claim and boot and quarantines the host, in one write.
	GiveUpClaim Action = "GiveUpClaim"
	// QuarantineOrphan quarantines a bound orphan and leaves it running, its claim in place.
	QuarantineOrphan Action = "QuarantineOrphan"
	// ReleaseOrphan marks the release of an orphan that never ran anything.
	ReleaseOrphan Action = "ReleaseOrphan"
	// MarkBound records that the booted system was seen.
	MarkBound Action = "MarkBound"
	// MintGrant draws a media token and records its hash.
	MintGrant Action = "MintGrant"
	// RevokeGrant removes the recorded hash.
	RevokeGrant Action = "RevokeGrant"

	// Observe reads power, override and slots.
	Observe Action = "Observe"
	// Inspect reads the BMC's report and the inventory.
	Inspect Action = "Inspect"
	// ShutDown powers off gracefully, and cuts power when that takes too long.
	ShutDown Action = "ShutDown"
	// ForceOff cuts power.
	ForceOff Action = "ForceOff"
	// Eject empties one slot.
	Eject Action = "Eject"
	// Insert puts the next of our media in.
	Insert Action = "Insert"
	// Arm sets the boot override, once, to the virtual CD.
	Arm Action = "Arm"
	// Disarm clears the boot override.
	Disarm Action = "Disarm"
	// PowerOn powers on.
	PowerOn Action = "PowerOn"
)

// Actions are all actions, in the order of their definition.
func Actions() []Action {
	return []Action{None, RemoveFinalizer, ClearClaim, YieldClaim, GiveUpClaim, QuarantineOrphan, ReleaseOrphan, MarkBound, MintGrant, RevokeGrant,
		Observe, Inspect, ShutDown, ForceOff, Eject, Insert, Arm, Disarm, PowerOn}
}

// Reads says whether the action only reads the BMC.
func (a Action) Reads() bool { return a == Observe || a == Inspect }

// Changes says whether the action changes something at the BMC.
func (a Action) Changes() bool {
	switch a {
	case ShutDown, ForceOff, Eject, Insert, Arm, Disarm, PowerOn:
		return true
	case None, RemoveFinalizer, ClearClaim, YieldClaim, GiveUpClaim, QuarantineOrphan, ReleaseOrphan, MarkBound, MintGrant, RevokeGrant, Observe, Inspect:
		return false
	}
	return false
}

// Hardware says whether the action goes through the BMC gate.
func (a Action) Hardware() bool { return a.Reads() || a.Changes() }

// Decision is what to do next and what to call the present position.
type Decision struct {
	// State is a label for people; see the host states of the API.
	State State
	// Action is the one thing to do.
	Action Action
	// Rule names the rule that fired, for the state table and for tests.
	Rule string
}

// Resting says that the host is off, and waits for the time of its next boot alone.
func (d Decision) Resting() bool { return d.Rule == "boot-rest" || d.Rule == "bound-rest" }

// State is a label for people. Its values are those of the API's HostState.
type State string

// The states.
const (
	Enrolling      State = "Enrolling"
	Inspecting     State = "Inspecting"
	Available      State = "Available"
	PoweredOn      State = "PoweredOn"
	NotEmpty       State = "NotEmpty"
	Cleaning       State = "Cleaning"
	Duplicate      State = "Duplicate"
	OtherServer    State = "OtherServer"
	Maintenance    State = "Maintenance"
	Claimed        State = "Claimed"
	Provisioning   State = "Provisioning"
	Booting        State = "Booting"
	BootFailed     State = "BootFailed"
	Provisioned    State = "Provisioned"
	Lost           State = "Lost"
	Releasing      State = "Releasing"
	ReleaseBlocked State = "ReleaseBlocked"
	Orphaned       State = "Orphaned"
	Quarantined    State = "Quarantined"
	Deleting       State = "Deleting"
	Paused         State = "Paused"
)
