package kubeadmhost_test

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	"sigs.k8s.io/yaml"

	"github.com/beskar7/beskar7/test/kubeadmhost"
)

func TestPhoneHome(t *testing.T) {
	for name, data := range map[string]func(*site) string{
		"after success": (*site).initData,
		"after failure": (*site).workerData, // there is nothing to join
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			calls := make(chan url.Values, 10)
			receiver := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if err := r.ParseForm(); err != nil || r.URL.Path != "/p/cp1-0123456789abcdef" {
					w.WriteHeader(http.StatusNotFound)
					return
				}
				calls <- r.PostForm
			}))
			defer receiver.Close()
			trust := x509.NewCertPool()
			trust.AddCert(receiver.Certificate())
			w, err := kubeadmhost.New(kubeadmhost.Options{Trust: trust, JoinTimeout: 1})
			g.Expect(err).NotTo(HaveOccurred())
			defer func() { _ = w.Close() }()
			s := newSite(t)
			machine := newServer(t, w, "cp1")
			machine.on("Cd", medium("CD1", bootImage(t, "")), medium("CD2", image(t, "CIDATA", map[string]string{
				"user-data": data(s), "meta-data": metaData("cp1"),
				"vendor-data": "#cloud-config\nphone_home:\n  url: " + receiver.URL + "/p/$INSTANCE_ID\n  post: [instance_id, hostname]\n  tries: 3\n",
			})))
			form := <-calls
			g.Expect(form).To(Equal(url.Values{"instance_id": {"cp1-0123456789abcdef"}, "hostname": {"cp1"}}))
			g.Expect(len(w.Failures()) == 0).To(Equal(strings.Contains(name, "success")))
		})
	}
}

func TestPhoneHomeIsNotTrusted(t *testing.T) {
	g := NewWithT(t)
	receiver := httptest.NewUnstartedServer(http.NotFoundHandler())
	receiver.StartTLS()
	defer receiver.Close()
	w, s := newWorld(t), newSite(t)
	newServer(t, w, "cp1").on("Cd", medium("CD1", bootImage(t, "")), medium("CD2", image(t, "cidata", map[string]string{
		"user-data": s.initData(), "meta-data": metaData("cp1"),
		"vendor-data": "#cloud-config\nphone_home:\n  url: " + receiver.URL + "/p/secret\n  tries: 1\n",
	})))
	failure := refused(t, w)
	g.Expect(failure.Stage).To(Equal(kubeadmhost.StagePhoneHome))
	g.Expect(failure.Reason).To(ContainSubstring("certificate"))
	g.Expect(failure.Reason).NotTo(ContainSubstring("secret"))
	g.Expect(node(w, "cp1").Ready).To(BeTrue(), "the node is up all the same")
}

// TestWatcher: vendor data may bring a script that reports the outcome, as
// bootcmd or, where the user data has a bootcmd of its own, as a plain script.
func TestWatcher(t *testing.T) {
	for name, test := range map[string]struct {
		data    func(*site) string
		outcome string
		plain   bool
	}{
		"success":       {(*site).initData, "succeeded", false},
		"plain script":  {(*site).initData, "succeeded", true},
		"failure":       {(*site).workerData, "failed", false},
		"bad user data": {func(*site) string { return "#cloud-config\nnonsense: 1\n" }, "failed", false},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			calls := make(chan map[string]string, 10)
			receiver := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				var report map[string]string
				if err := json.NewDecoder(r.Body).Decode(&report); err == nil {
					calls <- report
				}
			}))
			defer receiver.Close()
			ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: receiver.Certificate().Raw})
			script := fmt.Sprintf("cat >x <<'END'\nCA = %q\nURL = %q\nSENTINEL = \"/run/cluster-api/bootstrap-success.complete\"\nEND\n", ca, receiver.URL+"/p/key")
			vendor := "#!/bin/sh\n" + script
			if !test.plain {
				blob, err := yaml.Marshal(map[string]any{"bootcmd": [][]string{{"sh", "-c", script}}})
				g.Expect(err).NotTo(HaveOccurred())
				vendor = "#cloud-config\n" + string(blob)
			}
			w, err := kubeadmhost.New(kubeadmhost.Options{JoinTimeout: 1})
			g.Expect(err).NotTo(HaveOccurred())
			defer func() { _ = w.Close() }()
			newServer(t, w, "cp1").on("Cd", medium("CD1", bootImage(t, "")), medium("CD2", image(t, "cidata", map[string]string{
				"user-data": test.data(newSite(t)), "meta-data": metaData("cp1"), "vendor-data": vendor,
			})))
			g.Expect(<-calls).To(HaveKeyWithValue("outcome", test.outcome))
		})
	}
}
