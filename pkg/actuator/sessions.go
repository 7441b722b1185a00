package actuator

import (
	"context"
	"strings"
	"time"

	"github.com/beskar7/beskar7/pkg/coordinator/bmcqueue"
	"github.com/beskar7/beskar7/pkg/redfish"
)

const (
	// logOutTries is how often a BMC is asked to end the session of a host that is gone. One that was taken away never answers.
	logOutTries = 3
	// logOutAgain is when it is asked again.
	logOutAgain = time.Minute
)

// leave ends what a server leaves at its BMC when nobody watches it any more. A log-out is a request like any other, so it takes its
// turn at the gate, in the way of a poll: it has no place in the queue and no host whose operation it could be.
func (a *Actuator) leave(target redfish.Target, endpoint string) {
	if !a.driver.Release(target) {
		return
	}
	// Not the form of a host's name: whoever is woken for it finds none.
	errand, tries := "log-out "+strings.ReplaceAll(endpoint, "/", ""), 0
	a.gate.Register(bmcqueue.Poll{Endpoint: endpoint, Host: errand, Interval: func() time.Duration { return logOutAgain },
		Run: func(ctx context.Context) bmcqueue.Result {
			tries++
			err := a.driver.LogOut(heard(ctx), endpoint)
			if err == nil || tries >= logOutTries {
				a.gate.Unregister(errand)
			}
			if err != nil {
				return outcome(err)
			}
			return bmcqueue.Result{}
		}})
}
