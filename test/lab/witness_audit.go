package lab

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/beskar7/beskar7/api/v1beta1"
)

// auditEvent is the part of an audit.k8s.io/v1 Event that is read.
type auditEvent struct {
	Stage      string `json:"stage"`
	RequestURI string `json:"requestURI"`
	Verb       string `json:"verb"`
	ObjectRef  struct {
		Resource    string    `json:"resource"`
		Namespace   string    `json:"namespace"`
		Name        string    `json:"name"`
		UID         types.UID `json:"uid"`
		APIGroup    string    `json:"apiGroup"`
		Subresource string    `json:"subresource"`
	} `json:"objectRef"`
	ResponseStatus struct {
		Code int `json:"code"`
	} `json:"responseStatus"`
	ResponseObject json.RawMessage `json:"responseObject"`
	Received       time.Time       `json:"requestReceivedTimestamp"`
	Staged         time.Time       `json:"stageTimestamp"`
}

// auditObject is an answer: a host or a machine, a list of them, or a Status.
type auditObject struct {
	Kind     string            `json:"kind"`
	Metadata metav1.ObjectMeta `json:"metadata"`
	Details  struct {
		UID types.UID `json:"uid"`
	} `json:"details"`
	Items []auditObject `json:"items"`
	Spec  struct {
		Connection struct {
			Address string `json:"address"`
		} `json:"redfishConnection"`
		Consent    bool                `json:"consentToErase"`
		Power      v1beta1.PowerPolicy `json:"powerPolicy"`
		Quarantine *v1beta1.Quarantine `json:"quarantine"`
		Claim      *v1beta1.Claim      `json:"claim"`
		Boot       *v1beta1.Boot       `json:"boot"`
		HostRef    *v1beta1.HostRef    `json:"hostRef"`
		ProviderID string              `json:"providerID"`
	} `json:"spec"`
	// Status of a host; of a Status it is a word.
	Status json.RawMessage `json:"status"`
}

// hostStatus is the part of a host's status that is read.
type hostStatus struct {
	State      v1beta1.HostState  `json:"state"`
	Conditions []metav1.Condition `json:"conditions"`
}

// auditReader decodes an audit log while it grows.
type auditReader struct {
	in *bufio.Reader
	// marker, when found in a line, sets seen.
	marker []byte
	seen   bool
	part   []byte // of a line whose end was not written yet
	writes []write
}

func newAuditReader(r io.Reader, marker string) *auditReader {
	return &auditReader{in: bufio.NewReaderSize(r, 1<<20), marker: []byte(marker)}
}

// drain reads what is there.
func (a *auditReader) drain() error {
	for {
		chunk, err := a.in.ReadSlice('\n')
		a.part = append(a.part, chunk...)
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read the audit log: %w", err)
		}
		if err := a.line(a.part); err != nil {
			return err
		}
		a.part = a.part[:0]
	}
}

// wanted are words without one of which a line cannot be a write to a host or machine: most lines are not, and parsing is slow.
var wanted = struct{ resources, verbs [][]byte }{
	resources: [][]byte{[]byte(`"resource":"physicalhosts"`), []byte(`"resource":"beskar7machines"`)},
	verbs: [][]byte{[]byte(`"verb":"patch"`), []byte(`"verb":"update"`), []byte(`"verb":"create"`), []byte(`"verb":"delete"`),
		[]byte(`"verb":"deletecollection"`)},
}

func containsAny(line []byte, words [][]byte) bool {
	for _, w := range words {
		if bytes.Contains(line, w) {
			return true
		}
	}
	return false
}

func (a *auditReader) line(line []byte) error {
	if !containsAny(line, wanted.resources) {
		return nil
	}
	if len(a.marker) > 0 && bytes.Contains(line, a.marker) {
		a.seen = true
	}
	if !containsAny(line, wanted.verbs) {
		return nil
	}
	var e auditEvent
	if err := json.Unmarshal(line, &e); err != nil {
		return fmt.Errorf("decode a line of the audit log: %w", err)
	}
	writes, err := e.writes()
	if err != nil {
		return fmt.Errorf("audit log: %s %s at %s: %w", e.Verb, e.RequestURI, clock(e.Staged), err)
	}
	a.writes = append(a.writes, writes...)
	return nil
}

// kinds of objects by resource.
var kinds = map[string]struct {
	kind kind
	name string
}{"physicalhosts": {hostKind, "PhysicalHost"}, "beskar7machines": {machineKind, "Beskar7Machine"}}

