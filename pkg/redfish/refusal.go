package redfish

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The bounds of what a BMC may ask us to wait: less is hammering, more is a
// wrong clock.
const (
	minRetryAfter = time.Second
	maxRetryAfter = 5 * time.Minute
)

// refusal is what the BMC said when it refused. Its texts stay inside this
// package: BMCs quote the media URL, which is a capability, and even passwords.
type refusal struct {
	keys  []string // last component of each message id, lower case
	ids   []string // message ids as given
	words string   // messages, arguments and related properties, lower case
	args  map[string][]text
}

func parseRefusal(body []byte) *refusal {
	var doc errorDoc
	if decode(body, &doc) != nil {
		return &refusal{}
	}
	r := &refusal{args: map[string][]text{}}
	var words strings.Builder
	add := func(id text, texts ...text) {
		if key := messageKey(string(id)); key != "" {
			r.keys = append(r.keys, key)
			r.ids = append(r.ids, string(id))
		}
		for _, t := range texts {
			words.WriteString(strings.ToLower(string(t)) + "\n")
		}
	}
	for _, m := range append(doc.Error.v.Info, doc.Info...) {
		add(m.ID, append(append([]text{m.Message}, m.Args...), m.Related...)...)
		r.args[messageKey(string(m.ID))] = m.Args
	}
	add(doc.Error.v.Code, doc.Error.v.Text)
	r.words = words.String()
	return r
}

// messageKey strips registry and version: Base.1.12.PropertyUnknown -> propertyunknown.
func messageKey(id string) string {
	return strings.ToLower(id[strings.LastIndexByte(id, '.')+1:])
}

func (r *refusal) has(keys ...string) bool {
	return r != nil && slices.ContainsFunc(r.keys, func(k string) bool { return slices.Contains(keys, k) })
}

// names tells whether the refusal is about the property.
func (r *refusal) names(property string) bool {
	return r != nil && strings.Contains(r.words, strings.ToLower(property))
}

// saysNothing: no message key beyond the one that stands for any error.
func (r *refusal) saysNothing() bool {
	return r != nil && !slices.ContainsFunc(r.keys, func(k string) bool { return k != "generalerror" })
}

// isAbout tells whether the property as a whole is an argument or a related property of the refusal.
func (r *refusal) isAbout(property string) bool {
	return r != nil && slices.ContainsFunc(strings.Split(r.words, "\n"), func(w string) bool {
		return strings.EqualFold(strings.TrimPrefix(w, "#/"), property)
	})
}

// meaning is what a message key or a status means to us.
type meaning struct {
	kind    Kind
	message string
}

// keyMeanings: message keys that say more than the status they come with.
// Keys are lower case. Sources: the Base registry and the vendors' tables.
var keyMeanings = map[string]meaning{
	"insufficientprivilege":              {KindUnauthorized, "the account lacks the privilege: give it the operator role on the BMC"},
	"oemlicensenotpassed":                {KindUnsupported, "the BMC wants a licence for this: install it or use another host"},
	"licenserequired":                    {KindUnsupported, "the BMC wants a licence for this: install it or use another host"},
	"lic501":                             {KindUnsupported, "the BMC wants a licence for this: install it or use another host"},
	"licensekeyrequired":                 {KindUnsupported, "the BMC wants a licence for this: install it or use another host"},
	"actionnotsupported":                 {KindUnsupported, "the BMC does not support the action"},
	"actionparameternotsupported":        {KindUnsupported, "the BMC does not support a parameter of the action"},
	"actionparametervaluenotinlist":      {KindUnsupported, "the BMC does not allow the wanted value"},
	"propertyvaluenotinlist":             {KindUnsupported, "the BMC does not allow the wanted value"},
	"propertynotwritable":                {KindUnsupported, "the BMC does not let the setting be changed"},
	"propertyunknown":                    {KindUnsupported, "the BMC does not know the setting"},
	"invalidoperationforsystemstate":     {KindConflict, "refused in the server's present state"},
	"actionparametervalueconflict":       {KindConflict, "refused in the server's present state"},
	"propertyvalueconflict":              {KindConflict, "refused in the server's present state"},
	"resourceinuse":                      {KindConflict, "the resource is in use"},
	"resourceinstandby":                  {KindConflict, "the resource is in standby"},
	"unabletomodifyduringsystempost":     {KindBusy, "the server is in power-on self-test"},
	"unabletomodifywhilekvmipconnected":  {KindBusy, "a remote console is open on the server: close it"},
	"rac0679":                            {KindBusy, "a job is running on the BMC"},
	"lc068":                              {KindBusy, "a change is pending on the BMC until the server is restarted"},
	"operationsupportedinfuturestateuri": {KindUnsupported, "the BMC takes the setting in its pending settings only"},
	"servicetemporarilyunavailable":      {KindBusy, "the BMC asks to come back later"},
	"serviceshuttingdown":                {KindBusy, "the BMC is restarting"},
	"serviceinunknownstate":              {KindBusy, "the BMC is restarting"},
	"sys518":                             {KindBusy, "the BMC asks to come back later"},
	"rac0218":                            {KindBusy, "the BMC has no session left"},
	"sessionlimitexceeded":               {KindBusy, "the BMC has no session left"},
	"rac0904":                            {KindProtocol, "the BMC cannot fetch the image: check that its network reaches the media URL and trusts its certificate"},
	"sys446":                             {KindProtocol, "the BMC cannot fetch the image: check that its network reaches the media URL and trusts its certificate"},
	"couldnotestablishconnection":        {KindProtocol, "the BMC cannot fetch the image: check that its network reaches the media URL and trusts its certificate"},
}

