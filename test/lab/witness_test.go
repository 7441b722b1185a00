package lab

import (
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/test/emulator"
)

func TestWitnessOfAGoodRun(t *testing.T) {
	g := NewWithT(t)
	s := newScript()
	s.running("a")
	s.end("a")
	s.options.Cooldown = 900 * time.Millisecond
	w := s.judge()
	g.Expect(w.Err()).NotTo(HaveOccurred())
	g.Expect([]int{w.Provisioned, w.Released, w.DoubleClaims}).To(Equal([]int{1, 1, 0}))
}

// innocent are runs that look bad and are not.
var innocent = map[string]func(*script){
	"a lost race, the other machine waiting (I1)": func(s *script) {
		s.machine("n", "a")
		s.running("a")
		s.machine("n", "")
	},
	"two claims naming a machine, one confirmed (I2)": func(s *script) {
		s.offer("b")
		s.host("b", func(v *hostVersion) { v.claim = &v1beta1.Claim{ID: "00000000000000bb", Machine: claimedFor} })
		s.running("a")
	},
	"an orphan that reports itself (I3)": func(s *script) {
		s.running("a")
		s.remove(machineKind, claimedFor)
		s.host("a", func(v *hostVersion) { v.reported = true })
	},
	"cleaning with consent (I4)": func(s *script) {
		s.host("a", func(v *hostVersion) { v.consent = true })
		s.event("a", emulator.ByButton, emulator.EventPower, "Off", "On")
		s.forceOff("a")
		s.offer("a")
	},
	"a request while the confirming write is being answered (I4)": func(s *script) {
		s.offer("a")
		s.claim("a", claimedFor)
		s.now = s.writes[len(s.writes)-2].at.from.Add(-999 * time.Millisecond)
		s.insert("a")
	},
	"release of an orphan after its grace (I4)": func(s *script) {
		s.options.OrphanGrace = 5 * time.Second
		s.offer("a")
		s.claim("a", claimedFor)
		s.provision("a")
		s.remove(machineKind, claimedFor)
		s.now = s.now.Add(5 * time.Second)
		s.forceOff("a")
		s.eject("a")
		s.clear("a")
	},
	"a Live server that lost its power and bears that (I5)": func(s *script) {
		s.running("a")
		s.host("a", func(v *hostVersion) { v.bearsAgain = true })
		s.event("a", emulator.ByOutside, emulator.EventPower, "On", "Off")
		s.arm("a")
		s.powerOn("a")
		s.boot("a")
	},
	"an override that lasts is set back to rest (I5)": func(s *script) {
		s.running("a")
		s.redfish("a", [3]string{"override", "Cd/Continuous/UEFI", unarmed})
	},
	"an installed server is disarmed, and emptied while off (I5)": func(s *script) {
		s.offer("a")
		s.claim("a", claimedFor)
		s.host("a", func(v *hostVersion) { v.mode = v1beta1.BootModeInstall })
		s.provision("a")
		s.arm("a")
		s.bind("a")
		s.disarm("a")
		s.event("a", emulator.ByGuest, emulator.EventPower, "On", "Off")
		s.eject("a")
		s.powerOn("a")
	},
	"a claim yielded to an owner who powered the server on (I6)": func(s *script) {
		s.offer("a")
		s.claim("a", claimedFor)
		s.push("a")
		s.clear("a")
	},
	"an unverified release into quarantine (I6)": func(s *script) {
		s.running("a")
		s.mark("a")
		s.host("a", func(v *hostVersion) { v.claim, v.quarantined = nil, true })
	},
	"a claim that a move created (I6)": func(s *script) {
		s.host("a", func(v *hostVersion) { v.claim = &v1beta1.Claim{ID: claimID, Machine: claimedFor, Bound: true} })
		s.machine(claimedFor, "a")
	},
	"a stranger's hand on an offered server, noticed (I6)": func(s *script) {
		s.offer("a")
		s.event("a", emulator.ByButton, emulator.EventPower, "Off", "On")
		s.host("a", func(v *hostVersion) { v.available = false })
	},
	"a log-out that overlaps (I7)": func(s *script) {
		s.running("a")
		l := s.logs["a"]
		l.maxInFlight = 2
		l.changes = append(l.changes, emulator.Change{ID: 99, Start: l.changes[0].Start, End: l.changes[0].End, Method: "DELETE",
			Path: "/redfish/v1/SessionService/Sessions/{id}", Changed: true, Session: true})
	},
	"another namespace's business": func(s *script) {
		s.running("a")
		s.forceOff("a")
		s.namespace = "other"
	},
}

