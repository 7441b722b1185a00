//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/test/emulator"
	"github.com/beskar7/beskar7/test/lab"
)

// TestSecretsStaySecret is I9: a cluster's life with two managers that log all they can, BMCs that put into their errors what they
// were told, and a password that becomes wrong. No password, session token, media capability, bootstrap data or token of ours is
// anywhere but in Secrets: not in logs, events, metrics, any version of any of our objects, dumps, or what commands print.
func TestSecretsStaySecret(t *testing.T) {
	l := newLab(t, func(o *lab.Options) {
		o.Settings = lab.QuickSettings()
		o.Settings["log.level"], o.Settings["log.stacktraceLevel"] = "debug", "info"
	})
	g := NewWithT(t)
	spare, err := l.RunReplica(1)
	g.Expect(err).NotTo(HaveOccurred())
	s := &story{Lab: l, t: t, namespace: "secrets"}
	s.manager("scale", "deployment", "beskar7-controller-manager", "--replicas=2")
	known := &secrets{}
	g.Expect(l.AddHosts(t.Context(), s.namespace, s.namespace, 0)).To(Succeed())
	for i := range 4 {
		b, err := l.Fleet.Add(emulator.Spec{Name: fmt.Sprintf("secrets-%d", i), Username: "operator", Password: fmt.Sprintf("Canary-%d-Pa55/w+rd&", i)})
		g.Expect(err).NotTo(HaveOccurred())
		known.add("password of "+b.Name(), b.Password())
		known.add("basic auth at "+b.Name(), base64.StdEncoding.EncodeToString([]byte(b.Username()+":"+b.Password())))
		b.SetIntercept((&talkative{known: known, told: map[string]bool{}}).hear)
		g.Expect(l.Register(t.Context(), s.namespace, b, nil)).To(Succeed())
	}
	s.available()
	s.rolledOut(2)
	s.apply(lab.ClusterSpec{Name: "secrets", ControlPlanes: 1, Workers: 1})
	s.running("secrets", 1, 1)
	s.clusterSecrets(known)
	changed := "Canary-changed-Pa55word"
	known.add("password, the later", changed)
	l.Fleet.Get("secrets-3").SetPassword(changed)
	s.scaleWorkers(2)
	for _, pid := range []int{l.Manager.PID(), spare.PID()} {
		g.Expect(syscall.Kill(pid, syscall.SIGUSR2)).To(Succeed())
	}
	g.Eventually(func() string { return s.logs() }, patience).Should(ContainSubstring(`"Dump"`))
	found := s.everythingSaid()
	s.kubectl("patch", "secret", "secrets-3-bmc", "--patch", `{"stringData":{"password":"`+changed+`"}}`)
	s.running("secrets", 1, 2) // a server that boots takes minutes to heed a shutdown
	s.remove("secrets")
	s.clusterSecrets(known)
	for where, text := range s.everythingSaid() {
		found[where+", later"] = text
	}
	g.Expect(len(known.list)).To(BeNumerically(">", 50), "a run has more secrets than that")
	for _, kind := range []string{"password", "session token", "media capability", "bootstrap token", "private key", "ServiceAccount token"} {
		g.Expect(slices.ContainsFunc(known.list, func(k secret) bool { return strings.HasPrefix(k.name, kind) })).To(BeTrue(), "no %s is known", kind)
	}
	for where, text := range found {
		g.Expect(text).NotTo(BeEmpty(), where)
		g.Expect(known.in(text)).To(BeEmpty(), where)
	}
	s.plant(known)
}

// plant shows that what is searched for would be found: in an event, in each way of writing.
func (s *story) plant(known *secrets) {
	s.t.Helper()
	g := NewWithT(s.t)
	for i, form := range []func(string) string{
		func(t string) string { return t }, url.QueryEscape, url.PathEscape,
		func(t string) string { return base64.StdEncoding.EncodeToString([]byte(t)) },
		func(t string) string { return hex.EncodeToString([]byte(t)) },
		func(t string) string { text, _ := json.Marshal(t); return string(text) },
	} {
		event := &corev1.Event{InvolvedObject: corev1.ObjectReference{Namespace: s.namespace, Name: "planted", Kind: "PhysicalHost"},
			Reason: "Planted", Message: "the BMC said " + form("Canary-2-Pa55/w+rd&")}
		event.Namespace, event.Name = s.namespace, fmt.Sprintf("planted-%d", i)
		g.Expect(s.Client.Create(s.t.Context(), event)).To(Succeed())
		var names []string
		for _, text := range s.everythingSaid() {
			names = append(names, known.in(text)...)
		}
		g.Expect(names).To(ContainElement("password of secrets-2"), "form %d", i)
		g.Expect(s.Client.Delete(s.t.Context(), event)).To(Succeed())
	}
}

