package lab

import (
	"fmt"
	"io"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/types"
)

// auditLine is one line as kube-apiserver writes it, in the parts that matter.
func auditLine(verb, resource, name, uri string, code int, response string) string {
	if response != "" {
		response = `"responseObject":` + response + `,`
	}
	return fmt.Sprintf(`{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"RequestResponse","auditID":"x","stage":"ResponseComplete",`+
		`"requestURI":"/apis/infrastructure.cluster.x-k8s.io/v1beta1/namespaces/ns/%[2]s/%[3]s%[4]s","verb":"%[1]s","user":{"username":"u"},`+
		`"objectRef":{"resource":"%[2]s","namespace":"ns","name":"%[3]s","apiGroup":"infrastructure.cluster.x-k8s.io","apiVersion":"v1beta1"},`+
		`"responseStatus":{"metadata":{},"code":%[5]d},%[6]s"requestReceivedTimestamp":"2026-01-01T12:00:00.000001Z","stageTimestamp":"2026-01-01T12:00:00.250000Z"}`+"\n",
		verb, resource, name, uri, code, response)
}

func hostJSON(version int, metadata, rest string) string {
	return fmt.Sprintf(`{"apiVersion":"infrastructure.cluster.x-k8s.io/v1beta1","kind":"PhysicalHost","metadata":{"namespace":"ns","name":"a","uid":"u1","resourceVersion":"%d"%s},%s}`, version, metadata, rest)
}

const bareSpec = `"spec":{"redfishConnection":{"address":"https://a/"}}`

func readAll(t *testing.T, log string) []write {
	t.Helper()
	r := newAuditReader(strings.NewReader(log), "")
	NewWithT(t).Expect(r.drain()).To(Succeed())
	return r.writes
}

func TestAuditVersions(t *testing.T) {
	g := NewWithT(t)
	full := `"spec":{"redfishConnection":{"address":"https://a/"},"consentToErase":true,"powerPolicy":"AlwaysOn","quarantine":{"reason":"X"},"boot":{"bootMode":"Install"},` +
		`"claim":{"id":"00000000000000aa","machine":"m","cluster":"c","bound":true,"release":{"reason":"R","requestedAt":"2026-01-01T12:00:00Z"}}},` +
		`"status":{"state":"Releasing","conditions":[{"type":"Available","status":"True","reason":"Available"},{"type":"ReleaseBlocked","status":"True","reason":"ReleaseOverdue"}]}`
	machine := `{"kind":"Beskar7Machine","metadata":{"namespace":"ns","name":"m","uid":"u2","resourceVersion":"12"},"spec":{"hostRef":{"name":"a","claimID":"00000000000000aa"},"providerID":"p"}}`
	got := readAll(t, auditLine("create", "physicalhosts", "a", "", 201, hostJSON(10, "", bareSpec))+
		auditLine("patch", "physicalhosts", "a", "?fieldManager=x", 200, hostJSON(11, "", full))+
		auditLine("patch", "beskar7machines", "m", "", 200, machine))
	g.Expect(got).To(HaveLen(3))
	g.Expect(got[0].version).To(BeEquivalentTo(10))
	g.Expect(*got[0].host).To(Equal(hostVersion{address: "https://a"}))
	h := got[1].host
	g.Expect([]bool{h.consent, h.bearsAgain, h.quarantined, h.available, h.reported, h.claim.Bound, h.claim.Release != nil}).To(HaveEach(true))
	g.Expect(h.mode).To(BeEquivalentTo("Install"))
	g.Expect(got[1].key).To(Equal(types.NamespacedName{Namespace: "ns", Name: "a"}))
	g.Expect(got[1].at.to.Sub(got[1].at.from).Microseconds()).To(BeEquivalentTo(249999))
	g.Expect(got[2].machine.confirms("a", "00000000000000aa")).To(BeTrue())
}

func TestAuditRemovals(t *testing.T) {
	deleted := `,"deletionTimestamp":"2026-01-01T12:00:00Z"`
	status := `{"kind":"Status","apiVersion":"v1","status":"Success","details":{"name":"a","uid":"u1"}}`
	list := `{"kind":"PhysicalHostList","items":[` + hostJSON(1, "", bareSpec) + `,` + hostJSON(2, `,"finalizers":["f"]`, bareSpec) + `]}`
	for name, c := range map[string]struct {
		line    string
		removed bool
	}{
		"of an object without finalizers":   {auditLine("delete", "physicalhosts", "a", "", 200, status), true},
		"that waits for a finalizer":        {auditLine("delete", "physicalhosts", "a", "", 200, hostJSON(5, deleted+`,"finalizers":["f"]`, bareSpec)), false},
		"with the last finalizer":           {auditLine("update", "physicalhosts", "a", "", 200, hostJSON(5, deleted, bareSpec)), true},
		"by a client of metadata only":      {auditLine("patch", "physicalhosts", "a", "", 200, strings.Replace(hostJSON(5, deleted, bareSpec), "PhysicalHost", "PartialObjectMetadata", 1)), true},
		"of a collection, one may go":       {auditLine("deletecollection", "physicalhosts", "", "", 200, list), true},
		"followed by the rest of the stage": {auditLine("update", "physicalhosts", "a", "/status", 200, hostJSON(5, "", bareSpec)), false},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			got := readAll(t, c.line)
			g.Expect(got).To(HaveLen(1))
			g.Expect(got[0].removed).To(Equal(c.removed))
			g.Expect(got[0].uid).To(BeEquivalentTo("u1"))
		})
	}
}

