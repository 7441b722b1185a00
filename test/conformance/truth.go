package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/beskar7/beskar7/test/emulator"
)

// What a BMC is held against: its own state and log, which no fault spoils. A driver that believed a BMC's lie has said something
// that is not so here.

// lieAbout says what of an operation's claim is not so, "" if all is.
func lieAbout(operation string, s emulator.State, image string) string {
	switch operation {
	case "insert":
		return unless(holds(s, image), "no slot holds the image")
	case "boot once":
		return unless(holds(s, image) && armed(s), "no slot holds the image, or the next boot does not take it")
	case "power on":
		return unless(s.Power == emulator.On, "the server is %s", s.Power)
	case "graceful off", "forced off":
		return unless(s.Power == emulator.Off, "the server is %s", s.Power)
	case "eject":
		return unless(empty(s), "a slot still holds a medium")
	case "release":
		return lieAboutRest(s)
	}
	return ""
}

// lieAboutRest says why a server is not one that may be given to somebody else (I6).
func lieAboutRest(s emulator.State) string {
	switch {
	case s.Power != emulator.Off:
		return "it was given back while " + string(s.Power)
	case !empty(s):
		return "it was given back with a medium in a slot"
	case armed(s):
		return "it was given back with the boot override " + s.Override.String() + " " + s.OnceOEM
	}
	return ""
}

func holds(s emulator.State, image string) bool {
	return slices.ContainsFunc(s.Slots, func(l emulator.SlotState) bool { return l.Inserted && sameImage(l.Image, image) })
}

// sameImage: some BMCs keep the host and the path of an image apart from the scheme.
func sameImage(a, b string) bool {
	_, a, _ = strings.Cut(a, "://")
	_, b, _ = strings.Cut(b, "://")
	return a == b
}

func empty(s emulator.State) bool {
	return !slices.ContainsFunc(s.Slots, func(l emulator.SlotState) bool { return l.Inserted })
}

func armed(s emulator.State) bool {
	resting := s.Override.Enabled == "Continuous" && s.Override.Target == "Hdd" // the normal order, on BMCs that know no other
	return s.OnceOEM != "" || s.Override.Enabled != "Disabled" && s.Override.Target != "None" && !resting
}

func unless(ok bool, format string, args ...any) string {
	if ok {
		return ""
	}
	return fmt.Sprintf(format, args...)
}

// harm is what was done to a BMC that a driver must never do, whatever the BMC does: two requests at once, a change within the
// cooldown of the last, an account that locks itself, tries of a password that was refused.
func harm(b *emulator.BMC, cooldown time.Duration) (broken []string) {
	var last *emulator.Change
	requests := b.RequestLog()
	for i := range requests {
		c := &requests[i]
		if c.Read() || c.Session || c.Login {
			continue
		}
		if last != nil && c.Start.Before(last.End) {
			broken = append(broken, fmt.Sprintf("%s %s began before %s %s had ended", c.Method, c.Path, last.Method, last.Path))
		} else if last != nil && last.Changed && c.Changed && c.Start.Sub(last.End) < cooldown && !pair(last, c) {
			broken = append(broken, fmt.Sprintf("%s %s came %v after %s %s", c.Method, c.Path, c.Start.Sub(last.End), last.Method, last.Path))
		}
		last = c
	}
	wrong := 0
	for _, e := range b.Events() {
		switch e.Kind {
		case emulator.EventLockout:
			broken = append(broken, "the account was locked out")
		case emulator.EventLoginFailed:
			wrong++
		default:
		}
	}
	if wrong > maxWrong {
		broken = append(broken, fmt.Sprintf("%d log-ins were refused", wrong))
	}
	return broken
}

// pair: old Supermicro boards are told where the image is by one request and to mount it by the next. The two are one insert.
func pair(first, second *emulator.Change) bool {
	return strings.HasSuffix(second.Path, "/CfgCD/Actions/IsoConfig.Mount") && strings.HasSuffix(first.Path, "/CfgCD")
}

// maxWrong is how many refused log-ins a fault may cost: BMCs lock an account after three.
const maxWrong = 2

// left says which sessions are left over once the driver has let go of a BMC.
func left(b *emulator.BMC, allowed int) string {
	n := 0
	for _, of := range b.Sessions() {
		n += of
	}
	return unless(n <= allowed, "%d sessions are left over", n)
}