func TestWitnessAllows(t *testing.T) {
	for name, play := range innocent {
		t.Run(name, func(t *testing.T) {
			s := newScript()
			play(s)
			NewWithT(t).Expect(s.judge().Err()).NotTo(HaveOccurred())
		})
	}
}

// claimedThen is a claim that its machine confirmed, and what follows.
func claimedThen(play func(*script)) func(*script) {
	return func(s *script) {
		s.offer("a")
		s.claim("a", claimedFor)
		play(s)
	}
}

// accusation is what a violating run must be accused of, and nothing else.
type accusation struct {
	name, of, words string
	double          int
	play            func(*script)
}

var accusations = []accusation{
	{"a claim replaced", "I1", "was replaced by", 1, func(s *script) {
		s.running("a")
		s.machine("n", "")
		s.host("a", func(v *hostVersion) { v.claim = &v1beta1.Claim{ID: "00000000000000bb", Machine: "n"} })
	}},
	{"two hosts that are one server", "I1", "are one server", 1, func(s *script) {
		s.offer("a")
		s.host("b", func(v *hostVersion) { v.address, v.available = "https://a", true })
		s.claim("a", claimedFor)
		s.machine("n", "")
		s.host("b", func(v *hostVersion) { v.claim = &v1beta1.Claim{ID: "00000000000000bb", Machine: "n"} })
	}},
	{"two hosts confirmed by one machine", "I1/I2", "owns hosts [a b]", 1, func(s *script) {
		s.offer("a")
		s.offer("b")
		s.claim("a", claimedFor)
		s.host("b", func(v *hostVersion) { v.claim = &v1beta1.Claim{ID: claimID, Machine: claimedFor} })
	}},
	{"a hostRef replaced", "I2", "hostRef a/", 0, func(s *script) {
		s.machine(claimedFor, "a")
		s.machine(claimedFor, "b")
	}},
	{"work before the machine confirms", "I2/I4", "without a confirmed claim", 0, func(s *script) {
		s.offer("a")
		s.machine(claimedFor, "")
		s.host("a", func(v *hostVersion) { v.claim = &v1beta1.Claim{ID: claimID, Machine: claimedFor} })
		s.insert("a")
	}},
	{"an unreported orphan", "I3", "does not exist", 0, func(s *script) {
		s.running("a")
		s.remove(machineKind, claimedFor)
	}},
	{"work on a host that nobody claimed", "I2/I4", "(ForceOff)", 0, func(s *script) {
		s.host("a", func(*hostVersion) {})
		s.event("a", emulator.ByButton, emulator.EventPower, "Off", "On")
		s.forceOff("a")
	}},
	{"work on an orphan before its grace is over", "I2/I4", "(ForceOff)", 0, func(s *script) {
		s.options.OrphanGrace = 5 * time.Second
		s.offer("a")
		s.claim("a", claimedFor)
		s.provision("a")
		s.remove(machineKind, claimedFor)
		s.forceOff("a")
		s.host("a", func(v *hostVersion) { v.reported = true })
	}},
	{"an event without its request", "I2/I4", "an unknown request", 0, func(s *script) {
		s.host("a", func(*hostVersion) {})
		s.event("a", emulator.ByRedfish, emulator.EventInsert, "", mediaSlot)
	}},
	{"a bound server switched off", "I5", "(ForceOff)", 0, func(s *script) {
		s.running("a")
		s.forceOff("a")
	}},
	{"a bound server restarted", "I5", "(ForceRestart)", 0, func(s *script) {
		s.running("a")
		s.redfish("a", [3]string{"reset", "", "ForceRestart"})
	}},
	{"a bound server armed again", "I5", armedOnce, 0, func(s *script) {
		s.running("a")
		s.arm("a")
	}},
	{"a bound Live server disarmed that would boot its medium once", "I5", unarmed, 0, func(s *script) {
		s.running("a")
		s.disarm("a")
	}},
	{"a bound server's medium taken out", "I5", "media-eject", 0, func(s *script) {
		s.running("a")
		s.eject("a")
	}},
	{"a Live server that lost its power booted again unasked", "I5", "(On)", 0, func(s *script) {
		s.running("a")
		s.event("a", emulator.ByOutside, emulator.EventPower, "On", "Off")
		s.powerOn("a")
	}},
	{"a Live server that lost its power given its medium again unasked", "I5", "media-insert", 0, func(s *script) {
		s.running("a")
		s.event("a", emulator.ByOutside, emulator.EventPower, "On", "Off")
		s.insert("a")
	}},
	{"a Live server booted again after its owner took the word back", "I5", "(On)", 0, func(s *script) {
		s.running("a")
		s.host("a", func(v *hostVersion) { v.bearsAgain = true })
		s.event("a", emulator.ByOutside, emulator.EventPower, "On", "Off")
		s.host("a", func(v *hostVersion) { v.bearsAgain = false })
		s.powerOn("a")
	}},
	{"an installed server given the installer again", "I5", "media-insert", 0, func(s *script) {
		s.offer("a")
		s.claim("a", claimedFor)
		s.host("a", func(v *hostVersion) { v.mode = v1beta1.BootModeInstall })
		s.bind("a")
		s.event("a", emulator.ByOutside, emulator.EventPower, "On", "Off")
		s.insert("a")
	}},
	{"offered while on", "I6", "is offered while server a was: power On", 0, func(s *script) {
		s.host("a", func(*hostVersion) {})
		s.event("a", emulator.ByButton, emulator.EventPower, "Off", "On")
		s.offer("a")
		s.host("a", func(v *hostVersion) { v.available = false })
	}},
	{"claimed while not Available", "I6", "while it was not Available", 0, func(s *script) {
		s.host("a", func(*hostVersion) {})
		s.claim("a", claimedFor)
	}},
	{"given back with its medium in", "I6", "was cleared without quarantine", 0, func(s *script) {
		s.running("a")
		s.mark("a")
		s.forceOff("a")
		s.clear("a")
	}},
	{"yielded after a grant", "I6", "was cleared without quarantine", 0, claimedThen(func(s *script) {
		s.grant("a")
		s.push("a")
		s.clear("a")
	})},
	{"yielded after a grant that was revoked", "I6", "was cleared without quarantine", 0, claimedThen(func(s *script) {
		s.grant("a")
		s.host("a", func(v *hostVersion) { v.claim.Media = nil })
		s.push("a")
		s.clear("a")
	})},
	{"yielded after our work", "I6", "was cleared without quarantine", 0, claimedThen(func(s *script) {
		s.disarm("a")
		s.push("a")
		s.clear("a")
	})},
	{"yielded when we powered it on", "I6", "was cleared without quarantine", 0, claimedThen(func(s *script) {
		s.powerOn("a")
		s.clear("a")
	})},
	{"yielded while off", "I6", "was cleared without quarantine", 0, claimedThen(func(s *script) {
		s.event("a", emulator.ByOutside, emulator.EventInsert, "", mediaSlot)
		s.clear("a")
	})},
	{"yielded though bound", "I6", "was cleared without quarantine", 0, claimedThen(func(s *script) {
		s.push("a")
		s.bind("a")
		s.clear("a")
	})},
	{"yielded though its release was asked for", "I6", "was cleared without quarantine", 0, claimedThen(func(s *script) {
		s.push("a")
		s.mark("a")
		s.clear("a")
	})},
	{"yielded with its boot left", "I6", "was cleared without quarantine", 0, claimedThen(func(s *script) {
		s.push("a")
		s.host("a", func(v *hostVersion) { v.claim = nil })
	})},
	{"still offered at the end though on", "I6", "still offered at the end", 0, func(s *script) {
		s.offer("a")
		s.event("a", emulator.ByButton, emulator.EventPower, "Off", "On")
	}},
	{"made unclean while offered", "I6", "we made server a", 0, func(s *script) {
		s.host("a", func(v *hostVersion) { v.consent = true })
		s.offer("a")
		s.insert("a")
		s.host("a", func(v *hostVersion) { v.available = false })
	}},
	{"two requests at once", "I7", "was in flight", 0, func(s *script) {
		s.running("a")
		s.logs["a"].changes[0].End = s.logs["a"].changes[1].Start.Add(5 * time.Millisecond)
	}},
	{"two reads at once", "I7", "in flight at once", 0, func(s *script) {
		s.running("a")
		s.logs["a"].maxInFlight = 2
	}},
	{"no rest between changes", "I7", "the cooldown is 995ms", 0, func(s *script) {
		s.running("a")
		s.logs["a"].changes = s.logs["a"].changes[:2]
		s.logs["a"].events = nil
		s.options.Cooldown = 995 * time.Millisecond
	}},
}