// logs are those of all managers.
func (s *story) logs() string {
	names, _ := filepath.Glob(filepath.Join(s.Logs(), "beskar7-system-*.log"))
	var all strings.Builder
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			s.t.Error(err)
		}
		all.Write(text)
	}
	return all.String()
}

// everythingSaid is what people can read of a run, by where.
func (s *story) everythingSaid() map[string]string {
	s.t.Helper()
	g := NewWithT(s.t)
	audit, err := os.ReadFile(s.Plane.AuditLog()) // every version that our objects had
	g.Expect(err).NotTo(HaveOccurred())
	out := map[string]string{"audit log": string(audit), "logs": s.logs(), "metrics": s.metrics(),
		"config show": s.cli(0, "config", "show", "--all"), "config show as JSON": s.cli(0, "config", "show", "-o", "json")}
	for _, kind := range []string{"physicalhosts", "beskar7machines", "beskar7clusters", "beskar7machinetemplates", "machines", "clusters", "events", "leases", "configmaps", "pods"} {
		list, err := s.Plane.Kubectl(s.t.Context(), nil, "get", kind, "-A", "-o", "yaml")
		g.Expect(err).NotTo(HaveOccurred())
		out[kind] = list
	}
	for _, m := range s.machines("secrets") {
		out["explanation of "+m.Name] = s.cli(0, "hosts", "explain", "-n", s.namespace, m.Name)
	}
	return out
}

// metrics are those of the first manager, asked for as its Deployment has it: over http, or over https as somebody who may.
func (s *story) metrics() string {
	s.t.Helper()
	status, text := s.scrape("http", "")
	if status == http.StatusBadRequest { // an https server says so
		const scraper = `{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"namespace":"beskar7-system","name":"scraper"}}
---
{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRoleBinding","metadata":{"name":"scraper"},
"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"beskar7-system-metrics-reader"},
"subjects":[{"kind":"ServiceAccount","namespace":"beskar7-system","name":"scraper"}]}`
		if _, err := s.Plane.Kubectl(s.t.Context(), []byte(scraper), "apply", "-f", "-"); err != nil {
			s.t.Fatal(err)
		}
		status, text = s.scrape("https", strings.TrimSpace(s.manager("create", "token", "scraper")))
	}
	g := NewWithT(s.t)
	g.Expect(status).To(Equal(http.StatusOK), text)
	g.Expect(text).To(ContainSubstring("beskar7_config_valid"))
	return text
}

func (s *story) scrape(scheme, token string) (status int, text string) {
	s.t.Helper()
	g := NewWithT(s.t)
	request, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, fmt.Sprintf("%s://127.0.0.1:%d/metrics", scheme, s.Manager.Addresses().Metrics), http.NoBody)
	g.Expect(err).NotTo(HaveOccurred())
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	reply, err := c.Do(request)
	g.Expect(err).NotTo(HaveOccurred())
	defer reply.Body.Close()
	body, err := io.ReadAll(reply.Body)
	g.Expect(err).NotTo(HaveOccurred())
	return reply.StatusCode, string(body)
}

var bootstrapToken = regexp.MustCompile(`\b[a-z0-9]{6}\.[a-z0-9]{16}\b`)

