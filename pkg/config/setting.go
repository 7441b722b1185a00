package config

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/beskar7/beskar7/pkg/endpoint"
)

// Type is how the text of a value is read.
type Type string

// The types of settings.
const (
	Integer  Type = "integer"
	Number   Type = "number"
	Duration Type = "duration"
	Boolean  Type = "boolean"
	Choice   Type = "choice"
	Text     Type = "text"
	// Address is host:port, or 0 to turn an endpoint off.
	Address Type = "address"
	// URL is an http(s) base URL without query and fragment: boot media URLs are made by appending to it.
	URL Type = "url"
	// Names are names of Kubernetes objects, separated by commas; its flag may be given several times.
	Names Type = "names"
	// Networks are ranges of IP addresses, separated by commas; its flag may be given several times.
	Networks Type = "networks"
	// CipherSuites are names of TLS cipher suites, separated by commas.
	CipherSuites Type = "cipher suites"
)

// Setting is one row of the table: everything that is to be known of a setting.
type Setting struct {
	// Key in files and ConfigMaps.
	Key string
	// Flag without dashes; empty if there is none.
	Flag string
	// Env is the environment variable.
	Env  string
	Type Type
	// Default, Min and Max as text of the type; no Min and Max means no range.
	Default, Min, Max string
	// Options of a Choice.
	Options []string
	// Unit of an Integer, for people.
	Unit string
	// Optional settings have no default: without a value something else decides, as Help says.
	Optional bool
	// Local settings say where the rest is found, so that no ConfigMap can hold them.
	Local bool
	// Live settings take effect from the ConfigMap without a restart.
	Live bool
	// Help says what it does, Recommendation what to choose.
	Help, Recommendation string
	// field is where the value goes.
	field func(*Settings) any
	// chosen, if any, is where the value goes besides when a source set it.
	chosen func(*Settings) any
}

// Range is the allowed values in words; empty if everything of the type is allowed.
func (s *Setting) Range() string {
	switch {
	case len(s.Options) > 0:
		return strings.Join(s.Options, ", ")
	case s.Min != "" || s.Max != "":
		return s.Min + " to " + s.Max
	}
	return ""
}

// parse reads a value and checks its range. It returns what the setting's field holds.
func (s *Setting) parse(text string) (any, error) {
	text = strings.TrimSpace(text)
	switch s.Type {
	case Integer:
		return ranged(s, text, "a whole number", strconv.Atoi)
	case Number:
		return ranged(s, text, "a number", func(text string) (float64, error) { return strconv.ParseFloat(text, 64) })
	case Duration:
		return ranged(s, text, "a duration such as 30s, 5m or 1h30m", time.ParseDuration)
	case Boolean:
		value, err := strconv.ParseBool(text)
		if err != nil {
			return nil, fmt.Errorf("%q is not true or false", text)
		}
		return value, nil
	case Choice:
		if !slices.Contains(s.Options, text) {
			return nil, fmt.Errorf("%q is none of %s", text, strings.Join(s.Options, ", "))
		}
		return text, nil
	case Address:
		if text == "" && s.Default == "" { // another setting says where
			return text, nil
		}
		return text, checkAddress(text)
	case URL:
		return text, checkURL(text)
	case Names:
		return text, checkNames(text)
	case CipherSuites:
		return text, checkCipherSuites(text)
	case Networks:
		_, err := ParseNetworks(text)
		return text, err
	case Text:
	}
	return text, nil
}

func ranged[T int | float64 | time.Duration](s *Setting, text, what string, parse func(string) (T, error)) (any, error) {
	value, err := parse(text)
	if err != nil {
		return nil, fmt.Errorf("%q is not %s", text, what)
	}
	if s.Min == "" && s.Max == "" {
		return value, nil
	}
	// The table's own limits parse: a test says so.
	least, _ := parse(s.Min)
	most, _ := parse(s.Max)
	if !(value >= least && value <= most) { //nolint:staticcheck // not the other way round: NaN is in no range
		return nil, fmt.Errorf("%s is outside the range %s", text, s.Range())
	}
	return value, nil
}

func checkAddress(text string) error {
	if text == "0" {
		return nil
	}
	_, port, err := net.SplitHostPort(text)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return fmt.Errorf("%q is not an address such as :8080 or 127.0.0.1:8080, nor 0 for none", text)
	}
	return nil
}

func checkURL(text string) error {
	if text == "" {
		return nil
	}
	parsed, err := endpoint.Parse(text)
	switch {
	case err == nil && parsed.User != nil:
		return errors.New("a URL with a user or password is not allowed")
	case err != nil:
		return fmt.Errorf("it is not a URL such as https://media.example.com:8090: %w", err)
	case strings.ContainsAny(text, "?&#"):
		return fmt.Errorf("%q must not contain ?, & or #: many BMCs cannot handle them", text)
	}
	return nil
}

// objectName is what Kubernetes allows as the name of a ConfigMap.
var objectName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$`)

func checkNames(text string) error {
	names := splitList(text)
	if len(names) == 0 {
		return fmt.Errorf("%q holds no name", text)
	}
	for _, name := range names {
		if !objectName.MatchString(name) {
			return fmt.Errorf("%q is not a name of a Kubernetes object", name)
		}
	}
	return nil
}

// splitList splits at commas. Of a name that is given twice the last place counts.
func splitList(text string) []string {
	var names []string
	for name := range strings.SplitSeq(text, ",") {
		if name = strings.TrimSpace(name); name != "" {
			names = append(slices.DeleteFunc(names, func(other string) bool { return other == name }), name)
		}
	}
	return names
}

// ParseNetworks reads ranges of addresses separated by commas; none for an empty text.
func ParseNetworks(text string) ([]netip.Prefix, error) {
	var networks []netip.Prefix
	for _, part := range splitList(text) {
		network, err := endpoint.ParsePrefix(part)
		if err != nil {
			return nil, err
		}
		networks = append(networks, network)
	}
	return networks, nil
}

func checkCipherSuites(text string) error {
	_, err := CipherSuiteIDs(text)
	return err
}

// CipherSuiteIDs are the numbers of the named suites, for crypto/tls; nil for an empty text.
func CipherSuiteIDs(text string) ([]uint16, error) {
	var ids []uint16
	for _, name := range splitList(text) {
		known := slices.IndexFunc(tls.CipherSuites(), func(s *tls.CipherSuite) bool { return s.Name == name })
		if known < 0 {
			return nil, fmt.Errorf("%q is not the name of a secure TLS cipher suite", name)
		}
		ids = append(ids, tls.CipherSuites()[known].ID)
	}
	return ids, nil
}

// store puts a parsed value into its field, and, if a source set it, where chosen ones go.
func (s *Setting) store(settings *Settings, value any, set bool) {
	put(s.field(settings), value)
	if set && s.chosen != nil {
		put(s.chosen(settings), value)
	}
}

func put(field, value any) {
	switch field := field.(type) {
	case *int:
		*field = value.(int)
	case *float64:
		*field = value.(float64)
	case *time.Duration:
		*field = value.(time.Duration)
	case *bool:
		*field = value.(bool)
	case *string:
		*field = value.(string)
	}
}

// value reads the setting's field.
func (s *Setting) value(settings *Settings) any {
	switch field := s.field(settings).(type) {
	case *int:
		return *field
	case *float64:
		return *field
	case *time.Duration:
		return *field
	case *bool:
		return *field
	case *string:
		return *field
	}
	return nil
}
