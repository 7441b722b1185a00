package main

import (
	"time"

	"github.com/beskar7/beskar7/pkg/redfish"
	"github.com/beskar7/beskar7/test/emulator"
)

// timeouts of the driver: what hangs is given up soon, and what is answered by a busy machine is not.
var timeouts = redfish.Timeouts{Connection: 3 * time.Second, Request: 3 * time.Second, MaxRetries: 1, RetryDelay: 10 * time.Millisecond}

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

// innate: it is how a BMC is made, and there before anybody asks it for anything.
func (t trial) innate() bool { return t.Group == "traits" }
