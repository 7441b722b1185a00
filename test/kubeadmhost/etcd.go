package kubeadmhost

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"
	cloudv1 "sigs.k8s.io/cluster-api/test/infrastructure/inmemory/pkg/cloud/api/v1alpha1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// etcdMember is a member of the etcd cluster. The in-memory etcd keeps its
// membership and leadership in annotations of the etcd pods.
type etcdMember struct {
	node   string
	leader time.Time // since when; zero: never
}

func randomID() uint32 { return rand.Uint32()>>1 + 1 }

// etcdMembers lists the members that were not removed, by name.
func (c *cluster) etcdMembers(ctx context.Context) ([]etcdMember, error) {
	var pods corev1.PodList
	if err := c.api.List(ctx, &pods, client.InNamespace(metav1.NamespaceSystem), client.MatchingLabels{"component": "etcd", "tier": "control-plane"}); err != nil {
		return nil, fmt.Errorf("list etcd pods: %w", err)
	}
	var members []etcdMember
	for _, pod := range pods.Items {
		if _, removed := pod.Annotations[cloudv1.EtcdMemberRemoved]; removed {
			continue
		}
		since, err := time.Parse(time.RFC3339, pod.Annotations[cloudv1.EtcdLeaderFromAnnotationName])
		if err != nil {
			since = time.Time{}
		}
		members = append(members, etcdMember{node: strings.TrimPrefix(pod.Name, "etcd-"), leader: since})
	}
	slices.SortFunc(members, func(a, b etcdMember) int { return strings.Compare(a.node, b.node) })
	return members, nil
}

// quorum says whether more than half of the etcd members are on.
func (c *cluster) quorum(ctx context.Context) bool {
	members, err := c.etcdMembers(ctx)
	if err != nil {
		return false
	}
	on := 0
	for _, m := range members {
		if c.memberOf(m.node) != nil {
			on++
		}
	}
	return on > len(members)/2
}

// electLeader makes a member that is on the leader when the leader is not.
// c.mu is held.
func (c *cluster) electLeader(ctx context.Context, members []etcdMember) error {
	on := func(m etcdMember) bool { h := c.hosts[m.node]; return h != nil && h.on }
	var leader *etcdMember
	var alive []etcdMember
	for i, m := range members {
		if on(m) {
			alive = append(alive, m)
		}
		if !m.leader.IsZero() && (leader == nil || m.leader.After(leader.leader)) {
			leader = &members[i]
		}
	}
	if len(alive) <= len(members)/2 || (leader != nil && on(*leader)) {
		return nil
	}
	for _, m := range members {
		since := ""
		if m.node == alive[0].node {
			since = time.Now().Format(time.RFC3339)
		}
		if err := c.setLeaderSince(ctx, m.node, since); err != nil {
			return err
		}
	}
	return nil
}

func (c *cluster) setLeaderSince(ctx context.Context, node, since string) error {
	return c.updatePod(ctx, "etcd-"+node, func(pod *corev1.Pod) {
		if since == "" {
			delete(pod.Annotations, cloudv1.EtcdLeaderFromAnnotationName)
			return
		}
		pod.Annotations[cloudv1.EtcdLeaderFromAnnotationName] = since
	})
}

// memberKnown says whether a node ever had an etcd member, and whether that was
// removed.
func (c *cluster) memberKnown(ctx context.Context, node string) (known, removed bool, err error) {
	var pod corev1.Pod
	err = c.api.Get(ctx, client.ObjectKey{Namespace: metav1.NamespaceSystem, Name: "etcd-" + node}, &pod)
	if apierrors.IsNotFound(err) {
		return false, false, nil
	}
	_, removed = pod.Annotations[cloudv1.EtcdMemberRemoved]
	return true, removed, err
}

func (c *cluster) updatePod(ctx context.Context, name string, change func(*corev1.Pod)) error {
	return retry.RetryOnConflict(retry.DefaultRetry, func() error {
		var pod corev1.Pod
		if err := c.api.Get(ctx, client.ObjectKey{Namespace: metav1.NamespaceSystem, Name: name}, &pod); err != nil {
			return client.IgnoreNotFound(err)
		}
		if pod.Annotations == nil {
			pod.Annotations = map[string]string{}
		}
		change(&pod)
		return c.api.Update(ctx, &pod)
	})
}

// watchMembership follows changes that come in through the etcd API itself.
func (c *cluster) watchMembership(etcd http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !c.quorum(r.Context()) {
			http.Error(w, "etcdserver: no leader", http.StatusServiceUnavailable)
			return
		}
		etcd.ServeHTTP(w, r)
		if strings.HasSuffix(r.URL.Path, "/MemberRemove") {
			c.mu.Lock()
			defer c.mu.Unlock()
			if c.retired {
				return
			}
			if err := c.refresh(context.WithoutCancel(r.Context())); err != nil {
				c.world.log.Error("follow etcd membership", "cluster", c.endpoint, "error", err)
			}
		}
	})
}
