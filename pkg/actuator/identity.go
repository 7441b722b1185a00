package actuator

import (
	"github.com/beskar7/beskar7/pkg/redfish"
	"github.com/beskar7/beskar7/pkg/serverid"
)

// Inspected is the server that was inspected by this process.
func (o Observation) Inspected() serverid.Identity {
	if o.Identity == nil {
		return serverid.Identity{}
	}
	return serverid.Identity{UUID: o.Identity.SystemUUID, Serial: o.Identity.SerialNumber, Manufacturer: o.Identity.Manufacturer, Model: o.Identity.Model}
}

func identityOf(s redfish.State) serverid.Identity {
	return serverid.Identity{UUID: s.SystemUUID, Serial: s.Serial}
}

// Recorded is the server that the host is: by what is written down, else by what this process found when it inspected it.
func (b Brief) Recorded(o Observation) serverid.Identity {
	if b.Server.Known() {
		return b.Server
	}
	return o.Inspected()
}

// unproven is why what answers cannot be taken for the recorded server (I11), or nil. A BMC that never said who it is has
// nothing to be compared: then its address and system are all that the host is known by.
func (b Brief) unproven(o Observation) error {
	want, found := b.Recorded(o), identityOf(o.State)
	if !want.Known() {
		return nil
	}
	problem := ""
	switch want.Compare(found) {
	case serverid.Same:
		return nil
	case serverid.Other:
		problem = "another server answers: expected " + want.String() + ", found " + found.String()
	case serverid.Unknown:
		problem = "the BMC does not say which server it is, as it did before (" + want.String() + "): nothing is changed until it does"
	}
	return &redfish.Error{Kind: redfish.KindProtocol, Op: "identify the server", Message: problem}
}

// elsewhere says whether what answers now is another server than the one to which the last change was sent: it shows no effect of
// that. a.mu is held.
func (t *tracked) elsewhere() bool {
	return t.changed.Compare(t.observation.Answering) == serverid.Other
}
