package cli

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
)

const secretWord = "canary-pa55word"

const hostsCSV = `# rack 1
name,address,username,password,vendor,failureDomain,priority,labels,consentToErase
h1,https://10.0.0.1,admin,` + secretWord + `,dell,rack-1,5,role=worker;disk=nvme,true
h2,https://10.0.0.2/,admin,"` + secretWord + `,2",,,,,
`

func (w *world) host(namespace, name string) *v1beta1.PhysicalHost {
	w.t.Helper()
	h := &v1beta1.PhysicalHost{}
	if err := w.client.Get(w.t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, h); err != nil {
		w.t.Fatal(err)
	}
	return h
}

func (w *world) secret(namespace, name string) map[string][]byte {
	w.t.Helper()
	s := &corev1.Secret{}
	if err := w.client.Get(w.t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, s); err != nil {
		w.t.Fatal(err)
	}
	return s.Data
}

// quiet fails if a password was printed.
func (w *world) quiet() {
	w.t.Helper()
	if strings.Contains(w.out.String()+w.err.String(), secretWord) {
		w.t.Errorf("a password was printed:\n%s%s", w.out.String(), w.err.String())
	}
}

func TestImportIsIdempotent(t *testing.T) {
	w, name := newWorld(t), file(t, "hosts.csv", hostsCSV)
	w.has(w.run(0, "hosts", "import", "--dry-run", "-n", "metal", name), "PhysicalHost metal/h1 created (dry run)", "4 created, 0 changed, 0 unchanged (dry run)")
	list := &v1beta1.PhysicalHostList{}
	if err := w.client.List(t.Context(), list); err != nil || len(list.Items) > 0 {
		t.Fatalf("a dry run made %d hosts (%v)", len(list.Items), err)
	}
	w.has(w.run(0, "hosts", "import", "-n", "metal", name), "Secret metal/h1-bmc created", "4 created, 0 changed, 0 unchanged")
	w.quiet()
	h := w.host("metal", "h1")
	c := h.Spec.RedfishConnection
	if c.Address != "https://10.0.0.1" || c.CredentialsSecretRef.Name != "h1-bmc" || c.Vendor != "dell" || h.Spec.FailureDomain != "rack-1" ||
		h.Spec.Priority != 5 || !h.Spec.ConsentToErase || h.Labels["disk"] != "nvme" || h.Labels["role"] != "worker" {
		t.Errorf("%+v %v", h.Spec, h.Labels)
	}
	if s := w.secret("metal", "h2-bmc"); string(s["username"]) != "admin" || string(s["password"]) != secretWord+",2" {
		t.Errorf("the Secret does not hold what the file says")
	}
	version := h.ResourceVersion
	w.has(w.run(0, "hosts", "import", "-n", "metal", name), "0 created, 0 changed, 4 unchanged")
	if got := w.host("metal", "h1").ResourceVersion; got != version {
		t.Errorf("an unchanged host was written: %s, was %s", got, version)
	}

	h.Spec.Maintenance, h.Labels["own"] = true, "label"
	if err := w.client.Update(t.Context(), h); err != nil {
		t.Fatal(err)
	}
	changed := file(t, "hosts.yaml", "hosts:\n- {name: h1, namespace: metal, address: 'https://10.0.0.9', username: admin, password: "+secretWord+", labels: {disk: sata}}\n")
	w.has(w.run(0, "hosts", "import", changed), "PhysicalHost metal/h1 changed", "0 created, 1 changed, 1 unchanged")
	if h = w.host("metal", "h1"); h.Spec.RedfishConnection.Address != "https://10.0.0.9" || !h.Spec.Maintenance || h.Spec.Priority != 5 || h.Labels["own"] != "label" || h.Labels["disk"] != "sata" {
		t.Errorf("%+v %v", h.Spec, h.Labels)
	}
	w.quiet()
}

