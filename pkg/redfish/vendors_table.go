package redfish

import "time"

// Sources: sushy and ironic stand for their code and release notes, which are
// the field's longest record of BMC behaviour; the others are public issues and
// documents of the project named.
const (
	licenceDell       = "iDRAC Enterprise or Datacenter for remote media"
	licenceHPE        = "iLO Advanced for media by URL"
	licenceSupermicro = "SFT-OOB-LIC or SFT-DCMS-SINGLE for out-of-band functions"
	licenceLenovo     = "XCC Advanced, Enterprise or Premier (by generation) for remote media"
)

// vendors is the table. Within a family the first row that fits wins, and the
// last row of a family is the one for what cannot be told apart.
var vendors = []vendor{
	{
		name: "nvidia", family: "nvidia", products: "NVIDIA GB200, GH200, BlueField (bmcweb)", software: []string{"nvidia"}, maker: []string{"nvidia"},
		fields: []string{"UserName"}, bootMode: modeUnlessUEFI, httpsOnly: true,
		notes: "credentials of the image server must not be empty, \"none\" will do; PowerCycle may leave the server off and is not used", source: "sushy, launchpad 2071945; infra-controller #5589",
	},
	{
		name: "openbmc", family: "openbmc", products: "OpenBMC (bmcweb)", software: []string{"openbmc", "bmcweb"},
		media: mediaManager, bootMode: modeUnlessUEFI, httpsOnly: true,
		notes: "Proxy slots are for browsers; compares If-Match strictly", source: "bmcweb virtual_media.hpp, systems.hpp, query.hpp",
	},
	{
		name: "huawei-openubmc", family: "huawei", products: "openUBMC, Huawei iBMC", software: []string{"openubmc", "ibmc", "huawei"}, maker: []string{"huawei", "xfusion"},
		media: mediaManager, fields: []string{"TransferProtocolType", "TransferMethod"}, httpsOnly: true, source: "openubmc.cn VirtualMediaCD; sushy retry-on-missing-managedby",
	},
	{
		name: "nokia", family: "nokia", products: "Nokia AirFrame", software: []string{"nokia"}, maker: []string{"nokia"},
		fields: []string{"TransferProtocolType"}, bootPlace: placeSettings, source: "sushy retry-if-transferprototype-missing, use-settingsobject-if-supported",
	},
	{
		name: "cisco-imc", family: "cisco", products: "Cisco UCS C-series IMC", software: []string{"cisco", "cimc"}, maker: []string{"cisco"},
		media: mediaManager, notes: "some slots are for the vKVM only and refuse an image: the next one is tried; firmware 4.3 or 5.2(2) and later", source: "launchpad 2031595, 2039042; ironic cisco-c845a-vmedia-fix; openshift-docs PR 91095",
	},
	{
		name: "fujitsu-irmc", family: "fujitsu", products: "Fujitsu iRMC S5, S6", software: []string{"irmc"}, maker: []string{"fujitsu", "fsas"},
		media: mediaManager, fields: []string{"TransferProtocolType"}, httpsOnly: true,
		tuning: Tuning{AfterEject: 2 * time.Second, AfterInsert: 20 * time.Second},
		notes:  "the image's URL must end in .iso", source: "terraform-provider-irmc-redfish resource_virtual_media",
	},
	lenovo("lenovo-xcc", "Lenovo XClarity Controller (first generation)", "xclarity controller 1", "xcc1"),
	lenovo("lenovo-xcc2", "Lenovo XClarity Controller 2", "xclarity controller 2", "xcc2"),
	lenovo("lenovo-xcc3", "Lenovo XClarity Controller 3", "xclarity controller 3", "xcc3"),
	lenovo("lenovo", "Lenovo XClarity Controller of unknown generation"),
	{
		name: "supermicro-x10", family: "supermicro", products: "Supermicro X10 and X11 with old firmware", software: []string{"supermicro"}, maker: []string{"supermicro"},
		models: []string{"x10", "h10", "super server"}, media: mediaManager, insert: insertIsoConfig, cdTargets: []string{"UsbCd", "Cd"}, imageStays: true, hidden: insertIsoConfig,
		licence: licenceSupermicro, notes: "rejects a boot mode; one medium", source: "bmclib supermicro provider and fixtures; metal-operator redfish_supermicro",
	},
	{
		name: "supermicro-x11", family: "supermicro", products: "Supermicro X11, H11", software: []string{"supermicro"}, maker: []string{"supermicro"},
		models: []string{"x11", "h11"}, media: mediaManager, cdTargets: []string{"UsbCd", "Cd"}, bootMode: modeUEFI, imageStays: true, hidden: insertIsoConfig,
		licence: licenceSupermicro, notes: "refuses Inserted and WriteProtected in an insert; without Enabled in the request an override falls back to Once", source: "sushy fix-insert-media-payload, change-bootdev-smc; community.general PR 4839, #6969",
	},
	{
		name: "supermicro-x12", family: "supermicro", products: "Supermicro X12, H12", software: []string{"supermicro"}, maker: []string{"supermicro"},
		models: []string{"x12", "h12"}, media: mediaManager, cdTargets: []string{"UsbCd", "Cd"}, bootMode: modeUEFI, imageStays: true, hidden: insertIsoConfig,
		licence: licenceSupermicro, notes: "refuses ? and = in the image's URL", source: "sushy fix-insert-media-payload; ironic remove-filename-param-from-vmedia-url",
	},
	{
		name: "supermicro-ars", family: "supermicro", products: "Supermicro ARS (Arm)", software: []string{"supermicro"}, maker: []string{"supermicro", "super micro"},
		models: []string{"ars-"}, media: mediaManager, cdTargets: []string{"Cd", "UsbCd"}, bootMode: modeUEFI, imageStays: true, hidden: insertIsoConfig,
		licence: licenceSupermicro, notes: "offers UsbCd and boots from Cd only (ARS-111GL-NHR)", source: "sushy system.py, models that want Cd for virtual media",
	},
	{
		name: "supermicro", family: "supermicro", products: "Supermicro X13, X14, H13", software: []string{"supermicro"}, maker: []string{"supermicro", "super micro"},
		media: mediaManager, cdTargets: []string{"UsbCd", "Cd"}, bootMode: modeUEFI, imageStays: true, hidden: insertIsoConfig,
		licence: licenceSupermicro, notes: "may report success and fall back to Legacy, disabled: read back, then the other target and no mode", source: "bmclib fixtures/supermicro; sushy supermicro-vmedia-dev-workaround",
	},
	{
		name: "hpe-ilo4", family: "hpe", products: "HPE iLO 4", software: []string{"ilo 4", "ilo4"}, models: []string{"ilo 4", "ilo4"},
		media: mediaManager, insert: insertHP, licence: licenceHPE, source: "python-ilorest-library #7",
	},
	hpe("hpe-ilo5", "HPE iLO 5", "ilo 5", "ilo5"),
	hpe("hpe-ilo6", "HPE iLO 6", "ilo 6", "ilo6"),
	hpe("hpe-ilo7", "HPE iLO 7", "ilo 7", "ilo7"),
	hpe("hpe", "HPE iLO of unknown generation"),
	{
		name: "dell-idrac10", family: "dell", products: "Dell iDRAC 10", software: []string{"dell", "idrac"}, maker: []string{"dell"}, models: []string{"17g", "18g", "idrac10", "idrac 10"}, from: "1", before: "2",
		usable: []string{"1"}, bootPlace: placeSettings, power: powerLateOn, licence: licenceDell,
		tuning: Tuning{Cooldown: 20 * time.Second, AfterPower: time.Minute}, notes: "no If-Match on actions: it answers 412", source: "ironic idrac10-vmedia-slot1, idrac10-settings-resource, redfish-power-on-conflict-retry; terraform-provider-redfish #331",
	},
	{
		name: "dell-idrac8", family: "dell", products: "Dell iDRAC 7, 8", software: []string{"dell", "idrac"}, maker: []string{"dell"}, models: []string{"12g", "13g", "idrac8", "idrac 8"}, from: "2", before: "3",
		media: mediaManager, bootPlace: placeDell, licence: licenceDell,
		tuning: Tuning{Cooldown: 10 * time.Second}, notes: "2.75.75.75 or later", source: "metal3 supported_hardware; iDRAC-Redfish-Scripting #29, #90, #116",
	},
	{
		name: "dell-idrac9-5", family: "dell", products: "Dell iDRAC 9 before 6.00.02", software: []string{"dell", "idrac"}, maker: []string{"dell"}, from: "3", before: "6.00.02",
		media: mediaManager, bootPlace: placeDell, licence: licenceDell,
		tuning: Tuning{Cooldown: 20 * time.Second}, notes: "Cd is the drive in the server: the virtual one is set by an attribute", source: "iDRAC-Redfish-Scripting #265, #90, #116; sushy OEM dell manager",
	},
	{
		name: "dell-idrac9", family: "dell", products: "Dell iDRAC 9 from 6.00.02", software: []string{"dell", "idrac"}, maker: []string{"dell"}, from: "6.00.02",
		licence: licenceDell, tuning: Tuning{Cooldown: 20 * time.Second},
		notes: "media must be attachable (attribute VirtualMedia.1.Attached); insert right after eject may fail and is tried again", source: "ironic fix-redfish-vmedia-insert-retry; sushy increase-server-retries; iDRAC-Redfish-Scripting #236, #265",
	},
	{
		name: "asrockrack", family: "ami", products: "ASRock Rack on MegaRAC", software: []string{"asrockrack"}, maker: []string{"asrockrack", "asrock"},
		media: mediaManager, insert: insertEnable, hidden: insertEnable, fields: []string{"TransferProtocolType"}, bootMode: modeUEFI, bootBody: bodyFull, bootPlace: placeSettings, patchTag: tagAny,
		tuning: Tuning{AfterInsert: time.Minute}, source: "ironic redfish-full-boot-payload-asrockrack; bmclib asrockrack; launchpad 2073518",
	},
	{
		name: "ami-dgx", family: "ami", products: "NVIDIA DGX on MegaRAC", software: []string{"american megatrends", "ami redfish", "megarac", "\nami\n"}, maker: []string{"nvidia"}, models: []string{"dgx"},
		media: mediaManager, insert: insertEnable, hidden: insertEnable, fields: []string{"TransferProtocolType", "UserName"}, bootMode: modeUEFI, bootBody: bodyFull, bootPlace: placeSettings, patchTag: tagAny,
		tuning: Tuning{AfterInsert: time.Minute}, notes: "credentials of the image server must not be empty, \"none\" will do; two systems: systemID DGX is the server", source: "capture nvidia-dgx-h100; sushy, launchpad 2071945",
	},
	{
		name: "ami", family: "ami", products: "AMI MegaRAC", software: []string{"american megatrends", "ami redfish", "megarac", "\nami\n"}, maker: []string{"american megatrends"},
		media: mediaManager, insert: insertEnable, hidden: insertEnable, fields: []string{"TransferProtocolType"}, bootMode: modeUEFI, bootBody: bodyFull, bootPlace: placeSettings, patchTag: tagAny,
		tuning: Tuning{AfterInsert: time.Minute}, notes: "mounts in the background; remote media may have to be switched on first", source: "bmclib AMI; omni redfish; sushy check-for-boot-attrs-in-settingsuri; launchpad 2073518",
	},
	{name: genericVendor, family: genericVendor, products: "every other BMC", source: "DMTF Redfish; sushy and ironic"},
}

