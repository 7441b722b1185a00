package crash

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/controllers/media"
	"github.com/beskar7/beskar7/pkg/bootmedia"
	"github.com/beskar7/beskar7/test/crash/witness"
)

// bootTimeout of the hosts.
const bootTimeout = 10 * time.Minute

// maxTurns is far more than any life takes; patience is how long a person waits for a machine that cannot come up any more.
const (
	maxTurns = 1500
	patience = 150
)

// report is what the booted systems say.
type report string

const (
	succeeds report = "reports"
	silent   report = "silent"
	fails    report = "fails"
	// late says nothing of its first boot.
	late report = "late"
)

// life is the way that a life goes if nothing goes wrong.
type life struct {
	leader bool
	boot   v1beta1.BootMode
	lag    int
	report report
	// pair has two machines and two hosts.
	pair bool
	// again: the hosts' owner says that the image bears a second boot.
	again bool
}

func (l life) String() string {
	mode, count := "optimistic", ""
	if l.leader {
		mode = "leader"
	}
	if l.pair {
		count = "/pair"
	}
	if l.again {
		count += "/again"
	}
	return fmt.Sprintf("%s/%s/lag %d/%s%s", mode, l.boot, l.lag, l.report, count)
}

func (l life) policy() v1beta1.PowerPolicy {
	if l.again {
		return v1beta1.PowerPolicyAlwaysOn
	}
	return v1beta1.PowerPolicyKeepOn
}

func (l life) hosts() []string    { return []string{"h", "i"}[:l.count()] }
func (l life) machines() []string { return []string{"m", "n"}[:l.count()] }

func (l life) count() int {
	if l.pair {
		return 2
	}
	return 1
}

// user is Cluster API, the booted systems and the person who owns all that.
type user struct {
	// deleted are the machines that were deleted, up those that came up.
	deleted, up map[string]bool
	// quiet boots say nothing yet: by host, how many turns they run.
	running map[string]int
	boots   map[string]int
	power   map[string]string
	// read is what was last read of the data in a host's medium: whose, and at which version of the host.
	read map[string]string
	// served are the machines whose data somebody was served.
	served map[string]bool
	// blocked: something was done after which a machine may never come up; it is given up after a while.
	blocked bool
	// hostsGone, quarantined: ends that are right, too.
	hostsGone, quarantined bool
	// mendsSecret: the Secret of the BMCs is made anew whenever it is gone.
	mendsSecret bool
}

// play lives the life; "" if it ended well.
func (w *world) play() string {
	w.user = user{deleted: map[string]bool{}, up: map[string]bool{}, served: map[string]bool{},
		running: map[string]int{}, boots: map[string]int{}, power: map[string]string{}, read: map[string]string{}}
	defer w.end()
	for w.turn < maxTurns {
		w.step()
		w.systems()
		w.readers()
		w.persons()
		w.helps()
		if w.ended() {
			for range 6 { // what is looked at at the next event
				w.step()
				w.helps()
			}
			if w.ended() { // a process that has just begun knows nothing of a host yet
				return w.last()
			}
		}
	}
	return fmt.Sprintf("it did not end in %d turns: %s; %s", maxTurns, w.over(), w.describe())
}

func (w *world) ended() bool {
	return w.after == 0 && len(w.user.deleted) == w.life.count() && w.over() == ""
}

// systems lets what was booted report, three turns after it came up.
func (w *world) systems() {
	for _, s := range w.servers {
		now := s.truth().Power
		if now != "On" {
			w.user.running[s.host] = 0
		} else if w.user.power[s.host] != "On" {
			w.user.boots[s.host]++
		}
		w.user.power[s.host] = now
		if !strings.HasPrefix(s.fake.Booted(), mediaURL) {
			continue
		}
		w.user.running[s.host]++
		if w.user.running[s.host] == 3 && w.life.report != silent {
			if w.life.report != late || w.user.boots[s.host] > 1 {
				w.phoneHome(s)
			}
		}
	}
}