func TestImportSaysEverythingAndDoesNothing(t *testing.T) {
	w := newWorld(t)
	name := file(t, "hosts.csv", `name,address,username,password,credentialsSecret,priority,insecureSkipVerify,certificateFingerprint,labels
Bad_Name,https://admin:`+secretWord+`@10.0.0.1,admin,`+secretWord+`,,5000,,,
h2,https://10.0.0.2,admin,,,,,,
h3,https://10.0.0.2/,,,shared,,yes,,role
h4,https://10.0.0.4,admin,`+secretWord+`,shared,,true,00,a b=c
h2,https://10.0.0.6,,,shared,,,,
short,https://10.0.0.7
`)
	out := strings.ReplaceAll(w.run(1, "hosts", "import", name), name, "F")
	w.quiet()
	for _, want := range []string{
		"F:2: error: name: a lowercase RFC 1123 subdomain", "F:2: error: address: it is not an address such as", "F:2: error: priority: it is not a number",
		"F:3: error: username and password are missing", "F:4: error: labels: they are written as key=value", "F:4: error: insecureSkipVerify: it is not true or false",
		"F:4: error: the server at this address is in line 3 too", "F:5: error: give either username and password, or credentialsSecret",
		"F:5: error: certificateFingerprint: it is not a SHA-256", "F:5: error: insecureSkipVerify contradicts", `F:5: error: label "a b"`,
		"F:6: error: host h2 is in line 3 too", "F:7: error: it has 2 columns, the header has 9", "nothing was imported: 13 errors",
	} {
		w.has(out, want)
	}
	for name, content := range map[string]string{"a.csv": "", "b.csv": "name,color\nh,red\n", "c.csv": "name\n\"a", "d.yaml": "a: [", "e.yaml": "", "f.yaml": "a: b", "g.yaml": "- {name: [a], color: red}\n"} {
		w.has(w.run(1, "hosts", "import", file(t, name, content)), "error: ", "nothing was imported")
	}
}

func TestImportLeavesForeignSecretsAlone(t *testing.T) {
	w := newWorld(t, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "h1-bmc"}, Data: map[string][]byte{"tls.key": []byte("x")}})
	name := file(t, "hosts.csv", hostsCSV)
	w.has(w.run(1, "hosts", "import", name), "Secret h1-bmc exists and holds no BMC credentials", "PhysicalHost default/h2 created")
	if s := w.secret("default", "h1-bmc"); len(s) != 1 {
		t.Errorf("keys were added to a foreign Secret")
	}
	shared := file(t, "shared.csv", "name,address\nh7,https://10.0.0.7\n")
	w.run(0, "hosts", "import", "--credentials-secret=fleet", shared)
	if h := w.host("default", "h7"); h.Spec.RedfishConnection.CredentialsSecretRef.Name != "fleet" {
		t.Errorf("%+v", h.Spec)
	}
}

// What a file says twice, or where nobody can know it, is told; nothing of it is dropped in silence.
func TestImportTakesNothingForGranted(t *testing.T) {
	for content, want := range map[string]string{
		"c.csv h1,https://10.0.0.1,admin," + secretWord + "\n":                                    "F:1: error: the first line does not name the columns",
		"c.csv name,address,name\na,https://10.0.0.1,b\n":                                         "F:1: error: column name is there twice",
		"c.csv # racks\n\nname,colour\na,b\n":                                                     `F:3: error: there is no column "colour"`,
		"c.csv name,address,username,credentialsSecret\na,https://10.0.0.1,admin,shared\n":        "F:2: error: give either username and password, or credentialsSecret",
		"y.yaml - {name: a, name: b, address: 'https://10.0.0.1', credentialsSecret: s}\n":        "F:1: error: name is there twice",
		"y.yaml - {name: a, address: 'https://10.0.0.1', credentialsSecret: s, labels: {a: [b]}}": "F:1: error: labels: each is a key with a single value",
		"y.yaml - {name: a, address: 'https://10.0.0.1', credentialsSecret: s}\n---\na: b\n":      "F:3: error: there is no list of hosts",
	} {
		w := newWorld(t, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "shared"}, Data: map[string][]byte{"password": []byte("kept")}})
		name, text, _ := strings.Cut(content, " ")
		name = file(t, name, text)
		w.has(strings.ReplaceAll(w.run(1, "hosts", "import", name), name, "F"), want, "nothing was imported")
		w.quiet()
		if got := w.secret("default", "shared"); string(got["password"]) != "kept" {
			t.Errorf("%q changed a Secret of others", content)
		}
	}
	w := newWorld(t)
	two := "- {name: a, address: 'https://10.0.0.1', credentialsSecret: s}\n---\nhosts:\n- {name: b, address: 'https://10.0.0.2', credentialsSecret: s}\n"
	w.has(w.run(0, "hosts", "import", file(t, "hosts.yaml", two)), "PhysicalHost default/a created", "PhysicalHost default/b created")
}

