package serverid

import (
	"cmp"
	"fmt"
	"strings"
)

// Identity is what a server says of itself, in its BMC's words; "" is what it does not say. Place holders are as good as nothing.
type Identity struct {
	UUID, Serial string
	// Manufacturer and Model tell serial numbers of different makers apart.
	Manufacturer, Model string
}

// Verdict is what the comparison of two identities comes to.
type Verdict int

const (
	// Unknown: they have nothing in common that could be compared.
	Unknown Verdict = iota
	// Same server.
	Same
	// Other server.
	Other
)

// Known says whether the identity tells one server from another.
func (i Identity) Known() bool { return uuidKey(i.UUID) != "" || realSerial(i.Serial) }

// Compare says whether two identities are of one server. UUIDs decide where both have a real one, whatever else is said: blades
// share the serial number of their chassis, and a swapped mainboard may be given that of the old one.
func (i Identity) Compare(j Identity) Verdict {
	if a, b := uuidKey(i.UUID), uuidKey(j.UUID); a != "" && b != "" {
		return verdict(a == b)
	}
	if !realSerial(i.Serial) || !realSerial(j.Serial) {
		return Unknown
	}
	return verdict(alike(i.Serial, j.Serial) && mayBe(i.Manufacturer, j.Manufacturer) && mayBe(i.Model, j.Model))
}

func verdict(same bool) Verdict {
	if same {
		return Same
	}
	return Other
}

func alike(a, b string) bool { return strings.EqualFold(strings.TrimSpace(a), strings.TrimSpace(b)) }

// mayBe: what is not said may be anything.
func mayBe(a, b string) bool { return a == "" || b == "" || alike(a, b) }

// SameUUID says whether two UUIDs are real and one, in either order of bytes.
func SameUUID(a, b string) bool {
	key := uuidKey(a)
	return key != "" && key == uuidKey(b)
}

// Or completes what an identity does not really say by what another one of the same server does.
func (i Identity) Or(j Identity) Identity {
	if uuidKey(i.UUID) == "" && uuidKey(j.UUID) != "" {
		i.UUID = j.UUID
	}
	if !realSerial(i.Serial) && realSerial(j.Serial) {
		i.Serial = j.Serial
	}
	i.Manufacturer, i.Model = cmp.Or(i.Manufacturer, j.Manufacturer), cmp.Or(i.Model, j.Model)
	return i
}

// Keys are the words under which identities of the same server can be looked up. Those that share a key are not always one
// server: Compare tells.
func (i Identity) Keys() []string {
	var keys []string
	if key := uuidKey(i.UUID); key != "" {
		keys = append(keys, "uuid "+key)
	}
	if realSerial(i.Serial) {
		keys = append(keys, "serial "+strings.ToLower(strings.TrimSpace(i.Serial)))
	}
	return keys
}

// Name is the one word that a person names the server by: its UUID, else its serial number; "" if it has neither.
func (i Identity) Name() string {
	if uuidKey(i.UUID) != "" {
		return strings.TrimSpace(i.UUID)
	}
	if realSerial(i.Serial) {
		return strings.TrimSpace(i.Serial)
	}
	return ""
}

// IsNamed says whether a name that a person wrote is that of this server.
func (i Identity) IsNamed(name string) bool {
	if key := uuidKey(i.UUID); key != "" {
		return key == uuidKey(name)
	}
	return realSerial(i.Serial) && alike(i.Serial, name)
}

// String is for people.
func (i Identity) String() string {
	return fmt.Sprintf("system UUID %s, serial number %s", cmp.Or(strings.TrimSpace(i.UUID), "not told"), cmp.Or(strings.TrimSpace(i.Serial), "not told"))
}
