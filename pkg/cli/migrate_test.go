package cli

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	conflictSeries = `beskar7_host_claim_attempts_total{namespace="x",outcome="conflict",conflict_reason="host_taken"}`
	successSeries  = `beskar7_host_claim_attempts_total{namespace="x",outcome="success",conflict_reason=""}`
	okSeries       = `beskar7_bmc_operations_total{kind="PowerOn",outcome="ok"}`
	busySeries     = `beskar7_bmc_operations_total{kind="PowerOn",outcome="busy"}`
)

// busyFleet lets work happen at every pause.
func (w *world) busyFleet(conflicts func() float64) {
	w.tick = func(time.Duration) {
		w.add("a", successSeries, 20)
		w.add("a", conflictSeries, conflicts())
		w.add("a", okSeries, 100)
	}
}

func TestMigrationKeepsAllElse(t *testing.T) {
	w, folder := installed(t, map[string]string{"provisioning.maxQueueSize": "50", "provisioning.workerCount": "12", "log.level": "debug"}), t.TempDir()
	w.busyFleet(func() float64 { return 0 })
	out := w.run(0, "config", "migrate", "--to=advanced", "--backup-dir", folder, "--monitor=3m")
	w.has(out, "raise provisioning.maxQueueSize to 75", "raise provisioning.maxConcurrentOps to 8\n", "The configuration is advanced.")
	want := map[string]string{"provisioning.maxQueueSize": "75", "provisioning.maxConcurrentOps": "8", "provisioning.workerCount": "12", "log.level": "debug"}
	if got := w.data(); !maps.Equal(got, want) {
		t.Errorf("data %v, want %v: nothing is lowered", got, want)
	}
	if got := w.args(); !slices.Equal(got, append(append([]string{}, installedArgs...), coordinatorFlag+"=true")) {
		t.Errorf("arguments %v", got)
	}
	files, _ := filepath.Glob(filepath.Join(folder, "*.yaml"))
	if len(files) != 1 || filepath.Base(files[0]) != "beskar7-config-backup-20260102-030405.yaml" {
		t.Fatalf("back-ups %v", files)
	}
	info, err := os.Stat(files[0])
	text, _ := os.ReadFile(files[0])
	if err != nil || info.Mode().Perm() != 0o600 || !strings.Contains(string(text), `provisioning.maxQueueSize: "50"`) || !strings.Contains(string(text), "--metrics-bind-address=:8080") {
		t.Errorf("back-up %v %v\n%s", info.Mode(), err, text)
	}
	docs, err := documents(text)
	if err != nil || len(docs) != 2 || docs[0].kind() != "Deployment" || docs[1].name() != "beskar7-config" {
		t.Errorf("the back-up holds %d documents (%v)", len(docs), err)
	}
	w.has(w.run(0, "config", "migrate", "--to=advanced", "--backup-dir", t.TempDir()), "advanced already")
}

func TestDryRunOfAMigrationChangesNothing(t *testing.T) {
	w, folder := installed(t, nil), t.TempDir()
	out := w.run(0, "config", "migrate", "--to=advanced", "--dry-run", "--backup-dir", folder)
	w.has(out, "Stage 1", "Stage 2", `"value":"--enable-claim-coordinator-leader-election=true"`, "containers/1/args/-", "Stage 3", "workerCount to 10")
	files, _ := os.ReadDir(folder)
	if w.data() != nil || !slices.Equal(w.args(), installedArgs) || len(files) > 0 {
		t.Errorf("something changed: %v %v %v", w.data(), w.args(), files)
	}
}

