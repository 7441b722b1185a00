package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/beskar7/beskar7/pkg/config"
)

// stage is one step of the migration: keys of the ConfigMap, or a flag of the Deployment.
type stage struct {
	name string
	// least are the values that the stage raises settings to; larger ones stay.
	least map[string]int
	// flag of the Deployment that becomes true.
	flag string
}

// advanced are the guide's stages, in its order and with its values.
func advanced() []stage {
	return []stage{
		{name: "more room in the queue", least: map[string]int{"provisioning.maxQueueSize": 75}},
		{name: "claim coordinator's leader election", flag: coordinatorFlag},
		{name: "more operations at a time", least: map[string]int{"provisioning.maxConcurrentOps": 8, "provisioning.workerCount": 10}},
	}
}

// migration is a migration under way.
type migration struct {
	*CLI
	in     *installation
	window time.Duration
	// rollout bounds how long a changed Deployment may take.
	rollout time.Duration
	// last is the health at the last look after a change, with the events of looks before it that were too few.
	last health
	// undo takes back what was done, the last first.
	undo []func(context.Context) error
}

// migrate goes to the advanced configuration.
func (c *CLI) migrate(ctx context.Context, args []string) error {
	flags := c.flags("config migrate")
	where := c.place(flags)
	to := flags.String("to", "", "the configuration to go to: advanced")
	dryRun := flags.Bool("dry-run", false, "only say what would be done")
	folder := flags.String("backup-dir", ".", "the folder for the back-up of what is changed")
	length := flags.Duration("window", time.Minute, "how long metrics are watched between stages")
	monitor := flags.Duration("monitor", 10*time.Minute, "how long metrics are watched after the last stage")
	rollout := flags.Duration("rollout-timeout", 10*time.Minute, "how long the Deployment may take to roll out")
	if err := parse(flags, args, 0, 0); err != nil {
		return err
	}
	if *to != "advanced" {
		return usagef("--to is advanced, not %q", *to)
	}
	if *length <= 0 || *monitor < 0 {
		return usagef("--window must be more than 0, and --monitor not less")
	}
	in, err := c.installation(ctx, where)
	if err != nil {
		return err
	}
	if _, findings := config.Load(in.sources); len(findings.Errors) > 0 {
		return fmt.Errorf("the present settings are invalid: %s", findings.Errors[0])
	}
	m := &migration{CLI: c, in: in, window: *length, rollout: *rollout}
	if *dryRun {
		return m.plan()
	}
	if err := m.backup(*folder); err != nil {
		return fmt.Errorf("back up before anything is changed: %w", err)
	}
	return m.run(ctx, *monitor)
}

// plan says what each stage would do.
func (m *migration) plan() error {
	fmt.Fprintln(m.Out, "Dry run: nothing is changed.")
	for i, s := range advanced() {
		what, patch := m.words(s)
		fmt.Fprintf(m.Out, "Stage %d, %s: %s\n", i+1, s.name, what)
		if patch != "" {
			fmt.Fprintln(m.Out, "  "+patch)
		}
	}
	return nil
}

// words say what a stage changes, and how.
func (m *migration) words(s stage) (what, command string) {
	if s.flag != "" {
		patch, changed := flagPatch(m.in.deployment, s.flag, "true")
		if !changed {
			return "set already", ""
		}
		return "set " + s.flag + "=true beside the other arguments", kubectl(m.in.place, "deployment "+m.in.place.deployment, "json", patch)
	}
	data := m.raise(s)
	if len(data) == 0 {
		return "no value has to be raised", ""
	}
	return "raise " + pairsInWords(data), kubectl(m.in.place, "configmap "+m.in.strongest(), "merge", map[string]any{"data": data})
}

func pairsInWords(data map[string]string) string {
	var words []string
	for _, s := range config.Table() {
		if value, ok := data[s.Key]; ok {
			words = append(words, s.Key+" to "+value)
		}
	}
	return strings.Join(words, ", ")
}

// raise are the values of a stage that are larger than those in effect.
func (m *migration) raise(s stage) map[string]string {
	data := map[string]string{}
	for _, e := range config.Explain(m.in.sources) {
		least, ok := s.least[e.Setting.Key]
		if present, err := strconv.Atoi(strings.TrimSpace(e.Value)); ok && err == nil && present < least {
			data[e.Setting.Key] = strconv.Itoa(least)
		}
	}
	return data
}