// lenovo is a row of the XCC family: slots without an action, filled by PATCH.
func lenovo(name, products string, models ...string) vendor {
	return vendor{
		name: name, family: "lenovo", products: products, software: []string{"lenovo", "xclarity", "xcc"}, maker: []string{"lenovo"}, models: models,
		insert: insertPatch, eject: ejectImage, usable: []string{"EXT*"}, patchTag: tagAny, licence: licenceLenovo,
		notes: "firmware before 2.50 has no slots until one is used; a session ends after 300 s", source: "pubs.lenovo.com xcc3-restapi; sushy fix-virtual-media-fallback; gofish #529; python-redfish-lenovo PR 257, 289",
	}
}

// hpe is a row of iLO 5 and later: the mode is read-only and left alone.
func hpe(name, products string, models ...string) vendor {
	return vendor{
		name: name, family: "hpe", products: products, software: []string{"hpe", "hp\n", "hewlett", "proliant", "ilo "}, maker: []string{"hpe", "hewlett"}, models: models,
		media: mediaManager, licence: licenceHPE, stick: true, // ironic's ilo driver hands its agent's data over in that slot
		notes: "takes no change of boot while the server is in self-test or a remote console is open; may report success without mounting", source: "HPE _ilo5_adaptation; sushy fix-eject-media-empty-dict; ironic redfish-post-boot-retry; python-ilorest-library #7",
	}
}