// What gets worse ends the migration, and everything is as it was.
func TestAMigrationThatGetsWorseGoesBack(t *testing.T) {
	cases := map[string]struct {
		data   map[string]string
		reason string
		worse  func(w *world)
		when   func(w *world) bool
	}{
		"conflicts after the first stage": {map[string]string{"log.level": "info"}, "more claims meet conflicts",
			func(w *world) { w.add("a", conflictSeries, 30) }, func(w *world) bool { return w.data()["provisioning.maxQueueSize"] == "75" }},
		"failures after the last": {nil, "more operations fail",
			func(w *world) { w.add("a", busySeries, 60) }, func(w *world) bool { return w.data()["provisioning.maxConcurrentOps"] == "8" }},
		"settings that a replica refuses": {nil, "1 of 2 replicas hold the settings for invalid",
			func(w *world) { w.set("b", metricValid, 0) }, func(w *world) bool { return w.data() != nil }},
		"nobody drives after the roll-out": {map[string]string{"provisioning.maxQueueSize": "80"}, "0 replicas drive BMCs",
			func(w *world) { w.set("a", metricDriver, 0) }, func(w *world) bool { return len(w.args()) > len(installedArgs) }},
		"a queue that fills": {nil, "the queue is nearly full",
			func(w *world) { w.set("a", metricQueue, 74) }, func(w *world) bool { return w.data() != nil }},
		"a Pod that is gone": {nil, "1 replicas are ready, there were 2",
			func(w *world) { _ = w.client.Delete(context.Background(), pod("b", time.Time{})) }, func(w *world) bool { return w.data() != nil }},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w := installed(t, c.data)
			w.busyFleet(func() float64 { return 0 })
			work := w.tick
			w.tick = func(d time.Duration) {
				if work(d); c.when(w) {
					c.worse(w)
				}
			}
			out := w.run(1, "config", "migrate", "--to=advanced", "--backup-dir", t.TempDir(), "--monitor=1m")
			w.has(out, "Going back: ")
			w.has(w.err.String(), c.reason, "the configuration is what it was before")
			if !maps.Equal(w.data(), c.data) || (c.data == nil) != (w.data() == nil) || !slices.Equal(w.args(), installedArgs) {
				t.Errorf("after going back: %v %v", w.data(), w.args())
			}
		})
	}
}

// Two failures a minute are too few to judge a minute by, but not to judge three.
func TestAMigrationThatGetsWorseSlowlyGoesBack(t *testing.T) {
	w := installed(t, nil)
	w.tick = func(time.Duration) {
		if w.data()["provisioning.maxConcurrentOps"] == "8" {
			w.add("a", busySeries, 2)
		}
	}
	w.has(w.run(1, "config", "migrate", "--to=advanced", "--backup-dir", t.TempDir(), "--monitor=10m"), "Going back: after the last stage: more operations fail: 100 %")
	if w.data() != nil || !slices.Equal(w.args(), installedArgs) {
		t.Errorf("after going back: %v %v", w.data(), w.args())
	}
}

func TestGoingBackLeavesWhatOthersSet(t *testing.T) {
	w := installed(t, map[string]string{"provisioning.maxQueueSize": "20"})
	w.tick = func(time.Duration) {
		if w.data()["provisioning.maxQueueSize"] != "75" {
			return
		}
		w.set("a", metricValid, 0)
		found := settingsMap(nil)
		if err := w.client.Get(context.Background(), client.ObjectKeyFromObject(found), found); err != nil {
			t.Error(err)
		}
		found.Data["provisioning.maxQueueSize"], found.Data["log.level"] = "60", "warn"
		if err := w.client.Update(context.Background(), found); err != nil {
			t.Error(err)
		}
	}
	w.run(1, "config", "migrate", "--to=advanced", "--backup-dir", t.TempDir())
	if got := w.data(); !maps.Equal(got, map[string]string{"provisioning.maxQueueSize": "60", "log.level": "warn"}) {
		t.Errorf("data %v", got)
	}
}

// rollOut lets a changed Deployment take a while, or for ever.
func (w *world) rollOut(takes time.Duration) (waited *time.Duration) {
	waited = new(time.Duration)
	w.tick = func(d time.Duration) {
		found := deployment()
		if err := w.client.Get(context.Background(), client.ObjectKeyFromObject(found), found); err != nil {
			w.t.Error(err)
		}
		found.Status.UpdatedReplicas, found.Status.AvailableReplicas = 2, 2
		if len(w.args()) > len(installedArgs) {
			if *waited += d; *waited < takes {
				found.Status.UpdatedReplicas, found.Status.AvailableReplicas = 1, 1
			}
		}
		if err := w.client.Status().Update(context.Background(), found); err != nil {
			w.t.Error(err)
		}
	}
	return waited
}