// backup writes what may be changed to a file that only its owner reads: environments can hold what is nobody else's business.
func (m *migration) backup(folder string) error {
	name := filepath.Join(folder, "beskar7-config-backup-"+m.Now().UTC().Format("20060102-150405")+".yaml")
	deployment := m.in.deployment.DeepCopy()
	deployment.TypeMeta = metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"}
	deployment.ManagedFields, deployment.Status = nil, appsv1.DeploymentStatus{}
	text, err := yaml.Marshal(deployment)
	if err != nil {
		return err
	}
	for _, configMap := range m.in.configMaps {
		configMap = configMap.DeepCopy()
		configMap.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"}
		configMap.ManagedFields = nil
		one, err := yaml.Marshal(configMap)
		if err != nil {
			return err
		}
		text = append(append(text, "---\n"...), one...)
	}
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	if err = errors.Join(err, file.Close()); err == nil {
		fmt.Fprintln(m.Out, "Backed up to", name)
	}
	return err
}

// run goes stage by stage. Between them it looks whether the fleet is as well as before; if not, or if anything fails, it takes
// back all that it did.
func (m *migration) run(ctx context.Context, monitor time.Duration) error {
	before, err := m.healthOver(ctx, m.window)
	if err != nil {
		return fmt.Errorf("look at the fleet before anything is changed: %w", err)
	}
	fmt.Fprintf(m.Out, "Before: %s\n", before)
	if reason := before.unwell(); reason != "" {
		return fmt.Errorf("nothing was changed, as the fleet is not well: %s", reason)
	}
	for i, s := range advanced() {
		if err := m.in.read(ctx); err != nil {
			return m.back(ctx, err)
		}
		what, command := m.words(s)
		fmt.Fprintf(m.Out, "Stage %d, %s: %s\n", i+1, s.name, what)
		if command == "" {
			continue
		}
		if err := m.stage(ctx, s, before); err != nil {
			return m.back(ctx, fmt.Errorf("stage %d: %w", i+1, err))
		}
	}
	if len(m.undo) == 0 {
		fmt.Fprintln(m.Out, "The configuration is advanced already.")
		return nil
	}
	for watched := time.Duration(0); watched < monitor; watched += m.window {
		if err := m.compare(ctx, before); err != nil {
			return m.back(ctx, fmt.Errorf("after the last stage: %w", err))
		}
	}
	fmt.Fprintln(m.Out, "The configuration is advanced.")
	return nil
}

// stage makes one change, waits until it is in effect, and compares.
func (m *migration) stage(ctx context.Context, s stage, before health) error {
	change := m.setData
	if s.flag != "" {
		change = m.setFlag
	}
	if err := change(ctx, s); err != nil {
		return err
	}
	if err := m.in.read(ctx); err != nil {
		return err
	}
	if _, findings := config.Load(m.in.sources); len(findings.Errors) > 0 {
		return fmt.Errorf("the settings would be invalid: %s", findings.Errors[0])
	}
	if err := m.settle(ctx); err != nil {
		return err
	}
	return m.compare(ctx, before)
}

// settle waits until one replica drives BMCs and none holds the settings for invalid: gauges follow in metrics.interval, and a
// lease has to run out after a crash. What does not settle is judged by compare.
func (m *migration) settle(ctx context.Context) error {
	const step, most = 5 * time.Second, 3 * time.Minute
	for waited := time.Duration(0); waited < most; waited += step {
		now, err := m.in.scrapes(ctx)
		s, _ := config.Load(m.in.sources)
		if err == nil && healthOf(window{after: now}, s).unwell() == "" {
			return nil
		}
		if err := m.Pause(ctx, step); err != nil {
			return err
		}
	}
	return nil
}

func (m *migration) compare(ctx context.Context, before health) error {
	now, err := m.healthOver(ctx, m.window)
	if err != nil {
		return err
	}
	fmt.Fprintf(m.Out, "  Now: %s\n", now)
	now.claims, now.runs = now.claims.and(m.last.claims), now.runs.and(m.last.runs)
	m.last = now
	if reason := now.worse(before); reason != "" {
		return errors.New(reason)
	}
	return nil
}

