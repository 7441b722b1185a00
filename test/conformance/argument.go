package main

import (
	"time"

	"github.com/beskar7/beskar7/pkg/redfish"
	"github.com/beskar7/beskar7/test/emulator"
)

// silent are faults under which no answer comes. Only there is a request given up soon: a busy machine takes its time.
var silent = map[string]bool{"half-open": true, "hang": true, "drip": true}

// timeouts of the driver.
func (t trial) timeouts() redfish.Timeouts {
	limit := time.Minute
	if silent[t.Name] {
		limit = time.Second
	}
	return redfish.Timeouts{Connection: limit, Request: limit, MaxRetries: 1, RetryDelay: 10 * time.Millisecond}
}

// trial is a fault with an argument, as a row of the matrix has it.
type trial struct {
	emulator.Fault
	// name is that of the fault, with its argument where that is not the usual one; argument is what the BMC is given.
	name, argument string
}

// shorter are arguments other than the defaults, for time that is short here.
var shorter = map[string]string{"slow": "200ms", "busy": "1", "reboot": "300ms", "reboot-on-change": "300ms"}

// variants are further arguments to try: forms in which a BMC can have the same fault.
var variants = map[string][]string{
	"busy": {"none"}, "async": {"no-location", "no-body", "absolute"}, "session-location": {"absolute", "relative"},
	"etag": {"empty", "none"}, "power-unknown": {"empty"},
}

// trials are all faults, each with the variants of it if asked for.
func trials(all bool) (out []trial) {
	for _, f := range emulator.Faults() {
		usual := shorter[f.Name]
		if d, err := time.ParseDuration(f.Default); err == nil && (f.Group == "media" || f.Group == "power" || f.Name == "task-404") {
			usual = (d / speed).String()
		}
		out = append(out, trial{f, f.Name, usual})
		if all {
			for _, v := range variants[f.Name] {
				out = append(out, trial{f, f.Name + "=" + v, v})
			}
		}
	}
	return out
}

// natures are faults of other groups that are how a BMC is made.
var natures = map[string]bool{
	"restart-dead": true, "cycle-stays-off": true, "no-sessions": true, "sessions-unlinked": true, "sessions-elsewhere": true, "session-location": true,
}

// innate: it is how a BMC is made, and there before anybody asks it for anything.
func (t trial) innate() bool { return t.Group == "traits" || natures[t.Name] }
