package bootmedia

// layout is the file layout of a config drive.
type layout int

const (
	// layoutNone: the image needs no config drive.
	layoutNone layout = iota
	// layoutNoCloud: user-data and meta-data at the root (cloud-init NoCloud,
	// and the systems that imitate it).
	layoutNoCloud
	// layoutConfigDrive: openstack/latest/... (Ignition's platform openstack,
	// and cloud-init's ConfigDrive).
	layoutConfigDrive
	// layoutFirstBoot: ignition/config.ign, or combustion/script, each on a
	// volume of its own label (SUSE's immutable systems).
	layoutFirstBoot
	// layoutEmbed: no drive is looked for; the configuration is in an area that
	// the image reserves for it.
	layoutEmbed
)

// Volume labels. blkid and the readers compare them with their case.
const (
	labelNoCloud     = "cidata"
	labelConfigDrive = "config-2"
	labelIgnition    = "ignition"
	labelCombustion  = "combustion"
	// labelSelfInstall is the label of KIWI's self-install images, where combustion
	// looks last (openSUSE/combustion, README). Ignition does not.
	labelSelfInstall = "INSTALL"
)

// family is one row of the table: all that differs between two families.
type family struct {
	layout layout
	// labels are the volume labels a drive of this family may carry.
	labels []string
	// formats are the user data formats the system understands; nil: any. An
	// unsaid format is always accepted, as not every bootstrap provider says.
	formats []string
	// phoneHome: the system runs cloud-init proper, vendor data included.
	phoneHome bool
	// talosKeys: the metadata also carries the keys Talos reads.
	talosKeys bool
	// rootFile: on a composed medium the system reads its data from this file at
	// the root of its own image, whatever the label.
	rootFile string
}

var families = map[Family]family{
	FamilyGeneric: {layout: layoutNoCloud, labels: []string{labelNoCloud}, formats: []string{FormatCloudConfig}, phoneHome: true},
	FamilyUbuntu:  {layout: layoutNoCloud, labels: []string{labelNoCloud}, formats: []string{FormatCloudConfig}, phoneHome: true},
	FamilyDebian:  {layout: layoutNoCloud, labels: []string{labelNoCloud}, formats: []string{FormatCloudConfig}, phoneHome: true},
	// Kairos reads NoCloud with a parser of its own, which knows neither vendor
	// data nor network-config.
	// Its live image finds itself by label, and reads cloud configs at its root.
	FamilyKairos: {layout: layoutNoCloud, labels: []string{labelNoCloud}, formats: []string{FormatCloudConfig}, rootFile: "config.yaml"},
	// Talos: user data is a machine config, for which bootstrap providers use
	// format names of their own. Platform nocloud reads a NoCloud drive, platform
	// metal a volume of its own kind, if its command line says so.
	FamilyTalos:        {layout: layoutNoCloud, labels: []string{labelNoCloud, labelMetalISO}, talosKeys: true},
	FamilyFlatcar:      {layout: layoutConfigDrive, labels: []string{labelConfigDrive}, formats: []string{FormatIgnition}},
	FamilyLeapMicro:    {layout: layoutFirstBoot, labels: []string{labelIgnition, labelCombustion}},
	FamilyMicroOS:      {layout: layoutFirstBoot, labels: []string{labelIgnition, labelCombustion}},
	FamilyFedoraCoreOS: {layout: layoutEmbed, formats: []string{FormatIgnition}},
	FamilyRHCOS:        {layout: layoutEmbed, formats: []string{FormatIgnition}},
	FamilyNone:         {layout: layoutNone},
}

// Families lists every family in a fixed order, for validation and messages.
func Families() []Family {
	return []Family{
		FamilyGeneric, FamilyUbuntu, FamilyDebian, FamilyTalos, FamilyKairos, FamilyFlatcar,
		FamilyFedoraCoreOS, FamilyRHCOS, FamilyLeapMicro, FamilyMicroOS, FamilyNone,
	}
}
