package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/uuid"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	"github.com/beskar7/beskar7/api/v1beta1"
)

// filler puts objects straight into etcd, in the form in which the API server keeps custom resources. A storm of 5,000 machines
// needs 15,000 objects before it begins; through the API server that takes longer than the storm, and none of it is measured.
type filler struct {
	site *site
	etcd string // base URL
	http *http.Client
}

// newFiller finds etcd among the processes of the control plane.
func (s *site) newFiller() (*filler, error) {
	processes, err := s.processes()
	if err != nil {
		return nil, err
	}
	for _, p := range processes {
		if p.Name != "etcd" {
			continue
		}
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.PID))
		if err != nil {
			return nil, err
		}
		if _, rest, found := strings.Cut(string(line), "--listen-client-urls="); found {
			url, _, _ := strings.Cut(rest, "\x00")
			return &filler{site: s, etcd: url, http: &http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: makers}}}, nil
		}
	}
	return nil, errors.New("etcd is not among the processes of the control plane")
}

// put stores an object.
func (f *filler) put(ctx context.Context, plural string, o client.Object) error {
	kind, err := apiutil.GVKForObject(o, f.site.client.Scheme())
	if err != nil {
		return err
	}
	o.GetObjectKind().SetGroupVersionKind(kind)
	value, err := json.Marshal(o)
	if err != nil {
		return err
	}
	key := path.Join("/registry", kind.Group, plural, o.GetNamespace(), o.GetName())
	encode := base64.StdEncoding.EncodeToString
	body, err := json.Marshal(map[string]string{"key": encode([]byte(key)), "value": encode(value)})
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, f.etcd+"/v3/kv/put", bytes.NewReader(body))
	if err != nil {
		return err
	}
	response, err := f.http.Do(request)
	if err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		return fmt.Errorf("put %s: %s %s, %w", key, response.Status, text, err)
	}
	return nil
}

// born is what the API server gives an object when it is created.
func born(o metav1.ObjectMeta, manager string) metav1.ObjectMeta {
	now := metav1.Now().Rfc3339Copy()
	o.UID, o.CreationTimestamp, o.Generation = uuid.NewUUID(), now, 1
	o.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: manager, Operation: metav1.ManagedFieldsOperationUpdate, APIVersion: "cluster.x-k8s.io/v1beta2", Time: &now,
		FieldsType: "FieldsV1", FieldsV1: &metav1.FieldsV1{Raw: []byte(`{"f:metadata":{"f:labels":{".":{}}}}`)}}}
	return o
}

// machine puts what Cluster API makes for a machine once its bootstrap data are there.
func (f *filler) machine(ctx context.Context, namespace string, i int) error {
	owner, m := newMachine(namespace, i)
	owner.ObjectMeta = born(owner.ObjectMeta, "core")
	m.ObjectMeta = born(m.ObjectMeta, "core")
	m.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(owner, clusterv1.GroupVersion.WithKind("Machine"))}
	m.ManagedFields[0].APIVersion = v1beta1.GroupVersion.String()
	return errors.Join(f.put(ctx, "machines", owner), f.put(ctx, "beskar7machines", m))
}

// host puts a host as the host controller would have reported it after an inspection: Available, of a real host's size.
func (f *filler) host(ctx context.Context, namespace string, i int) error {
	h := newHost(namespace, i)
	h.ObjectMeta = born(h.ObjectMeta, "beskar7-controller-manager")
	h.ManagedFields[0].APIVersion = v1beta1.GroupVersion.String()
	h.Status = hostStatus(i)
	return f.put(ctx, "physicalhosts", h)
}

// fill makes a namespace with everything that a storm needs.
func (s *site) fill(ctx context.Context, machines, hosts int) (string, error) {
	namespace := fmt.Sprintf("storm-%d", time.Now().UnixNano())
	if err := s.makeNamespace(ctx, namespace); err != nil {
		return "", err
	}
	if err := s.makeCluster(ctx, namespace); err != nil {
		return "", err
	}
	f, err := s.newFiller()
	if err != nil {
		return "", err
	}
	if err := each(ctx, hosts, func(ctx context.Context, i int) error { return f.host(ctx, namespace, i) }); err != nil {
		return "", err
	}
	return namespace, each(ctx, machines, func(ctx context.Context, i int) error { return f.machine(ctx, namespace, i) })
}
