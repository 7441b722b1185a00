package controlplane

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// nodeName is the one Node of this cluster; see kubelet.
const nodeName = "harness"

// A Provider runs one Pod at a time and keeps it until the Pod is deleted, as a kubelet does: so the Pods
// of an earlier template run on while a Deployment rolls out, as long as there are replicas to spare. With
// none to spare the oldest makes room for the newest, before it is deleted: a surge with one replica.

// settle takes leave of Pods that are deleted and returns the Pod to run, bound to the Node; nil: none.
func (v *Provider) settle(ctx context.Context) (*corev1.Pod, error) {
	v.abandoned = slices.DeleteFunc(v.abandoned, func(pod *corev1.Pod) bool {
		now, err := v.present(ctx, pod)
		return err == nil && (now == nil || !now.DeletionTimestamp.IsZero() && v.bury(ctx, now) == nil)
	})
	mine := v.myPod()
	if mine != nil {
		now, err := v.present(ctx, mine)
		if err != nil {
			return nil, err
		}
		if now == nil || !now.DeletionTimestamp.IsZero() {
			if err := v.leave(ctx, mine, now); err != nil {
				return nil, err
			}
			now = nil
		}
		mine = now
	}
	next, err := v.choose(ctx, mine)
	if err != nil || next == nil || next.Spec.NodeName != "" {
		return next, err
	}
	return next, v.bind(ctx, next)
}

// leave ends the process of a Pod that is deleted, and then the Pod, if it is still there.
func (v *Provider) leave(ctx context.Context, mine, now *corev1.Pod) error {
	if err := v.stopProcess(mine); err != nil {
		return err
	}
	if now != nil {
		if err := v.bury(ctx, now); err != nil {
			return err
		}
	}
	v.sit(nil)
	return nil
}

// present returns the Pod as it is now, nil when it is gone.
func (v *Provider) present(ctx context.Context, pod *corev1.Pod) (*corev1.Pod, error) {
	now := &corev1.Pod{}
	err := v.plane.house.client.Get(ctx, client.ObjectKeyFromObject(pod), now)
	if apierrors.IsNotFound(err) || err == nil && now.UID != pod.UID {
		return nil, nil //nolint:nilerr // gone: the answer, no failure
	}
	if err != nil {
		return nil, fmt.Errorf("reading Pod %s: %w", pod.Name, err)
	}
	return now, nil
}

// bury says that nothing of a deleted Pod runs any more, so that the API server forgets it.
func (v *Provider) bury(ctx context.Context, pod *corev1.Pod) error {
	err := v.plane.house.client.Delete(ctx, pod.DeepCopy(), client.GracePeriodSeconds(0), client.Preconditions{UID: &pod.UID})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return fmt.Errorf("ending Pod %s: %w", pod.Name, err)
	}
	return nil
}

func (v *Provider) bind(ctx context.Context, pod *corev1.Pod) error {
	binding := &corev1.Binding{ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID},
		Target: corev1.ObjectReference{Kind: "Node", Name: nodeName}}
	err := v.plane.house.client.SubResource("binding").Create(ctx, pod.DeepCopy(), binding)
	if err != nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
		return fmt.Errorf("binding Pod %s: %w", pod.Name, err)
	}
	return nil
}

func (v *Provider) myPod() *corev1.Pod {
	v.plane.placeMu.Lock()
	defer v.plane.placeMu.Unlock()
	return v.placed
}

// sit takes a place; nil: gives it back.
func (v *Provider) sit(pod *corev1.Pod) {
	v.plane.placeMu.Lock()
	defer v.plane.placeMu.Unlock()
	v.sitLocked(pod)
}

func (v *Provider) sitLocked(pod *corev1.Pod) {
	if v.placed != nil {
		delete(v.plane.placed, v.placed.UID)
	}
	if v.placed = pod; pod != nil {
		v.plane.placed[pod.UID] = v
	}
}

// choose returns the Pod to run from now on: mine, the first that nobody runs, or one that takes mine's place.
func (v *Provider) choose(ctx context.Context, mine *corev1.Pod) (*corev1.Pod, error) {
	pods, err := v.pods(ctx)
	if err != nil {
		return nil, err
	}
	siblings := v.siblings()
	v.plane.placeMu.Lock()
	defer v.plane.placeMu.Unlock()
	free := slices.DeleteFunc(pods, func(p corev1.Pod) bool { return v.plane.placed[p.UID] != nil })
	idle := slices.ContainsFunc(siblings, func(s *Provider) bool {
		return s != v && s.placed == nil && !s.held.Load() && (mine != nil || s.opts.Instance < v.opts.Instance)
	})
	switch {
	case mine == nil && len(free) > 0 && !idle && !v.held.Load():
		v.sitLocked(&free[0])
	case mine != nil:
		v.placed = mine // as it is now
		newer := slices.IndexFunc(free, func(p corev1.Pod) bool { return supersedes(&p, mine) })
		if newer >= 0 && !idle && v.oldest(siblings) {
			v.abandoned = append(v.abandoned, mine)
			v.sitLocked(&free[newer])
		}
	}
	return v.placed, nil
}

// supersedes says whether a Pod is of a later template than another.
func supersedes(p, other *corev1.Pod) bool {
	const hash = appsv1.DefaultDeploymentUniqueLabelKey
	return p.Labels[hash] != other.Labels[hash] && !p.CreationTimestamp.Before(&other.CreationTimestamp)
}

// oldest says whether this is the first, among replicas with Pods of earlier templates, to make room.
func (v *Provider) oldest(siblings []*Provider) bool {
	return !slices.ContainsFunc(siblings, func(s *Provider) bool {
		return s != v && s.placed != nil && byAge(*s.placed, *v.placed) < 0 && s.placed.DeletionTimestamp.IsZero()
	})
}

func byAge(a, b corev1.Pod) int {
	return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), strings.Compare(a.Name, b.Name))
}

// siblings are the replicas of the same Deployment, with this one.
func (v *Provider) siblings() []*Provider {
	v.plane.mu.Lock()
	defer v.plane.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(v.plane.providers), func(s *Provider) bool {
		return s.opts.Namespace != v.opts.Namespace || s.opts.Deployment != v.opts.Deployment
	})
}

// pods are those of the Deployment that are to run, the oldest first; none without a Deployment.
func (v *Provider) pods(ctx context.Context) ([]corev1.Pod, error) {
	d := &appsv1.Deployment{}
	err := v.plane.house.client.Get(ctx, client.ObjectKey{Namespace: v.opts.Namespace, Name: v.opts.Deployment}, d)
	if err != nil || !d.DeletionTimestamp.IsZero() {
		return nil, client.IgnoreNotFound(err)
	}
	selector, err := metav1.LabelSelectorAsSelector(d.Spec.Selector)
	if err != nil {
		return nil, fmt.Errorf("reading the Deployment's selector: %w", err)
	}
	list := &corev1.PodList{}
	err = v.plane.house.client.List(ctx, list, client.InNamespace(d.Namespace), client.MatchingLabelsSelector{Selector: selector})
	if err != nil {
		return nil, fmt.Errorf("listing the Deployment's Pods: %w", err)
	}
	slices.SortFunc(list.Items, byAge)
	return slices.DeleteFunc(list.Items, func(p corev1.Pod) bool { return !p.DeletionTimestamp.IsZero() || finished(&p) }), nil
}

func finished(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
}
