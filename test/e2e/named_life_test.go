//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/test/lab"
)

// live lives the life of one machine, from its creation until its host is offered again, with the manager killed at one call.
// It returns the calls of the life, and says in the error what of it did not happen in time.
func (l *lane) live(ctx context.Context, at cut) ([]string, error) {
	machine := fmt.Sprintf("%s-m%d", l.namespace, len(l.lives))
	one := lived{machine: machine, cut: at, from: time.Now()}
	l.calls.begin(at)
	err := l.liveOn(ctx, machine)
	calls, reached := l.calls.end()
	one.reached, one.to = reached, time.Now()
	l.lives = append(l.lives, one)
	if err == nil {
		err = l.clear(ctx, machine)
	}
	return calls, err
}

func (l *lane) liveOn(ctx context.Context, machine string) error {
	if err := l.order(ctx, machine); err != nil {
		return err
	}
	host, err := l.bound(ctx, machine)
	if err != nil {
		return err
	}
	if err := l.sealed(ctx, machine, host); err != nil {
		return err
	}
	m := &v1beta1.Beskar7Machine{ObjectMeta: metav1.ObjectMeta{Namespace: l.namespace, Name: machine}}
	if err := l.site.Client.Delete(ctx, m); err != nil {
		return err
	}
	return l.back(ctx, machine)
}

// order makes what Cluster API makes once a machine's bootstrap data are there.
func (l *lane) order(ctx context.Context, name string) error {
	c, meta := l.site.Client, metav1.ObjectMeta{Namespace: l.namespace, Name: name, Labels: map[string]string{clusterv1.ClusterNameLabel: namedCluster}}
	data := l.site.workload.worker + "\n# " + marker(name) + "\n"
	secret := &corev1.Secret{ObjectMeta: *meta.DeepCopy(), Type: clusterv1.ClusterSecretType, Data: map[string][]byte{"value": []byte(data), "format": []byte("cloud-config")}}
	owner := &clusterv1.Machine{ObjectMeta: *meta.DeepCopy(), Spec: clusterv1.MachineSpec{ClusterName: namedCluster, Version: lab.KubernetesVersion,
		Bootstrap:         clusterv1.Bootstrap{DataSecretName: ptr.To(name)},
		InfrastructureRef: clusterv1.ContractVersionedObjectReference{APIGroup: v1beta1.GroupVersion.Group, Kind: "Beskar7Machine", Name: name}}}
	if err := errors.Join(c.Create(ctx, secret), c.Create(ctx, owner)); err != nil {
		return err
	}
	m := &v1beta1.Beskar7Machine{ObjectMeta: *meta.DeepCopy(), Spec: v1beta1.Beskar7MachineSpec{ImageURL: l.site.Image, OSFamily: "ubuntu", BootMode: v1beta1.BootModeLive}}
	m.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(owner, clusterv1.GroupVersion.WithKind("Machine"))}
	return c.Create(ctx, m)
}

// marker is a secret of a machine, in its bootstrap data.
func marker(machine string) string { return "the one-time secret of " + machine }

// bound waits until a machine is provisioned, its host bound, and its node up on the server of that host and nowhere else.
func (l *lane) bound(ctx context.Context, machine string) (*v1beta1.PhysicalHost, error) {
	var host *v1beta1.PhysicalHost
	err := lab.Until(ctx, machine+" to be bound", l.limit, func(ctx context.Context) (bool, string, error) {
		m, err := lab.Object(ctx, l.site.Lab, l.namespace, machine, &v1beta1.Beskar7Machine{})
		if err != nil {
			return false, "", err
		}
		if m.Spec.HostRef == nil || !ptr.Deref(m.Status.Initialization.Provisioned, false) {
			return false, "machine: " + conditions.GetMessage(m, v1beta1.ReadyCondition), nil
		}
		host, err = lab.Object(ctx, l.site.Lab, l.namespace, m.Spec.HostRef.Name, &v1beta1.PhysicalHost{})
		if err != nil {
			return false, "", err
		}
		if host.Spec.Claim == nil || host.Spec.Claim.Machine != machine || !host.Spec.Claim.Bound {
			return false, fmt.Sprintf("host %s is %s: %s", host.Name, host.Status.State, conditions.GetMessage(host, v1beta1.ReadyCondition)), nil
		}
		return true, "", nil
	})
	if err != nil {
		return nil, err
	}
	for _, n := range l.site.World.Nodes() {
		if n.ProviderID == v1beta1.ProviderID(l.namespace, host.Name, host.Spec.Claim.ID) && n.Name == machine && n.Server == host.Name {
			return host, nil
		}
	}
	return nil, fmt.Errorf("host %s is bound to %s, and no server of that name carries its node", host.Name, machine)
}

