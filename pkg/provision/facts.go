package provision

// Claim is how a host's claim stands.
type Claim string

// The standings of a claim.
const (
	// ClaimNone: nobody's host.
	ClaimNone Claim = "None"
	// ClaimUnconfirmed: the machine does not name the claim back (yet). Inert.
	ClaimUnconfirmed Claim = "Unconfirmed"
	// ClaimExpired: unconfirmed for longer than the grace time.
	ClaimExpired Claim = "Expired"
	// ClaimHeld: claim and machine name each other.
	ClaimHeld Claim = "Held"
	// ClaimReleasing: the release is marked.
	ClaimReleasing Claim = "Releasing"
	// ClaimOrphaned: the machine is gone without the mark. No hardware action.
	ClaimOrphaned Claim = "Orphaned"
	// ClaimOrphanExpired: an unbound orphan whose grace time is over.
	ClaimOrphanExpired Claim = "OrphanExpired"
	// ClaimOrphanBound: orphaned and bound: a person decides.
	ClaimOrphanBound Claim = "OrphanBound"
)

// Power is the observed power.
type Power string

// The powers. PowerStateUnknown also stands for a BMC that did not say.
const (
	PowerStateUnknown     Power = "Unknown"
	PowerStateOff         Power = "Off"
	PowerStateOn          Power = "On"
	PowerStatePoweringOn  Power = "PoweringOn"
	PowerStatePoweringOff Power = "PoweringOff"
)

// Media is what is in the virtual media slots, judged against the present claim's capability.
type Media string

// The contents of the slots.
const (
	// MediaUnknown: the slots were not read.
	MediaUnknown Media = "Unknown"
	// MediaNone: all slots are empty.
	MediaNone Media = "None"
	// MediaPartial: some, but not all, of our media are in, and nothing else.
	MediaPartial Media = "Partial"
	// MediaOurs: exactly our media are in.
	MediaOurs Media = "Ours"
	// MediaOther: something that is not of the present capability is in.
	MediaOther Media = "Other"
)

// Content is how far the boot media of a claim are.
type Content string

// The readiness of boot media.
const (
	// ContentWaiting: something that is needed is not there yet; the controller says what.
	ContentWaiting Content = "Waiting"
	// ContentNoToken: everything is there but the capability: none was minted, or its token was lost in a restart.
	ContentNoToken Content = "NoToken"
	// ContentReady: our media can be inserted.
	ContentReady Content = "Ready"
)

// Report is what the booted system said.
type Report string

// The reports.
const (
	ReportNone      Report = "None"
	ReportSucceeded Report = "Succeeded"
	ReportFailed    Report = "Failed"
)

// Facts is everything that is true of a host now and matters to what is done next.
type Facts struct {
	// Durable: from spec.
	Claim       Claim
	Bound       bool
	Install     bool // boot mode Install; otherwise Live
	Paused      bool
	Quarantined bool
	Maintenance bool
	Consent     bool // the owner consents to erase an unclaimed host
	KeepOn      bool // a bound host whose system is on its disk is powered on when it is found off
	AlwaysOn    bool // its owner's word that a Live image bears another boot with the bootstrap data of its first
	Deleting    bool
	// GiveUp is a person's command to end this claim's release unverified.
	GiveUp bool
	// Granted: a media capability is recorded on the claim: without one, nothing of ours was ever in the server.
	Granted bool
	// DataOpen: the bootstrap data are served: the claim is not bound, or they were opened once more for another boot.
	DataOpen bool

	// Observed at the BMC.
	Observed    bool // power and override were read
	Inventoried bool
	// OtherServer: what answers at the BMC is known to be another server than the recorded one. Nothing is changed there (I11).
	OtherServer bool
	// Duplicate: another PhysicalHost is the same server, and has the better right to it. Never together with OtherServer, which is the
	// graver of the two.
	Duplicate bool
	Power     Power
	Media     Media
	// Steady: power was read the same at least twice in a row. Some BMCs say now this, now that.
	Steady    bool
	Armed     bool // the next boot takes another device than usual
	ArmedOurs bool // from the virtual CD
	Lasting   bool // for all boots to come, as some BMCs know no other override

	// Of the present claim.
	Content Content
	// Booted: power On was observed after an armed boot for this claim.
	Booted bool
	// NodeSeen: a Node with the claim's provider id is, or was, there.
	NodeSeen bool
	// NodeNamed: a Node of the claim's host name is there that cannot be a former tenant's, but its provider id is not ours. It
	// counts as alive and binds nothing.
	NodeNamed bool
	// NodeUnknown: nobody can say whether a Node is there: the workload cluster was up once, and cannot be asked.
	NodeUnknown bool
	Report      Report
	// BootOverdue: the deadline of the last boot has passed without a sign of life, and the absence is known, not guessed.
	BootOverdue bool
	// BootsSpent: no sign of life came of as many boots as there may be in a row; BootResting: the next one is not due yet.
	BootsSpent  bool
	BootResting bool

	ReleaseOverdue bool
	// NoSecret: the Secret without which the BMC cannot be asked is gone, while the claim is released.
	NoSecret bool
	// Proven: power, override and slots were read after the release was asked for. Older readings prove nothing: an operation
	// of the ended tenancy may have been under way.
	Proven bool
	// ShutdownOverdue: a graceful shutdown was tried for this release and did not end in time, or cannot be tried.
	ShutdownOverdue bool
}
