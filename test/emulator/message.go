package emulator

import (
	"cmp"
	"fmt"
	"strings"
)

// errorForm is how a BMC words its errors.
type errorForm struct {
	// base is the registry of the standard's ids, with its version; ids are the
	// vendor's full ids for some of them.
	base string
	ids  map[string]string
	// code is that of the error object; empty is the standard's GeneralError.
	code string
	// single: ExtendedInfo is an object, not a list. bare: no texts.
	single, bare bool
	// idKey is the name of the id where it is not MessageId.
	idKey string
}

func (e errorForm) id(id string) string {
	if full := e.ids[id]; full != "" {
		return full
	}
	return e.base + id
}

// body is the body of an error answer.
func (e errorForm) body(ms ...message) doc {
	info := make([]doc, 0, len(ms))
	for _, m := range ms {
		info = append(info, m.doc(e))
	}
	code, text := e.base+"GeneralError", "See ExtendedInfo for what went wrong."
	if len(ms) == 1 && !e.bare {
		code, text = e.id(ms[0].id), ms[0].text
	}
	d := doc{"code": cmp.Or(e.code, code), "message": text, "@Message.ExtendedInfo": info}
	if e.single && len(info) > 0 {
		d["@Message.ExtendedInfo"] = info[0]
	}
	return doc{"error": d}
}

// message is one entry of @Message.ExtendedInfo. The texts are our own: clients
// must go by the ids.
type message struct {
	id         string
	text       string
	args       []string
	severity   string
	resolution string
	related    []string
}

func (m message) doc(e errorForm) doc {
	if e.bare {
		return doc{cmp.Or(e.idKey, "MessageId"): e.id(m.id), "MessageArgs": append([]string{}, m.args...)}
	}
	d := doc{
		"@odata.type": "#Message.v1_1_2.Message", cmp.Or(e.idKey, "MessageId"): e.id(m.id), "Message": m.text,
		"MessageArgs": append([]string{}, m.args...), "MessageSeverity": m.severity, "Severity": m.severity,
		"Resolution": m.resolution,
	}
	if len(m.related) > 0 {
		d["RelatedProperties"] = m.related
	}
	return d
}

func critical(id, resolution string, args []string, format string, a ...any) message {
	return message{id: id, text: fmt.Sprintf(format, a...), args: args, severity: "Critical", resolution: resolution}
}

func warning(id, resolution, property string, args []string, format string, a ...any) message {
	return message{id: id, text: fmt.Sprintf(format, a...), args: args, severity: "Warning", resolution: resolution,
		related: []string{"#/" + property}}
}

func msgNotFound(path string) message {
	return critical("ResourceMissingAtURI", "Use a URI that the service lists.", []string{path}, "Nothing is at %s.", path)
}

func msgMethod(method string) message {
	return critical("OperationNotAllowed", "Use a method of the Allow header.", nil, "%s is not possible here.", method)
}

func msgUnauthorized() message {
	return critical("NoValidSession", "Log in and repeat the request.", nil, "The request carries no valid credentials.")
}

func msgBadLogin() message {
	return critical("ResourceAtUriUnauthorized", "Check user name and password.", nil, "User name or password is wrong, or the account is locked.")
}

func msgSessionLimit() message {
	return critical("SessionLimitExceeded", "End other sessions first.", nil, "All sessions are in use.")
}

func msgPrecondition() message {
	return critical("PreconditionFailed", "Read the resource again.", nil, "The ETag is not the current one.")
}

func msgMalformed() message {
	return critical("MalformedJSON", "Send a JSON object.", nil, "The body is not a JSON object.")
}

func msgQuery(option string) message {
	return critical("QueryNotSupported", "Leave the query out.", []string{option}, "The query option %s is not supported.", option)
}

func msgUnknownProperty(name string) message {
	return warning("PropertyUnknown", "Leave the property out.", name, []string{name}, "There is no property %s.", name)
}

