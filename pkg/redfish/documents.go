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
	Links              object[struct{ ManagedBy list[link] }]
	VirtualMedia       link
	Processors         link
	Memory             link
	Storage            link
	SimpleStorage      link
	EthernetInterfaces link
	ProcessorSummary   object[struct {
		Count                 number
		CoreCount             number
		LogicalProcessorCount number
		Model                 text
	}]
	MemorySummary object[struct{ TotalSystemMemoryGiB number }]
}

type bootDoc struct {
	Target  text       `json:"BootSourceOverrideTarget"`
	Enabled text       `json:"BootSourceOverrideEnabled"`
	Mode    text       `json:"BootSourceOverrideMode"`
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
	Links           object[struct{ ManagerForServers list[link] }]
}

type mediaDoc struct {
	ID           text `json:"Id"`
	Image        text
	ImageName    text
	ConnectedVia text
	Inserted     flag
	MediaTypes   list[text]
	Actions      object[struct {
		Insert object[actionDoc] `json:"#VirtualMedia.InsertMedia"`
		Eject  object[actionDoc] `json:"#VirtualMedia.EjectMedia"`
	}]
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