func statusVerdict(status int) meaning {
	switch status {
	case http.StatusUnauthorized:
		return meaning{KindUnauthorized, "the BMC refused the credentials: check user name and password in the Secret"}
	case http.StatusForbidden:
		return meaning{KindUnauthorized, "the BMC forbids this: check the account's role"}
	case http.StatusNotFound, http.StatusGone:
		return meaning{KindNotFound, "the BMC does not have the resource"}
	case http.StatusMethodNotAllowed, http.StatusNotImplemented, http.StatusUnsupportedMediaType, http.StatusNotAcceptable:
		return meaning{KindUnsupported, "the BMC does not support the request"}
	case http.StatusConflict, http.StatusPreconditionFailed, http.StatusPreconditionRequired, http.StatusLocked:
		return meaning{KindConflict, "refused in the server's present state"}
	case http.StatusTooManyRequests, http.StatusServiceUnavailable, http.StatusRequestTimeout:
		return meaning{KindBusy, "the BMC asks to come back later"}
	case http.StatusBadGateway, http.StatusGatewayTimeout, http.StatusInternalServerError:
		return meaning{KindBusy, "the BMC failed internally and may recover"}
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
		return meaning{KindProtocol, "the BMC refused the request as wrong"}
	default:
		return meaning{KindProtocol, "unexpected answer"}
	}
}

// classify turns an answer outside 200..299 into an Error, without Op and Endpoint.
func classify(resp *response) *Error {
	r := parseRefusal(resp.body)
	v := statusVerdict(resp.status)
	for _, k := range r.keys {
		if known, ok := keyMeanings[k]; ok {
			v = known
			break
		}
	}
	e := &Error{Kind: v.kind, Message: v.message, Status: resp.status, refusal: r}
	if v.kind == KindBusy {
		e.After = retryAfter(resp.header, r)
	}
	return e
}

// printableID is what a message id looks like; anything else is not shown.
var printableID = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{0,40}(\.[A-Za-z0-9_-]{1,60}){1,6}$`)

// shownID is the first message id fit to be shown to a person and free of the
// secrets, or "".
func (r *refusal) shownID(secrets ...string) string {
	for _, id := range r.ids {
		leaks := slices.ContainsFunc(secrets, func(s string) bool {
			return s != "" && strings.Contains(strings.ToLower(id), strings.ToLower(s))
		})
		if printableID.MatchString(id) && !leaks {
			return id
		}
	}
	return ""
}

// retryAfter reads Retry-After (seconds, or a date measured against the BMC's
// own Date, because its clock is its own) or the seconds in a busy message.
func retryAfter(h http.Header, r *refusal) time.Duration {
	v := strings.TrimSpace(h.Get("Retry-After"))
	if v == "" {
		for _, key := range []string{"servicetemporarilyunavailable", "sys518"} {
			if args := r.args[key]; len(args) > 0 {
				v = string(args[0])
			}
		}
	}
	if v == "" {
		return 0
	}
	if n, err := strconv.ParseInt(v, 10, 32); err == nil {
		return min(max(time.Duration(n)*time.Second, minRetryAfter), maxRetryAfter)
	}
	at, err := http.ParseTime(v)
	now, errNow := http.ParseTime(h.Get("Date"))
	if err != nil || errNow != nil {
		return 0
	}
	return min(max(at.Sub(now), minRetryAfter), maxRetryAfter)
}

// successWithErrors tells whether a 2xx answer carries an error object: some
// BMCs report success and failure at once. The caller reads back anyway; this
// only feeds the log.
func successWithErrors(body []byte) bool {
	var doc struct {
		Error json.RawMessage `json:"error"`
	}
	return decode(body, &doc) == nil && len(doc.Error) > 0
}