func msgReadOnly(name string) message {
	return warning("PropertyNotWritable", "Leave the property out.", name, []string{name}, "The property %s is read only.", name)
}

func msgWrongType(name string) message {
	return warning("PropertyValueTypeError", "Send a value of the right type.", name, []string{"?", name}, "The value of %s has the wrong type.", name)
}

func msgNotInList(name, value string) message {
	return warning("PropertyValueNotInList", "Choose one of the allowable values.", name, []string{value, name}, "%q is no allowable value of %s.", value, name)
}

func msgPropertyMissing(name string) message {
	return warning("PropertyMissing", "Send the property.", name, []string{name}, "The property %s is required.", name)
}

func msgNothing() message {
	return warning("NoOperation", "Send at least one property.", "", nil, "The request changes nothing.")
}

func msgParameterMissing(action, name string) message {
	return warning("ActionParameterMissing", "Send the parameter.", name, []string{action, name}, "%s needs the parameter %s.", action, name)
}

func msgParameterUnknown(action, name string) message {
	return warning("ActionParameterUnknown", "Leave the parameter out.", name, []string{action, name}, "%s has no parameter %s.", action, name)
}

func msgParameterValue(action, name, value string) message {
	return warning("ActionParameterValueNotInList", "Choose one of the allowable values.", name, []string{value, name, action}, "%q is no allowable value of %s.", value, name)
}

func msgParameterFormat(action, name, why string) message {
	return warning("ActionParameterValueFormatError", "Send a value this BMC can use.", name, []string{"?", name, action}, "The parameter %s of %s cannot be used: %s.", name, action, why)
}

func msgPowerState(action, state string) message {
	return critical("InvalidOperationForSystemState", "Bring the server into another power state first.", []string{action, "Power is " + state}, "%s is not possible: power is %s.", action, state)
}

func msgInUse(what string) message {
	return critical("ResourceInUse", "Eject the medium, or wait.", nil, "%s is in use.", what)
}

func msgNoMedium(what string) message {
	return critical("NoOperation", "Insert a medium first.", nil, "%s is empty.", what)
}

func msgFetch(why string) message {
	return critical("CouldNotEstablishConnection", "Check that the BMC's network reaches the image.", nil, "The image cannot be fetched: %s.", why)
}

func msgSuccess() message {
	return message{id: "Success", text: "Done.", severity: "OK", resolution: "None."}
}

func msgPrivilege() message {
	return critical("InsufficientPrivilege", "Use an account that may.", nil, "The account may not do this.")
}

func msgTagNeeded() message {
	return critical("PreconditionRequired", "Send If-Match.", nil, "The request needs the ETag of the resource.")
}

func msgBusy(seconds string) message {
	return critical("ServiceTemporarilyUnavailable", "Wait.", []string{seconds}, "Busy. Retry in %s seconds.", seconds)
}

func msgLicence() message {
	return critical("LicenseRequired", "Install the licence.", nil, "The licence for this is missing.")
}

func msgPOST() message {
	return critical("UnableToModifyDuringSystemPOST", "Wait until POST is over.", nil, "The system is in POST.")
}

func msgUnready() message {
	return critical("InvalidOperationForSystemState", "Wait.", []string{"Not ready"}, "The system is not ready for this.")
}

func msgOnConflict() message {
	return warning("ActionParameterValueConflict", "Wait.", "ResetType", []string{"ResetType", "On"}, "On is not possible now.")
}

func msgElsewhere(id, name string) message {
	return warning(id, "Use the settings resource.", name, []string{name}, "%s is not changed at this URI.", name)
}

func msgUnchanged(name string) message {
	return warning("PropertyValueConflict", "Leave it out.", name, []string{name, "the current value"}, "%s would not change.", name)
}

func msgJobRunning() message {
	return critical("JobRunning", "Wait for the job.", nil, "A job is running.")
}

// msgVague says in a text only which parameters are missing.
func msgVague(names []string) message {
	return critical("GeneralError", "See the text.", nil, "Invalid request: %s must not be empty", strings.Join(names, " and "))
}
