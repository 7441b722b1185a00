package actuator

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/beskar7/beskar7/pkg/bootmedia"
	"github.com/beskar7/beskar7/pkg/provision"
	"github.com/beskar7/beskar7/pkg/redfish"
	"github.com/beskar7/beskar7/pkg/serverid"
)

// Observation is the newest that was read of one host.
type Observation struct {
	// At is when power and override were last read; zero if never.
	At    time.Time
	State redfish.State
	// Answering is the server that answered last, as far as it says: BMCs leave identities out at times, such as while they start,
	// and then this is who it was before.
	Answering serverid.Identity
	// Steady: power was the same in the readings before, so that one slip of a BMC is not believed.
	Steady bool
	// Learned is what the driver found out of the BMC's ways.
	Learned redfish.Learned
	// Slots are nil until they were read.
	Slots []redfish.Slot
	// SlotsAt is when all of them were read; zero if never, or if power has changed since.
	SlotsAt time.Time
	// Refused are the slots that refused our media, or took them and never showed them: others are tried first.
	Refused map[string]bool
	// Spent are the slots whose medium came to nothing: the server did not come up from it in time, or its mount does not end.
	// It is taken out, and put in again.
	Spent map[string]bool
	// Identity and Hardware are nil until the host was inspected.
	Identity *redfish.Identity
	Hardware *redfish.Hardware
	// InspectedAt is when they were read; zero if never.
	InspectedAt time.Time
	// Stale: what is known of the hardware, also from before this process, is to be read again.
	Stale bool
	// Boots maps claim ids to the last time power On was observed after a boot of ours for that claim: armed, or of a bound system.
	Boots map[string]time.Time
	// DeafSince maps claim ids to when a graceful shutdown for them was given up.
	DeafSince map[string]time.Time
	// Proven is the claim for whose release power, override and slots were read; "" if none.
	Proven string
	// Failure is the last failure to read or change the BMC; nil once a later try succeeded.
	Failure *Failure
}

// Failure says what went wrong at a BMC, in words without secrets.
type Failure struct {
	Kind        redfish.Kind
	LoginFailed bool
	Message     string
	At          time.Time
	// Count is how many tries in a row have failed, this one included, with the same connection settings.
	Count int
	// Outdated: credentials, trust or settings have changed since, and were not tried yet.
	Outdated bool
}

// Brief is everything about a host but what its BMC says: what the gathered facts, and what our media would be.
type Brief struct {
	// Facts holds the durable and claim parts; the observed part is empty.
	Facts provision.Facts
	// ClaimID is the present claim, or "".
	ClaimID string
	// Hash is the recorded hash of the claim's media token, or "".
	Hash string
	// Family decides which media are needed.
	Family bootmedia.Family
	// URLs are where our media are, by medium; nil while the token is not known to this process.
	URLs map[bootmedia.Medium]string
	// Server is the recorded one: of the claim, or of the inventory.
	Server serverid.Identity
	// Accepted names the server that a person takes for this unclaimed host's instead of the recorded one, or is "".
	Accepted string
}

// Complete adds what was observed to a brief.
func Complete(b Brief, o Observation) provision.Facts {
	f := b.Facts
	f.Observed = !o.At.IsZero()
	other := b.Recorded(o).Compare(o.Answering) == serverid.Other
	f.OtherServer = other && !o.Answering.IsNamed(b.Accepted)
	f.Duplicate = f.Duplicate && !f.OtherServer
	f.Inventoried = !o.Stale && (f.Inventoried && !other || o.Hardware != nil && o.Inspected().Compare(o.Answering) != serverid.Other)
	f.Power, f.Steady = power(o.State.Power), o.Steady
	f.Armed = o.State.Boot.Armed()
	f.ArmedOurs = o.State.Boot.ArmedFrom(redfish.BootCD)
	f.Lasting = o.State.Boot.Lasting()
	f.Media = media(b, o)
	if b.ClaimID != "" {
		_, booted := o.Boots[b.ClaimID]
		f.Booted = f.Booted || booted
		_, deaf := o.DeafSince[b.ClaimID]
		f.ShutdownOverdue = f.ShutdownOverdue || deaf
		f.Proven = o.Proven == b.ClaimID
	}
	return f
}

func power(p redfish.PowerState) provision.Power {
	switch p {
	case redfish.PowerOn:
		return provision.PowerStateOn
	case redfish.PowerOff:
		return provision.PowerStateOff
	case redfish.PowerPoweringOn:
		return provision.PowerStatePoweringOn
	case redfish.PowerPoweringOff:
		return provision.PowerStatePoweringOff
	case redfish.PowerUnknown:
	}
	return provision.PowerStateUnknown
}

