package main

import "strings"

// expectation is how a fault must come out. Words with a slash between them are all right, whichever comes: where a BMC says
// now this, now that, or breaks a connection at a moment that nobody chooses. What is empty is done.
type expectation struct {
	// operations on the generic persona, in their order (see redfishtest.Operations); one stands for all.
	operations []string
	// provision and release are those of a life on any persona.
	provision, release string
	// except are personas on which a life comes out otherwise: provision, release.
	except map[string][2]string
	// stays are personas that do not get over it by themselves once the fault has ended: a person is told, and decides.
	stays []string
	// unseen says why no reading of the BMC tells the truth under this fault, so that one operation alone cannot know it.
	unseen string
}

func (e expectation) operation(i int) string {
	switch len(e.operations) {
	case 0:
		return done
	case 1:
		return e.operations[0]
	}
	return e.operations[i]
}

func (e expectation) life(persona string) (provision, release string) {
	if other, ok := e.except[persona]; ok {
		return orDone(other[0]), orDone(other[1])
	}
	return orDone(e.provision), orDone(e.release)
}

func orDone(word string) string {
	if word == "" {
		return done
	}
	return word
}

// accepts says whether a word is among those that are wanted.
func accepts(want, word string) bool {
	for w := range strings.SplitSeq(want, "/") {
		if w == word {
			return true
		}
	}
	return false
}

// expectedOf is the row of a fault, its variant's own one first.
func expectedOf(name string) expectation {
	if e, ok := expected[name]; ok {
		return e
	}
	name, _, _ = strings.Cut(name, "=")
	return expected[name]
}

// always: nothing goes, and everything is told in the same word.
func always(word string) expectation {
	return expectation{operations: []string{word}, provision: word, release: word}
}

// no is a BMC that takes a request and does nothing, or refuses it: it is told, tried again, and never believed.
const no = refused + "/" + waits

// others has the same come out for several personas.
func others(provision, release string, personas ...string) map[string][2]string {
	out := map[string][2]string{}
	for _, p := range personas {
		out[p] = [2]string{provision, release}
	}
	return out
}

// and joins exceptions.
func and(all ...map[string][2]string) map[string][2]string {
	out := map[string][2]string{}
	for _, m := range all {
		for p, e := range m {
			out[p] = e
		}
	}
	return out
}

// from is done up to an operation, and from then on a word: enrol 0, insert 1, boot once 2, power on 3, graceful off 4, forced
// off 5, eject 6, release 7. Ejecting needs nothing but an insert.
func from(first int, word string) []string {
	out := []string{done, done, done, done, done, done, done, done}
	for i := range out {
		if i >= first && (i != 6 || first == 1) {
			out[i] = word
		}
	}
	return out
}

// The personas of iLO, Supermicro and others that share an oddity.
var (
	ilos      = []string{"hpe-ilo4", "hpe-ilo5", "hpe-ilo6", "hpe-ilo7"}
	oneMedium = []string{"ami-megarac", "asrockrack", "dell-idrac10", "dell-idrac8", "dell-idrac9-fw5", "fujitsu-irmc", "huawei-openubmc",
		"supermicro-ars", "supermicro-h13", "supermicro-x10", "supermicro-x11", "supermicro-x12", "supermicro-x14", "nvidia-dgx",
		"ami-megarac-12", "sushy-tools"}
	byAttribute = []string{"dell-idrac8", "dell-idrac9-fw5"}
)

