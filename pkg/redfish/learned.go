package redfish

import (
	"slices"
	"strings"
)

// Learned is what was found out about one server's BMC by trying: what it keeps
// from being tried again after a restart. It holds no secrets, is comparable,
// and is meant to be kept as it is by the caller (host status) and given back
// with the Target. A wrong or outdated one costs requests and nothing else.
type Learned struct {
	// Vendor is the row of the vendor table, Firmware the BMC's version for which
	// everything here was learned.
	Vendor   string `json:"vendor,omitempty"`
	Firmware string `json:"firmware,omitempty"`
	// System, Manager and Media are paths of resources; Media is the collection of
	// the slots.
	System  string `json:"system,omitempty"`
	Manager string `json:"manager,omitempty"`
	Media   string `json:"media,omitempty"`
	// Insert are the members of an insert body beyond the image, with commas;
	// "none" where the row's were too many.
	Insert string `json:"insert,omitempty"`
	// Eject is "bare" where the action takes no body.
	Eject string `json:"eject,omitempty"`
	// BootTarget is the word for the virtual CD, BootMode "UEFI" or "omitted",
	// BootPlace "system", "settings" or "manager".
	BootTarget string `json:"bootTarget,omitempty"`
	BootMode   string `json:"bootMode,omitempty"`
	BootPlace  string `json:"bootPlace,omitempty"`
	// IfMatch is "none", "any" or "exact": what a PATCH carries.
	IfMatch string `json:"ifMatch,omitempty"`
	// Refused are the ids of slots that refused an image, with commas. It is the
	// caller's: what counts as a refusal is not known before the read-back. Here it
	// is only forgotten with the rest.
	Refused string `json:"refused,omitempty"`
	// Session names the session that this process holds, where the BMC does not
	// let it be told from others by a mark: path and time of creation, never a
	// token. After a crash the next process ends it.
	Session string `json:"session,omitempty"`
}

// learned is what stays true of a BMC until its firmware changes: paths and
// forms. A path answered with 404 is forgotten and found again by the next call.
type learned struct {
	Learned
	facts *systemFacts
	slots []slotRef
	by    told
	// managerMedia is where the manager says that its slots are; nil: not read.
	managerMedia *string
	power        PowerState
	// mode is the boot mode last read.
	mode string
	// tags are the ETags of what is patched, as last read.
	tags map[string]string
	boot bootMemory
	// mounts are inserts that the BMC works on, by slot.
	mounts map[string]mount
	// enabling counts the steps made to switch remote media on.
	enabling int
}

// recall takes over what an earlier process learned.
func recall(t Target) learned {
	l := learned{Learned: t.Learned, tags: map[string]string{}, mounts: map[string]mount{}}
	l.Session = ""
	if t.SystemID != "" && lastSegment(l.System) != t.SystemID {
		l.System = ""
	}
	for _, path := range []*string{&l.System, &l.Manager, &l.Media} {
		if !strings.HasPrefix(*path, "/redfish") {
			*path = ""
		}
	}
	// What is kept may be read by one who did not write it: only known words count.
	keepWord(&l.Eject, ejectBare)
	keepWord(&l.BootMode, wordUEFI, wordOmitted)
	keepWord(&l.BootPlace, placeWords...)
	keepWord(&l.IfMatch, tagWords...)
	keepWord(&l.BootTarget, cdTargets...)
	if !slices.ContainsFunc(strings.Split(l.Insert, ","), func(f string) bool { return f == wordNone || insertFieldNamed(f) != nil }) {
		l.Insert = ""
	}
	return l
}

func keepWord(have *string, known ...string) {
	if !slices.Contains(known, *have) {
		*have = ""
	}
}

// The words of Learned.
const (
	wordUEFI    = "UEFI"
	wordOmitted = "omitted"
	wordNone    = "none"
	ejectBare   = "bare"
)

var (
	placeWords = []string{placeSystem: "system", placeSettings: "settings", placeDell: "manager"}
	tagWords   = []string{tagOmitted: wordNone, tagAny: "any", tagExact: "exact"}
)

// Learned is a copy; it changes with every refinement.
func (c *client) Learned() Learned {
	out := c.know().Learned
	out.Session = c.conn.sessionRecord()
	return out
}

// hearRoot and hearSystem keep what the BMC says of itself.
func (l *learned) hearRoot(root *rootDoc) {
	if len(l.by.software) == 0 {
		l.by.software = append([]string{string(root.Vendor), string(root.Product)}, root.Oem...)
	}
}

func (l *learned) hearSystem(d *systemDoc) {
	l.by.maker = []string{string(d.Manufacturer)}
	if len(l.by.models) == 0 {
		l.by.models = []string{string(d.Model)}
	}
}

// hearManager settles the row. Another firmware than the one that was learned
// from starts anew: updates move slots and mend forms.
func (l *learned) hearManager(name string, d *managerDoc) {
	firmware := string(d.FirmwareVersion)
	if !l.by.manager {
		l.by.software = append(l.by.software, string(d.Model), firmware)
		l.by.models = append(l.by.models, string(d.Model))
	}
	l.by.firmware, l.by.manager = firmware, true
	row := chooseRow(name, l.Vendor, l.by)
	if l.Firmware != "" && l.Firmware != firmware || l.Vendor != "" && l.Vendor != row.name {
		l.Learned = Learned{System: l.System, Manager: l.Manager}
		l.slots, l.boot = nil, bootMemory{}
	}
	l.Vendor, l.Firmware = row.name, firmware
}

// tag keeps the ETag of a resource that may be patched.
func (l *learned) tag(path string, resp *response, inBody text) {
	tag := resp.header.Get("ETag")
	if tag == "" {
		tag = string(inBody)
	}
	if tag == "" {
		delete(l.tags, path)
		return
	}
	l.tags[path] = tag
}
