package emulator

import "fmt"

// baseRegistry is the version of the Base message registry the ids refer to.
const baseRegistry = "Base.1.18."

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

func (m message) doc() doc {
	d := doc{
		"@odata.type": "#Message.v1_1_2.Message", "MessageId": baseRegistry + m.id, "Message": m.text,
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

// errorBody is the body of an error answer.
func errorBody(ms ...message) doc {
	info := make([]doc, 0, len(ms))
	for _, m := range ms {
		info = append(info, m.doc())
	}
	code, text := baseRegistry+"GeneralError", "See ExtendedInfo for what went wrong."
	if len(ms) == 1 {
		code, text = baseRegistry+ms[0].id, ms[0].text
	}
	return doc{"error": doc{"code": code, "message": text, "@Message.ExtendedInfo": info}}
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