// expected has the faults that are not simply got over.
var expected = map[string]expectation{
	// No connection, or none that is trusted.
	"refused": always("Unreachable"), "half-open": always("Unreachable"), "reset": always("Unreachable"), "drop-reply": always("Unreachable"),
	"hang": always("Unreachable"), "drip": always("Unreachable"), "tls-old": always("Certificate"), "truncated": always("Unreachable"),
	"reboot-on-change": always("Unreachable"), "cert-changed": always("Certificate"), "cert-expired": always("Certificate"),
	// A change over a connection that the BMC just closed may have been carried out: it is not sent again blindly.
	"idle-drop": {operations: []string{done, "done/Unreachable", "done/Unreachable", "done/Unreachable", "done/Unreachable", "done/Unreachable", "done/Unreachable", "done/Unreachable"}},
	"reboot":    {operations: []string{"Unreachable"}},

	// Answers that say no, or nothing.
	"status": always("Busy"), "busy": always("Busy"), "missing": always("NotFound"), "identity-refused": always("Unsupported"),
	"redirect-evil": always("Protocol"), "redirect-loop": always("Protocol"), "half-json": always("Protocol"), "oversized": always("Protocol"),
	"html": always("Protocol"), "empty": always("Protocol"), "null-body": always("Protocol"), "garbage": always("Protocol"),
	"link-evil":   {operations: []string{"Protocol"}, provision: "Protocol/refused", release: "Protocol/refused"},
	"link-at":     {operations: []string{"Protocol"}, provision: "Protocol/refused", release: "Protocol/refused"},
	"nulls":       {operations: []string{seen}, provision: "waits/Protocol", release: "waits/Protocol"},
	"wrong-types": {operations: []string{seen}, provision: "waits/Protocol", release: "waits/Protocol"},
	"members-empty": {operations: []string{"Protocol"}, except: and(others("Busy", "", "ami-megarac", "nvidia-dgx"),
		others("Protocol/refused", "done/Protocol", "supermicro-x10"))},
	"members-missing": {operations: []string{"Protocol"}, except: and(others("Busy", "", "ami-megarac", "nvidia-dgx"),
		others("Protocol", "Protocol", "supermicro-x10"))},
	"members-null": {operations: []string{"Protocol"}, except: and(others("NotFound", "", "ami-megarac", "nvidia-dgx"),
		others("NotFound/Protocol", "NotFound/Protocol", "supermicro-x10"))},
	"members-loop": {operations: []string{seen}, except: and(others("refused", "", "ami-megarac", "nvidia-dgx"),
		others("Protocol", "Protocol", "supermicro-x10"))},

	// A session in hand outlives a lock-out. A password that was changed ends it.
	"locked-out":       {operations: []string{"Unauthorized"}},
	"password-changed": always("Unauthorized"),

	// Success that is none: read back, asked again, and told.
	"error-in-200": {operations: from(1, seen), provision: no, release: no, except: others("refused/waits/Busy", no, "ami-megarac",
		"nvidia-dgx")},
	"lie-power":  {operations: from(3, seen), provision: no, release: no},
	"lie-insert": {operations: from(1, seen), provision: no},
	"lie-eject":  {operations: []string{done, done, done, done, done, done, seen, seen}, release: no},
	// Older iDRACs are told by an attribute, where the lie is not.
	"lie-boot":       {operations: from(2, seen), provision: no, except: others("", "", byAttribute...)},
	"boot-downgrade": {operations: from(2, seen), provision: no, except: others("", "", byAttribute...)},

	// Media.
	// What it answers to an insert may as well be a fault of its own: it is asked again, and what is shown says what it must reach.
	"fetch-fails": {operations: from(1, "Protocol"), provision: refused, except: others("Busy", "", "sushy-tools")},
	"no-licence":  {operations: from(1, "Unsupported"), provision: refused},
	"insert-unmounted": {provision: noSign, except: others(no, "", "ami-megarac", "nvidia-dgx", "ami-megarac-12", "asrockrack"),
		unseen: "the BMC shows a medium that the server does not see"},
	"medium-lost": {provision: noSign},
	"slots-hidden": {operations: from(1, seen), provision: refused, except: others("", "", "ami-megarac", "ami-megarac-12",
		"asrockrack", "nvidia-dgx")},
	"slot-no-action": {except: others(refused, "", oneMedium...)},
	// The first slot of these is for other media than CDs.
	"first-slot-only": {except: others(refused, "", append([]string{"cisco-c845a", "cisco-imc", "nvidia-bmc", "nvidia-gh200", "openbmc"}, ilos...)...)},
	// Boards that take images by ways of their own do not take them by that one, too.
	"media-under-system": {except: others(refused, "", "supermicro-x10")},
	"https-only":         {except: others(refused, "", "supermicro-x10")},
	"insert-protocol":    {except: others(refused, "", "supermicro-x10", "hpe-ilo4")},
	"insert-credentials": {except: others(refused, "", append([]string{"supermicro-x10"}, ilos...)...)},
	// Supermicro refuses the Inserted that this way of inserting needs.
	"insert-patch": {except: others(refused, "", "supermicro-x10", "supermicro-x11", "supermicro-x12", "supermicro-x13",
		"supermicro-x14", "supermicro-ars",
		"supermicro-h13", "hpe-ilo4")},
	"insert-minimal": {except: others(refused, "", "lenovo-xcc", "lenovo-xcc2", "lenovo-xcc3")},

	// The override.
	"override-ignored": {provision: noSign, except: others("", "", byAttribute...)},
	// The pending settings of these take effect at the next boot, which does not come: nobody knows that it is disarmed.
	"override-sticky": {operations: from(3, seen), except: others("", no, "ami-megarac", "nvidia-dgx"),
		stays: []string{"ami-megarac", "nvidia-dgx"}},
	// No firmware has all of these at once: what one of them demands the other refuses.
	"boot-full": {except: others(refused, "", append([]string{"supermicro-x10", "nvidia-gb200"}, ilos...)...)},
	"boot-changed-only": {except: others(refused, "", "asrockrack", "ami-megarac", "nvidia-dgx", "supermicro-h13",
		"supermicro-ars", "supermicro-x13", "supermicro-x14")},
	"boot-mode-read-only": {except: others(refused, "", "asrockrack", "ami-megarac", "nvidia-dgx", "supermicro-h13")},
	"etag-mismatch":       {except: others(no, "", "ami-megarac", "nvidia-dgx", "ami-megarac-12", "asrockrack")},

	// Power.
	"power-unknown":    {operations: from(3, seen), provision: waits, release: waits},
	"power-stuck":      {operations: from(4, seen), release: no},
	"shutdown-ignored": {operations: []string{done, done, done, done, seen, done, done, done}},
	"power-flaps": {operations: []string{done, done, done, "done/seen", "done/seen", "done/seen", done, "done/seen"}, provision: "done/waits/refused/no sign of life", release: "waits/refused",
		unseen: "every second reading of the power is wrong"},
}