// Whatever the bytes: no panic; every problem has a line of the file and words that hold no password; and rows without a problem
// make hosts, the same ones however often.
func FuzzReadRows(f *testing.F) {
	f.Add("hosts.csv", []byte(hostsCSV))
	f.Add("hosts.yaml", []byte("hosts: &a\n- {name: h, labels: {a: *a}}\n- *a\n"))
	f.Add("hosts.yaml", []byte("- {name: h, address: 'https://10.0.0.1', credentialsSecret: s, labels: {a: b}}\n---\n- {name: i, name: j}\n"))
	f.Add("hosts.csv", []byte("name,address,username,password\n\"a\nb\",https://10.0.0.1,u,"+secretWord+"\n"))
	f.Fuzz(func(t *testing.T, name string, content []byte) {
		rows, problems := readRows(name, content)
		problems = append(problems, checkRows(rows)...)
		for _, p := range problems {
			if p.message == "" || p.line < 0 || p.line > strings.Count(string(content), "\n")+strings.Count(string(content), "\r")+2 {
				t.Fatalf("a problem without words, or of no line: %+v", p)
			}
			for _, r := range rows {
				if r.tells(p.message) {
					t.Fatalf("%q holds a password", p.message)
				}
			}
		}
		for _, r := range rows {
			host := &v1beta1.PhysicalHost{}
			r.fill(host)
			again := host.DeepCopy()
			r.fill(again)
			c := host.Spec.RedfishConnection
			if !equality.Semantic.DeepEqual(host, again) || len(problems) == 0 && (c.Address == "" || c.CredentialsSecretRef.Name == "" || len(host.Labels) != len(r.labels)) {
				t.Fatalf("%+v", host)
			}
		}
	})
}

// tells says whether a message holds the row's password, and has it from nothing else that it may quote.
func (r row) tells(message string) bool {
	password := r.values["password"]
	if len(password) < 8 || !strings.Contains(message, password) {
		return false
	}
	quotes := strings.Join(append(sortedKeys(r.labels), r.values["name"]), " ")
	plain := problem{message: "give either username and password, or credentialsSecret; username and password are missing; or name a Secret that has them in credentialsSecret"}
	return !strings.Contains(quotes+plain.message, password)
}

func offered(name string, change func(*v1beta1.PhysicalHost)) *v1beta1.PhysicalHost {
	h := &v1beta1.PhysicalHost{ObjectMeta: metav1.ObjectMeta{Namespace: "metal", Name: name, Labels: map[string]string{"role": "worker"}}}
	h.Spec.FailureDomain = "rack-1"
	h.Status.State = v1beta1.StateAvailable
	h.Status.Hardware = &v1beta1.Hardware{CPU: v1beta1.CPU{Cores: 16}, Memory: resource.MustParse("64Gi")}
	h.Status.Conditions = []metav1.Condition{{Type: v1beta1.AvailableCondition, Status: metav1.ConditionTrue, Reason: "Available"}}
	change(h)
	return h
}