// media judges the slots against the capability that is recorded for the claim.
func media(b Brief, o Observation) provision.Media {
	slots := o.Slots
	if slots == nil {
		return provision.MediaUnknown
	}
	placements, err := Plan(b.Family, o)
	want := map[string]bootmedia.Medium{}
	if err == nil && b.ClaimID != "" {
		for _, p := range placements {
			want[p.SlotID] = p.Medium
		}
	}
	ours := 0
	for _, s := range slots {
		switch medium, wanted := want[s.ID]; {
		case !s.Empty() && o.Spent[s.ID]:
			return provision.MediaOther
		case s.Mounting && wanted && b.Facts.Claim != provision.ClaimReleasing && isOurs(s, medium, b.Hash):
			return provision.MediaUnknown // it is on its way: another look tells
		case s.Empty():
		case wanted && isOurs(s, medium, b.Hash):
			ours++
		default:
			return provision.MediaOther
		}
	}
	switch {
	case ours == 0:
		return provision.MediaNone
	case ours < len(want):
		return provision.MediaPartial
	}
	return provision.MediaOurs
}

// isOurs says whether the slot holds this medium under the recorded capability; without a medium, any of ours.
func isOurs(s redfish.Slot, medium bootmedia.Medium, hash string) bool {
	got, file, ok := bootmedia.HashFromURL(s.Image)
	return ok && hash != "" && got == hash && (medium == "" || file == bootmedia.FileOf(medium))
}

// Plan says which of our media goes into which slot: not into one that refused them, if it can be helped. The error is for people.
func Plan(family bootmedia.Family, o Observation) ([]bootmedia.Placement, error) {
	infos := make([]bootmedia.SlotInfo, 0, len(o.Slots))
	for _, s := range o.Slots {
		if s.CanInsert && !o.Refused[s.ID] {
			infos = append(infos, bootmedia.SlotInfo{ID: s.ID, Types: s.Types, Stick: s.Stick})
		}
	}
	return bootmedia.Plan(family, infos)
}

// refuse keeps that a slot does not take our media. Once there is no way left without the slots that refused, all of them are
// worth another try: it may have been the image that could not be had.
func (o *Observation) refuse(family bootmedia.Family, slot string) {
	refused := maps.Clone(o.Refused)
	if refused == nil {
		refused = map[string]bool{}
	}
	refused[slot] = true
	if _, err := Plan(family, Observation{Slots: o.Slots, Refused: refused}); err != nil {
		refused = nil
	}
	o.setRefused(refused)
}

// setRefused keeps them with what was learned, too, so that a restart does not try them first again.
func (o *Observation) setRefused(refused map[string]bool) {
	o.Refused, o.Learned.Refused = refused, strings.Join(slices.Sorted(maps.Keys(refused)), ",")
}

// refusedIn are the slots that refused according to what an earlier process learned.
func refusedIn(l redfish.Learned) map[string]bool {
	if l.Refused == "" {
		return nil
	}
	refused := map[string]bool{}
	for slot := range strings.SplitSeq(l.Refused, ",") {
		refused[slot] = true
	}
	return refused
}

// prune forgets what was observed for other claims than the present one.
func (o *Observation) prune(claimID string) {
	for _, byClaim := range []map[string]time.Time{o.Boots, o.DeafSince} {
		maps.DeleteFunc(byClaim, func(id string, _ time.Time) bool { return id != claimID })
	}
}

func (o Observation) clone() Observation {
	o.Slots = slices.Clone(o.Slots)
	o.Boots = maps.Clone(o.Boots)
	o.DeafSince = maps.Clone(o.DeafSince)
	o.Refused = maps.Clone(o.Refused)
	o.Spent = maps.Clone(o.Spent)
	return o
}

// spend notes that what is in these slots came to nothing.
func (o *Observation) spend(which func(redfish.Slot) bool) {
	o.Spent = maps.Clone(o.Spent)
	if o.Spent == nil {
		o.Spent = map[string]bool{}
	}
	for _, s := range o.Slots {
		if !s.Empty() && which(s) {
			o.Spent[s.ID] = true
		}
	}
}

// unspend forgets that of slots that were emptied.
func (o *Observation) unspend() {
	spent := maps.Clone(o.Spent)
	for _, s := range o.Slots {
		if s.Empty() {
			delete(spent, s.ID)
		}
	}
	o.Spent = spent
}
