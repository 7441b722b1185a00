package settings

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/beskar7/beskar7/pkg/config"
)

// A period that is shortened while it is waited for ends sooner, one that is lengthened later, both counted from the beginning.
func TestAPeriodFollowsItsSettingWhileItIsWaitedFor(t *testing.T) {
	for name, c := range map[string]struct {
		values []string // one after the other, 7s between them
		want   time.Duration
	}{
		"unchanged":         {nil, 30 * time.Second},
		"shortened":         {[]string{"10s"}, 10 * time.Second},
		"shortened to past": {[]string{"5s"}, 7 * time.Second},
		"lengthened":        {[]string{"5m"}, 5 * time.Minute},
		"there and back":    {[]string{"5m", "20s"}, 20 * time.Second},
		"something else":    {[]string{"30s", "30s"}, 30 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				live := newLive(t, config.Sources{})
				period := live.Period(func(s config.Settings) time.Duration { return s.Reconcile.SyncPeriod })
				began, ended := time.Now(), make(chan bool, 1)
				go func() { ended <- period.Wait(t.Context()) }()
				for _, value := range c.values {
					<-time.After(7 * time.Second)
					live.apply("beskar7-config", map[string]string{"reconcile.syncPeriod": value, "bmc.maxRetries": "4"})
				}
				if !<-ended || time.Since(began) != c.want {
					t.Errorf("it ended after %s, want %s", time.Since(began), c.want)
				}
			})
		})
	}
}

func TestAPeriodEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if (Period{Of: func() time.Duration { return time.Hour }}).Wait(ctx) {
		t.Error("an hour passed")
	}
}