func TestAMigrationWaitsForTheRollOut(t *testing.T) {
	slow := deployment()
	slow.Status.UpdatedReplicas = 1 // as the Deployment's controller leaves it right after the change
	w := newWorld(t, slow, pod("a", time.Time{}), pod("b", time.Time{}))
	waited := w.rollOut(20 * time.Second)
	inner := w.tick
	w.tick = func(d time.Duration) {
		inner(d)
		if len(w.args()) == len(installedArgs) { // until the flag is set, the look at the roll-out finds an old generation
			found := deployment()
			_ = w.client.Get(context.Background(), client.ObjectKeyFromObject(found), found)
			found.Status.UpdatedReplicas = 1
			_ = w.client.Status().Update(context.Background(), found)
		}
	}
	out := w.run(0, "config", "migrate", "--to=advanced", "--backup-dir", t.TempDir(), "--monitor=0")
	if w.has(out, "The configuration is advanced."); *waited < 20*time.Second {
		t.Errorf("it waited %s", *waited)
	}

	w = newWorld(t, slow.DeepCopy(), pod("a", time.Time{}), pod("b", time.Time{}))
	w.run(1, "config", "migrate", "--to=advanced", "--backup-dir", t.TempDir(), "--rollout-timeout=30s")
	w.has(w.err.String(), "stage 2: the Deployment has not rolled out in 30s: 1 of 2 Pods are new and ready", "going back failed too")
	if w.data() != nil || !slices.Equal(w.args(), installedArgs) {
		t.Errorf("after going back: %v %v", w.data(), w.args())
	}
}

func TestAFleetThatIsNotWellIsNotMigrated(t *testing.T) {
	w := installed(t, nil)
	w.set("a", metricDriver, 0)
	w.run(1, "config", "migrate", "--to=advanced", "--backup-dir", t.TempDir())
	w.has(w.err.String(), "nothing was changed, as the fleet is not well: 0 replicas drive BMCs")
	if w.data() != nil {
		t.Errorf("data %v", w.data())
	}
	w.run(2, "config", "migrate", "--to=basic")
}

// Whatever the arguments are, setting and taking back the flag gives the same arguments.
func TestOneFlagAmongOthers(t *testing.T) {
	for name, args := range map[string][]string{
		"none": nil, "others": {"--a", "--b=c"}, "false before": {"--a", coordinatorFlag + "=false", "--b"}, "true by itself": {coordinatorFlag, "--a"},
		"twice": {coordinatorFlag + "=false", "--a", coordinatorFlag + "=false"},
	} {
		w := newWorld(t)
		before := deployment()
		before.Spec.Template.Spec.Containers[1].Args = args
		if err := w.client.Create(t.Context(), before); err != nil {
			t.Fatal(err)
		}
		now := before.DeepCopy()
		patch, changed := flagPatch(now, coordinatorFlag, "true")
		if changed != (name != "true by itself") {
			t.Errorf("%s: changed %v", name, changed)
		}
		if changed {
			if err := patchObject(t.Context(), w.client, now, patch); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if sources, _ := sourcesOf(now); sources.Flags.Lookup(coordinatorFlag[2:]).Value.String() != "true" {
				t.Errorf("%s: the flag is not true in %v", name, w.args())
			}
		}
		if again, changed := flagPatch(now, coordinatorFlag, "true"); changed {
			t.Errorf("%s: a second time it changes %v", name, again)
		}
		if back := unflagPatch(before, now, coordinatorFlag); len(back) > 0 {
			if err := patchObject(t.Context(), w.client, now, back); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		if got := w.args(); !slices.Equal(got, args) {
			t.Errorf("%s: back to %v, want %v", name, got, args)
		}
	}
}