func (w *world) phoneHome(s *server) {
	outcome := bootmedia.Succeeded
	if w.life.report == fails {
		outcome = bootmedia.Failed
	} else {
		s.fake.SetOSUp(true)
	}
	for _, site := range []*site{w.site, w.old} {
		if site == nil {
			continue
		}
		host, ok := get(site.store, &v1beta1.PhysicalHost{}, s.host)
		if !ok || host.Spec.Claim == nil || host.Spec.Claim.Media == nil {
			continue
		}
		c := storeClient{cutClient{view: view{site.store.snapshot, indexes}}, site.store}
		source := media.Source{Client: c, SecretReader: c, Clock: clock.RealClock{}, PhoneHomeURL: mediaURL}
		if err := source.PhoneHome(context.Background(), host.Spec.Claim.Media.TokenHash, outcome, ""); err != nil {
			w.history.Said("an error", err.Error())
		}
	}
}

// readers are all who know the address of a medium: the BMC, whoever may read there, a system. What bootstrap data they are served the
// witness is told, once for each version of the host.
func (w *world) readers() {
	for _, s := range w.servers {
		for _, site := range []*site{w.site, w.old} {
			if site != nil {
				w.readMedia(site, s)
			}
		}
	}
}

func (w *world) readMedia(site *site, s *server) {
	c := storeClient{cutClient{view: view{site.store.snapshot, indexes}}, site.store}
	source := media.Source{Client: c, SecretReader: c, Clock: clock.RealClock{}, PhoneHomeURL: mediaURL}
	truth := s.truth()
	for _, image := range truth.Media {
		hash, _, ok := bootmedia.HashFromURL(image)
		if !ok {
			continue
		}
		grant, err := source.Grant(context.Background(), hash)
		machine := whoseData(grant.Content.Rendered)
		if err != nil || grant.Closed || machine == "" {
			continue
		}
		w.user.served[machine] = true
		host, _ := get(site.store, &v1beta1.PhysicalHost{}, s.host)
		if key := site.name + machine + host.ResourceVersion; w.user.read[s.host] != key {
			w.user.read[s.host] = key
			w.history.Asked(witness.Request{At: time.Now(), Site: site.name, Host: s.host,
				Op: witness.Served, URL: machine, Before: truth, After: truth})
		}
	}
}

// whoseData finds bootstrap data in what a medium is made of, and says of which machine; "": there are none.
func whoseData(r *bootmedia.Rendered) string {
	if r == nil {
		return ""
	}
	for _, layout := range []*bootmedia.Layout{r.Drive, r.Composed} {
		if layout == nil {
			continue
		}
		for _, file := range layout.Files {
			if _, rest, ok := strings.Cut(string(file.Data), ownerOfData); ok {
				machine, _, _ := strings.Cut(rest, "\n")
				return machine
			}
		}
	}
	return ""
}

// persons delete what is up, and what cannot come up any more.
func (w *world) persons() {
	for _, name := range w.life.machines() {
		m, ok := get(w.site.store, &v1beta1.Beskar7Machine{}, name)
		if w.user.deleted[name] || w.old != nil {
			continue
		}
		if !ok || !m.DeletionTimestamp.IsZero() {
			w.user.deleted[name] = true
			continue
		}
		if w.isUp(m) {
			w.user.up[name] = true
		}
		if w.after == 0 && (w.user.up[name] || w.user.blocked && w.turn > patience) {
			w.user.deleted[name] = true
			w.site.store.remove("Beskar7Machine", name, false)
		}
	}
}

// helps does what the conditions ask a person to do.
func (w *world) helps() {
	if _, ok := get(w.site.store, &corev1.Secret{}, "bmc"); !ok && w.user.mendsSecret {
		w.site.store.create(&corev1.Secret{ObjectMeta: named("bmc"), Data: map[string][]byte{"username": []byte("u"), "password": []byte(bmcPassword)}})
	}
	h, ok := get(w.site.store, &v1beta1.PhysicalHost{}, "h")
	if ok && w.user.hostsGone && h.Status.State == v1beta1.StateReleaseBlocked && h.Spec.Claim != nil && h.Annotations[v1beta1.ReleaseUnverifiedAnnotation] == "" {
		w.user.quarantined = true
		annotate(w, v1beta1.ReleaseUnverifiedAnnotation, h.Spec.Claim.ID, true)
	}
}