// sealed expects that nobody who reads the medium of a bound host is served bootstrap data any more (I12), and the rest is still there.
func (l *lane) sealed(ctx context.Context, machine string, host *v1beta1.PhysicalHost) error {
	for _, slot := range l.site.Fleet.Get(host.Name).State().Slots {
		if !slot.Inserted {
			continue
		}
		// The manager may be just starting, and each replica learns through its cache that the host is bound.
		return lab.Until(ctx, "the medium of "+machine+" to be without its bootstrap data", l.limit, func(ctx context.Context) (bool, string, error) {
			text, err := l.read(ctx, slot.Image)
			if err != nil {
				return false, "", err
			}
			return len(text) > 0 && !bytes.Contains(text, []byte(marker(machine))), "its bootstrap data are served although the host is bound", nil
		})
	}
	return fmt.Errorf("host %s is bound to the Live machine %s and has no medium", host.Name, machine)
}

// read fetches a medium. The error does not hold its address, which is a secret.
func (l *lane) read(ctx context.Context, image string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, image, http.NoBody)
	if err != nil {
		return nil, errors.New("the address of the medium is not valid")
	}
	transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: l.site.trust}}
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return nil, errors.New("the media server does not answer")
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, errors.New("the media server answers " + response.Status)
	}
	return io.ReadAll(response.Body)
}

// back waits until a deleted machine is gone, and all hosts of the lane are offered and their servers spent.
func (l *lane) back(ctx context.Context, machine string) error {
	return lab.Until(ctx, "the host of "+machine+" to be offered again", l.limit, func(ctx context.Context) (bool, string, error) {
		m, err := lab.Object(ctx, l.site.Lab, l.namespace, machine, &v1beta1.Beskar7Machine{})
		if client.IgnoreNotFound(err) != nil {
			return false, "", err
		}
		if err == nil {
			return false, "the machine is still there: " + conditions.GetMessage(m, v1beta1.ReadyCondition), nil
		}
		if ok, why, err := l.site.AllAvailable(ctx, l.namespace); !ok || err != nil {
			return false, why, err
		}
		hosts, err := l.site.Hosts(ctx, l.namespace)
		for i := range hosts {
			if why := (&story{Lab: l.site.Lab}).unspent(hosts[i].Name); why != "" {
				return false, why, nil
			}
		}
		return err == nil, "", err
	})
}

// clear deletes what Cluster API would delete after the infrastructure of a machine.
func (l *lane) clear(ctx context.Context, machine string) error {
	meta := metav1.ObjectMeta{Namespace: l.namespace, Name: machine}
	return errors.Join(client.IgnoreNotFound(l.site.Client.Delete(ctx, &clusterv1.Machine{ObjectMeta: meta})),
		client.IgnoreNotFound(l.site.Client.Delete(ctx, &corev1.Secret{ObjectMeta: meta})))
}

// during says which life of the lane a moment belongs to.
func (l *lane) during(at time.Time) string {
	said := "before its first life"
	for _, one := range l.lives {
		if !at.Before(one.from) {
			said = "after " + one.cut.String()
		}
		if !at.Before(one.from) && !at.After(one.to) {
			return l.again(one.cut)
		}
	}
	return said
}

// again says how to live a life once more.
func (l *lane) again(at cut) string {
	if at.call == "" {
		return l.mode + ": undisturbed"
	}
	return fmt.Sprintf("%s: %s\n  again: %s=%s make crash-manager", l.mode, at, cutVariable, shellQuote(l.mode+": "+at.String()))
}

func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