func TestAuditSkips(t *testing.T) {
	for name, line := range map[string]string{
		"reads":              auditLine("get", "physicalhosts", "a", "", 200, hostJSON(5, "", bareSpec)),
		"refused writes":     auditLine("patch", "physicalhosts", "a", "", 409, `{"kind":"Status"}`),
		"dry runs":           auditLine("patch", "physicalhosts", "a", "?dryRun=All&force=true", 200, hostJSON(5, "", bareSpec)),
		"metadata only":      auditLine("patch", "physicalhosts", "a", "", 200, strings.Replace(hostJSON(5, "", bareSpec), "PhysicalHost", "PartialObjectMetadata", 1)),
		"other kinds":        auditLine("patch", "beskar7clusters", "a", "", 200, hostJSON(5, "", bareSpec)),
		"a line not written": strings.TrimSuffix(auditLine("create", "physicalhosts", "a", "", 200, hostJSON(5, "", bareSpec)), "}\n"),
	} {
		t.Run(name, func(t *testing.T) { NewWithT(t).Expect(readAll(t, line)).To(BeEmpty()) })
	}
}

func TestAuditWithoutResponsesIsAnError(t *testing.T) {
	r := newAuditReader(strings.NewReader(auditLine("patch", "physicalhosts", "a", "", 200, "")), "")
	NewWithT(t).Expect(r.drain()).To(MatchError(ContainSubstring("no responseObject")))
}

func TestAuditLogIsReadWhileItGrows(t *testing.T) {
	g := NewWithT(t)
	line := auditLine("create", "physicalhosts", "a", "", 201, hostJSON(10, "", bareSpec))
	grown := &growing{}
	r := newAuditReader(grown, "witness-7")
	grown.add(line + line[:100])
	g.Expect(r.drain()).To(Succeed())
	g.Expect(r.writes).To(HaveLen(1))
	grown.add(line[100:] + auditLine("get", "physicalhosts", "witness-7", "", 404, ""))
	g.Expect(r.drain()).To(Succeed())
	g.Expect(r.writes).To(HaveLen(2))
	g.Expect(r.seen).To(BeTrue())
}

// growing is a file that somebody appends to.
type growing struct{ data []byte }

func (f *growing) add(text string) { f.data = append(f.data, text...) }

func (f *growing) Read(p []byte) (int, error) {
	if len(f.data) == 0 {
		return 0, io.EOF
	}
	n := copy(p, f.data)
	f.data = f.data[n:]
	return n, nil
}

// BenchmarkWitness: 30,000 writes and 30,000 events of 1,000 hosts.
func BenchmarkWitness(b *testing.B) {
	s := newScript()
	for i := range 1000 {
		name := fmt.Sprintf("h%d", i)
		s.running(name)
		s.end(name)
		for range 20 {
			s.offer(name)
		}
	}
	for b.Loop() {
		if err := s.judge().Err(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAuditReader: 10,000 lines, one in ten of them a host's.
func BenchmarkAuditReader(b *testing.B) {
	var log strings.Builder
	other := strings.ReplaceAll(auditLine("update", "leases", "a", "", 200, `{"kind":"Lease","metadata":{"resourceVersion":"1"},"spec":{"pad":"`+strings.Repeat("x", 600)+`"}}`), "infrastructure.cluster.x-k8s.io", "coordination.k8s.io")
	for i := range 10_000 {
		if i%10 == 0 {
			log.WriteString(auditLine("patch", "physicalhosts", "a", "/status", 200, hostJSON(i+1, `,"managedFields":[{"manager":"`+strings.Repeat("x", 4000)+`"}]`, bareSpec)))
		} else {
			log.WriteString(other)
		}
	}
	b.SetBytes(int64(log.Len()))
	for b.Loop() {
		r := newAuditReader(strings.NewReader(log.String()), "witness-1")
		if err := r.drain(); err != nil || len(r.writes) != 1000 {
			b.Fatal(len(r.writes), err)
		}
	}
}