func TestWitnessAccuses(t *testing.T) {
	for _, a := range accusations {
		t.Run(a.name, func(t *testing.T) {
			g := NewWithT(t)
			s := newScript()
			a.play(s)
			w := s.judge()
			g.Expect(w.Violations).To(HaveLen(1))
			g.Expect(w.Violations[0]).To(HavePrefix(a.of + ": "))
			g.Expect(w.Err()).To(MatchError(ContainSubstring(a.words)))
			g.Expect(w.DoubleClaims).To(Equal(a.double))
		})
	}
}

func TestWitnessErrorCountsAllAndSpellsOutTheFirst(t *testing.T) {
	g := NewWithT(t)
	s := newScript()
	s.running("a")
	for range 9 {
		s.eject("a")
	}
	err := s.judge().Err()
	g.Expect(err).To(MatchError(ContainSubstring("9 violations")))
	g.Expect(err).To(MatchError(ContainSubstring("and 4 more")))
	g.Expect(strings.Count(err.Error(), "I5: ")).To(Equal(5))
}

func TestRemovalsFallBetweenTheLivesOfAName(t *testing.T) {
	g := NewWithT(t)
	t0 := time.Now()
	at := func(from, to int) span {
		return span{t0.Add(time.Duration(from) * time.Millisecond), t0.Add(time.Duration(to) * time.Millisecond)}
	}
	key := scriptKey("m")
	got := ordered([]write{
		{at: at(30, 40), kind: machineKind, key: key, uid: "2", version: 9, machine: &machineVersion{}},
		{at: at(31, 35), kind: hostKind, key: scriptKey("a"), uid: "a", version: 10, host: &hostVersion{}},
		{at: at(0, 5), kind: machineKind, key: key, uid: "1", version: 7, machine: &machineVersion{}},
		{at: at(25, 60), kind: machineKind, key: key, uid: "1", removed: true}, // answered late
	})
	var order []string
	for _, w := range got {
		order = append(order, string(w.uid))
	}
	g.Expect(order).To(Equal([]string{"1", "1", "2", "a"}))
	g.Expect(got[1].removed).To(BeTrue())
	g.Expect(got[2].at).To(Equal(at(30, 35)), "version 9 was there before version 10 was answered")
}
