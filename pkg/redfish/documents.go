package redfish

// The parts of Redfish documents that this package reads. Everything else in an
// answer is skipped unread, so that it cannot be wrong.

type rootDoc struct {
	Systems        link
	Managers       link
	SessionService link
	Links          object[struct{ Sessions link }]
	Vendor         text
	Product        text
	RedfishVersion text
	Oem            keys
	Features       object[struct {
		Expand object[struct{ NoLinks flag }] `json:"ExpandQuery"`
	}] `json:"ProtocolFeaturesSupported"`
}

type collectionDoc struct {
	Members list[link]
	Next    text   `json:"Members@odata.nextLink"`
	Count   number `json:"Members@odata.count"`
}

type systemDoc struct {
	ID                 text `json:"Id"`
	UUID               text
	SerialNumber       text
	Manufacturer       text
	Model              text
	PowerState         text
	Status             object[struct{ Health, HealthRollup text }]
	Boot               object[bootDoc]
	Actions            object[systemActionsDoc]
	Links              object[struct{ ManagedBy, Chassis list[link] }]
	VirtualMedia       link
	Processors         link
	Memory             link
	Storage            link
	SimpleStorage      link
	EthernetInterfaces link
	Tag                text                `json:"@odata.etag"`
	Settings           object[settingsDoc] `json:"@Redfish.Settings"`
	ProcessorSummary   object[struct {
		Count                 number
		CoreCount             number
		LogicalProcessorCount number
		Model                 text
	}]
	MemorySummary object[struct{ TotalSystemMemoryGiB number }]
}

// settingsDoc points to the pending settings of a resource.
type settingsDoc struct {
	Object link `json:"SettingsObject"`
}

// pendingDoc is a system's pending settings.
type pendingDoc struct {
	Boot *object[bootDoc]
	Tag  text `json:"@odata.etag"`
}

// attributesDoc are the attributes of a Dell manager that set the next boot.
type attributesDoc struct {
	Attributes object[struct {
		Device text `json:"ServerBoot.1.FirstBootDevice"`
		Once   text `json:"ServerBoot.1.BootOnce"`
	}]
	Tag text `json:"@odata.etag"`
}

type bootDoc struct {
	Target  member     `json:"BootSourceOverrideTarget"`
	Enabled text       `json:"BootSourceOverrideEnabled"`
	Mode    member     `json:"BootSourceOverrideMode"`
	Targets list[text] `json:"BootSourceOverrideTarget@Redfish.AllowableValues"`
}

type systemActionsDoc struct {
	Reset object[resetActionDoc] `json:"#ComputerSystem.Reset"`
}

type resetActionDoc struct {
	Target text       `json:"target"`
	Types  list[text] `json:"ResetType@Redfish.AllowableValues"`
	Info   text       `json:"@Redfish.ActionInfo"`
}

type actionInfoDoc struct {
	Parameters list[struct {
		Name            text
		AllowableValues list[text]
	}]
}

type managerDoc struct {
	ID              text `json:"Id"`
	FirmwareVersion text
	Model           text
	VirtualMedia    link
	Links           object[managerLinksDoc]
	Actions         object[struct {
		Oem object[map[string]object[actionDoc]]
	}]
	Status object[struct{ State text }]
}

type managerLinksDoc struct {
	ManagerForServers list[link]
	Oem               object[struct {
		Dell object[struct{ DellAttributes list[link] }]
	}]
}

type mediaDoc struct {
	ID           text `json:"Id"`
	Image        text
	ImageName    text
	ConnectedVia text
	Inserted     flag
	MediaTypes   list[text]
	Tag          text `json:"@odata.etag"`
	Actions      object[struct {
		Insert object[actionDoc] `json:"#VirtualMedia.InsertMedia"`
		Eject  object[actionDoc] `json:"#VirtualMedia.EjectMedia"`
		Oem    object[map[string]object[actionDoc]]
	}]
	Oem object[map[string]object[mediaOemDoc]]
}

// mediaOemDoc is what vendors add to a slot below their name.
type mediaOemDoc struct {
	Actions object[map[string]object[actionDoc]]
	// RedirectionStatus: MegaRAC mounts in the background and tells here.
	RedirectionStatus text
}

// ethernetDoc is a network interface of the system.
type ethernetDoc struct {
	ID                              text `json:"Id"`
	Name                            text
	MACAddress, PermanentMACAddress text
	Kind                            text `json:"EthernetInterfaceType"`
	LinkStatus                      text
	SpeedMbps                       number
	Status                          object[struct{ State text }]
	Links                           object[struct{ HostInterface link }]
}

// portDoc is a port of a network adapter, in the words of Port and of the older NetworkPort.
type portDoc struct {
	ID                       text `json:"Id"`
	LinkStatus               text
	LinkNetworkTechnology    text
	ActiveLinkTechnology     text
	CurrentSpeedGbps         number
	CurrentLinkSpeedMbps     number
	AssociatedNetworkAddress list[text] `json:"AssociatedNetworkAddresses"`
	Status                   object[struct{ State text }]
	Ethernet                 object[struct{ AssociatedMACAddresses list[text] }]
}

// adapterDoc is a network adapter of a chassis.
type adapterDoc struct{ Ports, NetworkPorts link }

// driveDoc is what names a drive for good, and where it is.
type driveDoc struct {
	Identifiers      list[struct{ DurableName, DurableNameFormat text }]
	PhysicalLocation object[struct {
		PartLocation object[struct{ ServiceLabel text }]
	}]
}

// named are both in the types that the schema gives them.
func (d *driveDoc) named() (identifiers []map[string]string, location map[string]any) {
	for _, i := range d.Identifiers {
		identifiers = append(identifiers, map[string]string{"DurableName": string(i.DurableName), "DurableNameFormat": string(i.DurableNameFormat)})
	}
	label := string(d.PhysicalLocation.v.PartLocation.v.ServiceLabel)
	return identifiers, map[string]any{"PartLocation": map[string]string{"ServiceLabel": label}}
}

// isoConfigDoc is the IsoConfig resource of older Supermicro boards.
type isoConfigDoc struct {
	Host, Path text
	Actions    object[struct {
		Mount   object[actionDoc] `json:"#IsoConfig.Mount"`
		UnMount object[actionDoc] `json:"#IsoConfig.UnMount"`
	}]
}

type taskDoc struct {
	TaskState, TaskStatus text
	Messages              list[messageDoc]
}

type sessionDoc struct {
	Path     text `json:"@odata.id"`
	UserName text
	Context  text
	Created  text `json:"CreatedTime"`
}

type actionDoc struct {
	Target text `json:"target"`
}

type errorDoc struct {
	Error object[struct {
		Code text
		Info list[messageDoc] `json:"@Message.ExtendedInfo"`
		Text text             `json:"message"`
	}] `json:"error"`
	Info list[messageDoc] `json:"@Message.ExtendedInfo"`
}

type messageDoc struct {
	ID      text `json:"MessageId"`
	Message text
	Args    list[text] `json:"MessageArgs"`
	Related list[text] `json:"RelatedProperties"`
}
