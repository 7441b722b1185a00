package config

import (
	"slices"
	"strings"
	"time"
)

// vendorCount is the number of vendors that have settings of their own.
const vendorCount = 12

// vendorNames are the <name> of vendors.<name>.*.
var vendorNames = [vendorCount]string{"dell", "hpe", "supermicro", "lenovo", "openbmc", "ami", "fujitsu", "cisco", "nokia", "huawei", "nvidia", "generic"}

// vendorAliases are what people and BMCs call the vendors besides.
var vendorAliases = map[string]string{
	"idrac": "dell", "ilo": "hpe", "hewlett": "hpe", "hp": "hpe", "smc": "supermicro", "xcc": "lenovo", "megarac": "ami", "american megatrends": "ami",
	"asrockrack": "ami", "irmc": "fujitsu", "imc": "cisco", "xfusion": "huawei", "openubmc": "huawei",
}

// VendorNames are the names of vendors that have settings of their own, in the order of Settings.Vendors.
func VendorNames() []string { return slices.Clone(vendorNames[:]) }

// VendorOf is the name under which a vendor, as a host or a BMC calls it, has its settings: "Dell Inc." and "dell-idrac9" are
// dell. Empty if it has none.
func VendorOf(said string) string {
	said = strings.ToLower(strings.TrimSpace(said))
	if i := slices.Index(vendorNames[:], said); i >= 0 {
		return said
	}
	for _, name := range vendorNames {
		if beginsWithWord(said, name) {
			return name
		}
	}
	for alias, name := range vendorAliases {
		if beginsWithWord(said, alias) {
			return name
		}
	}
	return ""
}

// beginsWithWord: "dell-idrac9", "dell inc." and "ilo5" begin with a word, "hparc" does not begin with hp.
func beginsWithWord(text, word string) bool {
	rest, found := strings.CutPrefix(text, word)
	return found && (rest == "" || rest[0] < 'a' || rest[0] > 'z')
}

// Tuning is what can be set for the BMCs of one vendor, or for one host, besides globally. A zero field says nothing.
type Tuning struct {
	// Cooldown is provisioning.bmcCooldownPeriod, OperationTimeout its neighbour; the others are those of bmc.*.
	Cooldown, OperationTimeout, ConnectionTimeout, RequestTimeout, RetryDelay time.Duration
	MaxRetries                                                                int
	// MaxConcurrentOps is a part of provisioning.maxConcurrentOps that the vendor's BMCs may use; 0 means all of it. Hosts have none.
	MaxConcurrentOps int
}

// For are the settings for one BMC. Each value is the first that is set of: the host's own tuning, the vendor's settings, the
// global setting where a source set it, the table of what is known of the vendor, the default. vendor is as the host or its
// BMC says it; see VendorOf. Cooldown, timeouts, delay and retries of the result are all set.
func (s Settings) For(vendor string, host, table Tuning) Tuning {
	var own Tuning
	if i := slices.Index(vendorNames[:], VendorOf(vendor)); i >= 0 {
		own = s.Vendors[i]
	}
	host.MaxConcurrentOps = 0
	standard := Tuning{
		Cooldown: s.Provisioning.BMCCooldownPeriod, OperationTimeout: s.Provisioning.OperationTimeout,
		ConnectionTimeout: s.BMC.ConnectionTimeout, RequestTimeout: s.BMC.RequestTimeout, RetryDelay: s.BMC.RetryDelay, MaxRetries: s.BMC.MaxRetries,
	}
	return host.or(own).or(s.Chosen).or(table).or(standard)
}

// QuietTime is how long after a change of drivers a request of the one before may still have its effect: the longest cooldown or
// request timeout that any vendor's BMCs may have.
func (s Settings) QuietTime() time.Duration {
	longest := max(s.Provisioning.BMCCooldownPeriod, s.BMC.RequestTimeout)
	for _, v := range s.Vendors {
		longest = max(longest, v.Cooldown, v.RequestTimeout)
	}
	return longest
}

// GroupCaps are the parts of provisioning.maxConcurrentOps that vendors may use, by vendor name; nil if none is limited.
func (s Settings) GroupCaps() map[string]int {
	var caps map[string]int
	for i, name := range vendorNames {
		if most := s.Vendors[i].MaxConcurrentOps; most > 0 {
			if caps == nil {
				caps = map[string]int{}
			}
			caps[name] = most
		}
	}
	return caps
}

// or fills what is not set from the weaker one. What makes no sense counts as not set.
func (t Tuning) or(weaker Tuning) Tuning {
	return Tuning{
		Cooldown:          first(t.Cooldown, weaker.Cooldown),
		OperationTimeout:  first(t.OperationTimeout, weaker.OperationTimeout),
		ConnectionTimeout: first(t.ConnectionTimeout, weaker.ConnectionTimeout),
		RequestTimeout:    first(t.RequestTimeout, weaker.RequestTimeout),
		RetryDelay:        first(t.RetryDelay, weaker.RetryDelay),
		MaxRetries:        first(t.MaxRetries, weaker.MaxRetries),
		MaxConcurrentOps:  first(t.MaxConcurrentOps, weaker.MaxConcurrentOps),
	}
}

func first[T int | time.Duration](strong, weak T) T {
	if strong > 0 {
		return strong
	}
	return weak
}

// vendorKeys are what follows vendors.<name>. in a key, each with its field. Range, unit and type are those of the global key.
var vendorKeys = []struct {
	key   string
	field func(*Tuning) any
}{
	{"provisioning.maxConcurrentOps", func(t *Tuning) any { return &t.MaxConcurrentOps }},
	{"provisioning.operationTimeout", func(t *Tuning) any { return &t.OperationTimeout }},
	{"provisioning.bmcCooldownPeriod", func(t *Tuning) any { return &t.Cooldown }},
	{"bmc.connectionTimeout", func(t *Tuning) any { return &t.ConnectionTimeout }},
	{"bmc.requestTimeout", func(t *Tuning) any { return &t.RequestTimeout }},
	{"bmc.maxRetries", func(t *Tuning) any { return &t.MaxRetries }},
	{"bmc.retryDelay", func(t *Tuning) any { return &t.RetryDelay }},
}

func vendorSettings() []Setting {
	global := map[string]Setting{}
	for _, s := range slices.Concat(provisioning, bmc) {
		global[s.Key] = s
	}
	var settings []Setting
	for i, name := range vendorNames {
		for _, k := range vendorKeys {
			s := global[k.key]
			s.Help = "The same as " + k.key + ", for the BMCs of this vendor; without it that one counts."
			if k.key == "provisioning.maxConcurrentOps" {
				s.Help = "The part of provisioning.maxConcurrentOps that the BMCs of this vendor may use at a time; without it all of it."
			}
			s.Key, s.Default, s.Optional, s.Recommendation, s.chosen = "vendors."+name+"."+k.key, "", true, "", nil
			s.field = func(settings *Settings) any { return k.field(&settings.Vendors[i]) }
			settings = append(settings, s)
		}
	}
	return settings
}