// writes are what the request changed: nothing, one object, or each of a deleted collection.
func (e *auditEvent) writes() ([]write, error) {
	k, known := kinds[e.ObjectRef.Resource]
	if !known || e.ObjectRef.APIGroup != v1beta1.GroupVersion.Group || e.Stage != "ResponseComplete" ||
		e.ObjectRef.Subresource != "" && e.ObjectRef.Subresource != "status" ||
		e.ResponseStatus.Code < http.StatusOK || e.ResponseStatus.Code >= http.StatusMultipleChoices || e.dryRun() {
		return nil, nil
	}
	switch e.Verb {
	case "create", "update", "patch", "delete", "deletecollection":
	default:
		return nil, nil
	}
	if len(e.ResponseObject) == 0 {
		return nil, errors.New("no responseObject: the audit policy must record responses")
	}
	var o auditObject
	if err := json.Unmarshal(e.ResponseObject, &o); err != nil {
		return nil, fmt.Errorf("decode the response: %w", err)
	}
	base := write{at: span{e.Received, e.Staged}, kind: k.kind, key: types.NamespacedName{Namespace: e.ObjectRef.Namespace, Name: e.ObjectRef.Name}}
	switch {
	case e.Verb == "deletecollection":
		return base.collection(o.Items), nil
	case o.Kind == "Status": // of a delete: the object had no finalizer, and is gone
		base.removed, base.uid = true, o.Details.UID
		return []write{base}, nil
	}
	return base.object(o, k.name)
}

// dryRun says whether nothing was stored.
func (e *auditEvent) dryRun() bool {
	_, query, _ := strings.Cut(e.RequestURI, "?")
	values, err := url.ParseQuery(query)
	return err == nil && values.Has("dryRun")
}

// collection is a deletecollection: its answer lists the objects as they were. Those with finalizers stay.
func (w write) collection(items []auditObject) []write {
	var out []write
	for _, o := range items {
		if len(o.Metadata.Finalizers) == 0 {
			w.key.Namespace, w.key.Name, w.uid, w.removed = o.Metadata.Namespace, o.Metadata.Name, o.Metadata.UID, true
			out = append(out, w)
		}
	}
	return out
}

// object is a write that was answered with the object. The removal of the last finalizer is answered with an object that was never
// stored.
func (w write) object(o auditObject, kindName string) ([]write, error) {
	m := o.Metadata
	w.key, w.uid = types.NamespacedName{Namespace: m.Namespace, Name: m.Name}, m.UID
	if m.DeletionTimestamp != nil && len(m.Finalizers) == 0 {
		w.removed = true
		return []write{w}, nil
	}
	switch o.Kind {
	case kindName:
	case "PartialObjectMetadata": // a client of metadata only, such as the garbage collector: spec and status stay as they were
		return nil, nil
	default:
		return nil, fmt.Errorf("the response is a %q", o.Kind)
	}
	var err error
	if w.version, err = strconv.ParseUint(m.ResourceVersion, 10, 64); err != nil {
		return nil, fmt.Errorf("resourceVersion: %w", err)
	}
	if w.kind == machineKind {
		w.machine = &machineVersion{ref: o.Spec.HostRef, providerID: o.Spec.ProviderID}
		return []write{w}, nil
	}
	var status hostStatus
	if len(o.Status) > 0 {
		if err := json.Unmarshal(o.Status, &status); err != nil {
			return nil, fmt.Errorf("decode the status: %w", err)
		}
	}
	w.host = o.host(status)
	return []write{w}, nil
}

func (o *auditObject) host(status hostStatus) *hostVersion {
	v := &hostVersion{address: strings.TrimSuffix(o.Spec.Connection.Address, "/"), consent: o.Spec.Consent,
		quarantined: o.Spec.Quarantine != nil, claim: o.Spec.Claim, bearsAgain: o.Spec.Power == v1beta1.PowerPolicyAlwaysOn}
	if o.Spec.Boot != nil {
		v.mode = o.Spec.Boot.BootMode
	}
	switch status.State {
	case v1beta1.StateOrphaned, v1beta1.StateQuarantined, v1beta1.StateReleaseBlocked:
		v.reported = true
	default:
	}
	for _, c := range status.Conditions {
		switch {
		case c.Type == v1beta1.AvailableCondition:
			v.available = c.Status == metav1.ConditionTrue
		case c.Type == v1beta1.ReleaseBlockedCondition && c.Status == metav1.ConditionTrue:
			v.reported = true
		}
		v.reported = v.reported || c.Reason == v1beta1.ReasonOrphaned || c.Reason == v1beta1.ReasonQuarantined || c.Reason == v1beta1.ReasonReleaseOverdue
	}
	return v
}