func TestExplainSaysWhyOfEveryHost(t *testing.T) {
	machine := &v1beta1.Beskar7Machine{ObjectMeta: metav1.ObjectMeta{Namespace: "metal", Name: "m1",
		OwnerReferences: []metav1.OwnerReference{{APIVersion: clusterv1.GroupVersion.String(), Kind: "Machine", Name: "m1", UID: "u"}}}}
	machine.Spec.HostSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"role": "worker"}}
	machine.Spec.HardwareRequirements.MinCores = 8
	owner := &clusterv1.Machine{ObjectMeta: metav1.ObjectMeta{Namespace: "metal", Name: "m1"}}
	owner.Spec.FailureDomain = "rack-1"
	w := installed(t, map[string]string{"hostSelection.algorithm": "priority"})
	for _, o := range []client.Object{machine, owner,
		offered("low", func(*v1beta1.PhysicalHost) {}),
		offered("high", func(h *v1beta1.PhysicalHost) { h.Spec.Priority = 9 }),
		offered("taken", func(h *v1beta1.PhysicalHost) { h.Spec.Claim = &v1beta1.Claim{ID: "1", Machine: "other"} }),
		offered("small", func(h *v1beta1.PhysicalHost) { h.Status.Hardware.CPU.Cores = 4; h.Labels = nil }),
		offered("far", func(h *v1beta1.PhysicalHost) { h.Spec.FailureDomain = "rack-2" }),
		offered("sick", func(h *v1beta1.PhysicalHost) {
			h.Spec.Quarantine = &v1beta1.Quarantine{Message: "was running without its machine"}
		}),
	} {
		if err := w.client.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	var e explanation
	if err := json.Unmarshal([]byte(w.run(0, "hosts", "explain", "m1", "-n", "metal", "-o=json")), &e); err != nil {
		t.Fatal(err)
	}
	if e.Algorithm != "priority" || len(e.Hosts) != 6 || e.Hosts[0].Host != "high" || e.Hosts[0].Rank != 1 || e.Hosts[1].Host != "low" || e.Hosts[1].Rank != 2 {
		t.Fatalf("%+v", e)
	}
	why := map[string]string{}
	for _, h := range e.Hosts {
		why[h.Host] = strings.Join(h.Refused, "; ")
	}
	for host, want := range map[string]string{"high": "", "taken": "claimed by machine other", "sick": "quarantined: was running without its machine", "small": "do not match the selector; ", "far": "failure domain"} {
		if !strings.Contains(why[host], want) || (want == "") != (why[host] == "") {
			t.Errorf("%s: %q, want %q", host, why[host], want)
		}
	}
	w.has(w.run(0, "hosts", "explain", "m1", "-n", "metal"), "labels role=worker, at least 8 cores, failure domain rack-1", "2/6 hosts available", "fits; tried first", "refused: claimed by machine other")
	w.run(1, "hosts", "explain", "nobody", "-n", "metal")
	w.has(w.err.String(), "read the machine")
}

// Hosts and machines without the manager's label are another manager's, and it is said so.
func TestExplainKnowsTheWatchFilter(t *testing.T) {
	ours := map[string]string{clusterv1.WatchLabel: "blue"}
	w := installed(t, map[string]string{"watchFilter": "blue"})
	for _, o := range []client.Object{
		&v1beta1.Beskar7Machine{ObjectMeta: metav1.ObjectMeta{Namespace: "metal", Name: "ours", Labels: ours}},
		&v1beta1.Beskar7Machine{ObjectMeta: metav1.ObjectMeta{Namespace: "metal", Name: "theirs"}},
		offered("a", func(h *v1beta1.PhysicalHost) { h.Labels = ours }),
		offered("b", func(*v1beta1.PhysicalHost) {}),
	} {
		if err := w.client.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	said := w.run(0, "hosts", "explain", "ours", "-n", "metal")
	w.has(said, "1/1 hosts available", "b     Available", `--watch-filter is "blue"`, "cluster.x-k8s.io/watch-filter=blue is missing")
	if strings.Contains(said, "It says") {
		t.Errorf("a machine of this manager's is another one's:\n%s", said)
	}
	w.has(w.run(0, "hosts", "explain", "theirs", "-n", "metal"), "It says: nothing, to this manager: it belongs to another manager")
}

// Whoever may not read the manager's Deployment still gets an answer.
func TestExplainWithoutTheManagersSettings(t *testing.T) {
	w := newWorld(t, &v1beta1.Beskar7Machine{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "m"}})
	w.has(w.run(0, "hosts", "explain", "m"), "no PhysicalHost is registered in namespace default", "deterministic")
	w.has(w.err.String(), "the default order counts")
	c := New(Options{Out: &w.out, Err: &w.err, Connect: func(string, string) (*Access, error) { return nil, errors.New("no cluster") }})
	if code := c.Run(t.Context(), []string{"hosts", "explain", "m"}); code != 1 {
		t.Errorf("ended with %d", code)
	}
}
