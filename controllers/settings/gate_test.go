package settings

import (
	"reflect"
	"testing"
	"time"

	"github.com/beskar7/beskar7/pkg/config"
	"github.com/beskar7/beskar7/pkg/coordinator/bmcqueue"
)

// TestGateFollowsAllEightSettings: each of the guide's provisioning settings reaches the gate, live.
func TestGateFollowsAllEightSettings(t *testing.T) {
	start, findings := config.Load(config.Sources{})
	if len(findings.Errors) > 0 {
		t.Fatal(findings.Errors)
	}
	live, err := New(start, config.Sources{})
	if err != nil {
		t.Fatal(err)
	}
	queue := bmcqueue.New(bmcqueue.Options{Settings: live.Gate()})
	var applied bmcqueue.Settings
	live.OnChange(func() { applied = live.Gate(); queue.Apply(applied) })
	if v := live.apply("beskar7-config", map[string]string{
		"provisioning.maxConcurrentOps": "7", "provisioning.maxQueueSize": "31", "provisioning.operationTimeout": "6m", "provisioning.bmcCooldownPeriod": "13s",
		"provisioning.workerCount": "5", "provisioning.retryAttempts": "4", "provisioning.exponentialBackoff": "false", "provisioning.maxRetryDelay": "3m",
		"vendors.dell.provisioning.maxConcurrentOps": "2",
	}); len(v.Errors) > 0 {
		t.Fatal(v.Errors)
	}
	if want := (bmcqueue.Settings{MaxConcurrentOps: 7, MaxQueueSize: 31, OperationTimeout: 6 * time.Minute, Cooldown: 13 * time.Second,
		WorkerCount: 5, RetryAttempts: 4, ExponentialBackoff: false, MaxRetryDelay: 3 * time.Minute, GroupCaps: map[string]int{"dell": 2}}); !reflect.DeepEqual(applied, want) {
		t.Errorf("the gate got %+v", applied)
	}
	if queue.Stats().Cap != 5 {
		t.Errorf("the cap is %d", queue.Stats().Cap)
	}
}