// isUp says that the machine is as far as it gets in this life.
func (w *world) isUp(m *v1beta1.Beskar7Machine) bool {
	if !ptr.Deref(m.Status.Initialization.Provisioned, false) || m.Spec.ProviderID == "" || m.Spec.HostRef == nil {
		return false
	}
	h, ok := get(w.site.store, &v1beta1.PhysicalHost{}, m.Spec.HostRef.Name)
	if !ok || h.Spec.Claim == nil {
		return false
	}
	switch w.life.report {
	case succeeds, late:
		return h.Spec.Claim.Bound && h.Status.State == v1beta1.StateProvisioned
	case fails:
		return h.Spec.Claim.PhoneHome != nil
	case silent:
	}
	return true
}

// over says what is missing at the end, or "".
func (w *world) over() string {
	for _, m := range w.life.machines() {
		if _, ok := get(w.site.store, &v1beta1.Beskar7Machine{}, m); ok {
			return "machine " + m + " is still there"
		}
	}
	for _, name := range w.life.hosts() {
		h, ok := get(w.site.store, &v1beta1.PhysicalHost{}, name)
		switch {
		case !ok && w.user.hostsGone:
			continue
		case !ok:
			return "host " + name + " is gone"
		case w.user.hostsGone && !h.DeletionTimestamp.IsZero():
			return "host " + name + " is still there"
		case h.Spec.Claim != nil:
			return "host " + name + " is still claimed"
		case w.user.quarantined && h.Spec.Quarantine != nil && h.Status.State == v1beta1.StateQuarantined:
			continue
		case h.Status.State != v1beta1.StateAvailable:
			return fmt.Sprintf("host %s is %s", name, h.Status.State)
		}
	}
	return ""
}

// last judges the end: servers, Secrets, and who had the host.
func (w *world) last() string {
	for _, s := range w.servers {
		h, ok := get(w.site.store, &v1beta1.PhysicalHost{}, s.host)
		truth := s.truth()
		if (ok && h.Spec.Quarantine == nil || !ok && !w.user.quarantined) && (truth.Power != "Off" || truth.Armed || len(truth.Media) > 0) {
			return fmt.Sprintf("at the end server %s is %+v", s.host, truth)
		}
	}
	for key, o := range w.site.store.snapshot() {
		if key.kind == "Secret" && slices.Contains(o.typed.GetFinalizers(), v1beta1.CredentialsFinalizer) {
			return "at the end Secret " + key.name + " is still kept"
		}
	}
	for _, m := range w.life.machines() {
		if w.user.up[m] && !w.user.served[m] {
			return "machine " + m + " came up, and nobody was ever served its bootstrap data"
		}
	}
	return ""
}

func (w *world) describe() string {
	var out []string
	for _, name := range w.life.hosts() {
		if h, ok := get(w.site.store, &v1beta1.PhysicalHost{}, name); ok {
			out = append(out, fmt.Sprintf("host %s: state %s claim %+v quarantine %+v paused %v", name, h.Status.State, ptr.Deref(h.Spec.Claim, v1beta1.Claim{}), h.Spec.Quarantine, h.Spec.Paused))
			for _, c := range h.Status.Conditions {
				out = append(out, fmt.Sprintf("  %s=%s %s: %s", c.Type, c.Status, c.Reason, c.Message))
			}
		}
	}
	for _, name := range w.life.machines() {
		if m, ok := get(w.site.store, &v1beta1.Beskar7Machine{}, name); ok {
			out = append(out, fmt.Sprintf("machine %s: hostRef %+v provider id %q deleted %v", name, ptr.Deref(m.Spec.HostRef, v1beta1.HostRef{}), m.Spec.ProviderID, !m.DeletionTimestamp.IsZero()))
			for _, c := range m.Status.Conditions {
				out = append(out, fmt.Sprintf("  %s=%s %s: %s", c.Type, c.Status, c.Reason, c.Message))
			}
		}
	}
	for _, s := range w.servers {
		out = append(out, fmt.Sprintf("server %s: %+v", s.host, s.truth()))
	}
	return strings.Join(out, "\n    ")
}