// clusterSecrets adds what the Secrets of the cluster hold, and the tokens with which the managers speak to the API server.
func (s *story) clusterSecrets(known *secrets) {
	s.t.Helper()
	g := NewWithT(s.t)
	list := &corev1.SecretList{}
	g.Expect(s.Client.List(context.WithoutCancel(s.t.Context()), list, client.InNamespace(s.namespace))).To(Succeed())
	for _, one := range list.Items {
		for key, value := range one.Data {
			name := fmt.Sprintf(" in %s of Secret %s", key, one.Name)
			for _, token := range bootstrapToken.FindAllString(string(value), -1) {
				known.add("bootstrap token"+name, token)
			}
			private := false
			for line := range strings.Lines(string(value)) {
				line = strings.TrimSpace(line)
				if strings.HasPrefix(line, "-----") {
					private = strings.Contains(line, "PRIVATE KEY") && strings.Contains(line, "BEGIN")
				} else if private && len(line) > 40 {
					known.add("private key"+name, line)
				}
				if value, ok := strings.CutPrefix(line, "client-key-data: "); ok {
					known.add("private key"+name, value)
				}
			}
		}
	}
	tokens, err := filepath.Glob(filepath.Join(s.Plane.Dir(), "providers", "beskar7-system-*", "token"))
	g.Expect(err).NotTo(HaveOccurred())
	for _, name := range tokens {
		token, err := os.ReadFile(name)
		g.Expect(err).NotTo(HaveOccurred())
		known.add("ServiceAccount token "+filepath.Dir(name), string(token))
	}
}

// talkative is a BMC that repeats, once for each URI, what it was told in its error; and it notes what secrets it sees.
type talkative struct {
	known *secrets
	mu    sync.Mutex
	told  map[string]bool
}

func (b *talkative) hear(w http.ResponseWriter, r *http.Request) bool {
	b.known.add("session token", r.Header.Get("X-Auth-Token"))
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return false
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	var said map[string]any
	_ = json.Unmarshal(body, &said)
	text, _ := said["Image"].(string)
	if image, err := url.Parse(text); err == nil {
		for segment := range strings.SplitSeq(image.Path, "/") {
			if len(segment) >= 20 {
				b.known.add("media capability", segment)
			}
		}
	}
	status := http.StatusInternalServerError // 4xx would say that there is a slot less, and the lab's image cannot be composed
	if text == "" {
		text, _ = said["Password"].(string)
		status = http.StatusBadRequest
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if text == "" || b.told[r.URL.Path] {
		return false
	}
	b.told[r.URL.Path] = true
	message := map[string]any{"MessageId": "Base.1.8.PropertyValueFormatError", "Message": "The value " + text + " is of a different format than the property can accept.",
		"MessageArgs": []string{text, "Image"}, "Resolution": "Correct " + text + " and resubmit."}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{"code": "Base.1.8.GeneralError", "message": "Rejected: " + text, "@Message.ExtendedInfo": []any{message}}})
	return true
}

// secrets are texts that must be nowhere, in any usual way of writing.
type secrets struct {
	mu    sync.Mutex
	list  []secret
	seen  map[string]bool
	forms map[uint64][]form // by the first eight bytes
}

type secret struct{ name, text string }

type form struct{ name, text string }

// shortest is the least length of a secret: of shorter texts some are found by accident.
const shortest = 8

func (k *secrets) add(name, text string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.seen == nil {
		k.seen, k.forms = map[string]bool{}, map[uint64][]form{}
	}
	if len(text) < shortest || k.seen[text] {
		return
	}
	k.seen[text] = true
	k.list = append(k.list, secret{name, text})
	quoted, _ := json.Marshal(text)
	ways := []string{text, url.QueryEscape(text), url.PathEscape(text), strings.Trim(string(quoted), `"`), hex.EncodeToString([]byte(text)),
		strings.TrimRight(base64.StdEncoding.EncodeToString([]byte(text)), "="), strings.TrimRight(base64.URLEncoding.EncodeToString([]byte(text)), "=")}
	slices.Sort(ways)
	for _, way := range slices.Compact(ways) {
		key := binary.LittleEndian.Uint64([]byte(way))
		k.forms[key] = append(k.forms[key], form{name, way})
	}
}

// in returns the names of the secrets in a text.
func (k *secrets) in(text string) (names []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	b := []byte(text)
	for i := 0; i+shortest <= len(b); i++ {
		for _, f := range k.forms[binary.LittleEndian.Uint64(b[i:])] {
			if bytes.HasPrefix(b[i:], []byte(f.text)) && !slices.Contains(names, f.name) {
				names = append(names, f.name)
			}
		}
	}
	return names
}