// setData raises values in the strongest ConfigMap.
func (m *migration) setData(ctx context.Context, s stage) error {
	data, name := m.raise(s), m.in.strongest()
	found := m.in.configMaps[name]
	var before *corev1.ConfigMap
	if found != nil {
		before = found.DeepCopy()
	}
	// Before the write: its reply can be lost.
	m.undo = append(m.undo, func(ctx context.Context) error { return m.restoreData(ctx, name, before, data) })
	if found == nil {
		created := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: m.in.place.namespace, Name: name}, Data: data}
		if err := m.in.Client.Create(ctx, created); err != nil {
			return fmt.Errorf("create ConfigMap %s: %w", name, err)
		}
	} else {
		if found.Data == nil {
			found.Data = map[string]string{}
		}
		for key, value := range data {
			found.Data[key] = value
		}
		if err := m.in.Client.Patch(ctx, found, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); err != nil {
			return fmt.Errorf("patch ConfigMap %s: %w", name, err)
		}
	}
	return nil
}

// restoreData puts back what a stage set, and nothing that someone else has set since. before is nil if there was no ConfigMap.
func (m *migration) restoreData(ctx context.Context, name string, before *corev1.ConfigMap, set map[string]string) error {
	now := &corev1.ConfigMap{}
	if err := m.in.Client.Get(ctx, client.ObjectKey{Namespace: m.in.place.namespace, Name: name}, now); err != nil {
		return client.IgnoreNotFound(err)
	}
	base := now.DeepCopy()
	for key, value := range set {
		if now.Data[key] != value {
			continue
		}
		delete(now.Data, key)
		if before != nil {
			if old, ok := before.Data[key]; ok {
				now.Data[key] = old
			}
		}
	}
	if before == nil && len(now.Data) == 0 {
		version := now.ResourceVersion
		return m.in.Client.Delete(ctx, now, client.Preconditions{ResourceVersion: &version})
	}
	return m.in.Client.Patch(ctx, now, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{}))
}

// setFlag sets a flag in the Deployment and waits for its Pods.
func (m *migration) setFlag(ctx context.Context, s stage) error {
	patch, _ := flagPatch(m.in.deployment, s.flag, "true")
	before := m.in.deployment.DeepCopy()
	m.undo = append(m.undo, func(ctx context.Context) error {
		now := &appsv1.Deployment{}
		if err := m.in.Client.Get(ctx, client.ObjectKeyFromObject(before), now); err != nil {
			return err
		}
		if back := unflagPatch(before, now, s.flag); len(back) > 0 {
			if err := patchObject(ctx, m.in.Client, now, back); err != nil {
				return err
			}
		}
		return m.rolledOut(ctx)
	})
	if err := patchObject(ctx, m.in.Client, m.in.deployment, patch); err != nil {
		return fmt.Errorf("patch the Deployment: %w", err)
	}
	return m.rolledOut(ctx)
}

// rolledOut waits until every Pod of the Deployment is of its newest template and ready.
func (m *migration) rolledOut(ctx context.Context) error {
	const step = 2 * time.Second
	for waited := time.Duration(0); ; waited += step {
		d := &appsv1.Deployment{}
		if err := m.in.Client.Get(ctx, client.ObjectKeyFromObject(m.in.deployment), d); err != nil {
			return fmt.Errorf("read the Deployment: %w", err)
		}
		want, s := int32(1), d.Status
		if d.Spec.Replicas != nil {
			want = *d.Spec.Replicas
		}
		if s.ObservedGeneration >= d.Generation && s.UpdatedReplicas == want && s.Replicas == want && s.AvailableReplicas == want {
			return nil
		}
		if waited >= m.rollout {
			return fmt.Errorf("the Deployment has not rolled out in %s: %d of %d Pods are new and ready", m.rollout, min(s.UpdatedReplicas, s.AvailableReplicas), want)
		}
		if err := m.Pause(ctx, step); err != nil {
			return err
		}
	}
}

// back takes back all changes, also if the command was interrupted.
func (m *migration) back(ctx context.Context, why error) error {
	fmt.Fprintf(m.Out, "Going back: %v\n", why)
	undoing, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.rollout+time.Minute)
	defer cancel()
	var failed []error
	for i := len(m.undo) - 1; i >= 0; i-- {
		failed = append(failed, m.undo[i](undoing))
	}
	if err := errors.Join(failed...); err != nil {
		return fmt.Errorf("%w; going back failed too, the back-up has what was there: %w", why, err)
	}
	return fmt.Errorf("%w; the configuration is what it was before", why)
}
