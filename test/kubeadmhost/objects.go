package kubeadmhost

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	cloudv1 "sigs.k8s.io/cluster-api/test/infrastructure/inmemory/pkg/cloud/api/v1alpha1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	controlPlaneKey = "node-role.kubernetes.io/control-plane"
	defaultRegistry = "registry.k8s.io"
	corednsVersion  = "v1.12.1"
)

// controlPlaneComponents are the static pods of a control plane server.
var controlPlaneComponents = []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"}

// createBaseObjects makes what kubeadm init leaves in a new cluster and Cluster
// API looks for.
func (c *cluster) createBaseObjects(ctx context.Context, p *plan) error {
	info, err := c.clusterInfo()
	if err != nil {
		return err
	}
	var objects []client.Object
	for _, name := range []string{metav1.NamespaceDefault, metav1.NamespaceSystem, metav1.NamespacePublic, "kube-node-lease"} {
		objects = append(objects, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"kubernetes.io/metadata.name": name}}})
	}
	objects = append(objects,
		configMap(metav1.NamespaceSystem, "kubeadm-config", "ClusterConfiguration", string(p.configYAML)),
		configMap(metav1.NamespaceSystem, "kubelet-config", "kubelet", "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"),
		configMap(metav1.NamespacePublic, "cluster-info", "kubeconfig", string(info)),
		configMap(metav1.NamespaceSystem, "coredns", "Corefile", ".:53 {\n    errors\n    health\n    ready\n    kubernetes cluster.local\n    forward . /etc/resolv.conf\n    cache 30\n}\n"),
		&rbacv1.ClusterRole{
			ObjectMeta: metav1.ObjectMeta{Name: "kubeadm:get-nodes"},
			Rules:      []rbacv1.PolicyRule{{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{"nodes"}}},
		},
		&rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: "kubeadm:get-nodes"},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "kubeadm:get-nodes"},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: "system:bootstrappers:kubeadm:default-node-token"}},
		})
	objects = append(objects, c.addons(p)...)
	for _, token := range p.tokens {
		if token.Token != nil {
			objects = append(objects, tokenSecret(token.Token.ID, token.Token.Secret))
		}
	}
	for _, object := range objects {
		if err := c.api.Create(ctx, object); err != nil {
			return fmt.Errorf("%T %s: %w", object, object.GetName(), err)
		}
	}
	return nil
}

func configMap(namespace, name, key, value string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Data: map[string]string{key: value}}
}

// tokenSecret is a bootstrap token from the init configuration, valid for the
// 24 hours that kubeadm gives it.
func tokenSecret(id, secret string) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceSystem, Name: "bootstrap-token-" + id},
		Type:       corev1.SecretTypeBootstrapToken,
		Data: map[string][]byte{
			"token-id": []byte(id), "token-secret": []byte(secret),
			"expiration":                     []byte(time.Now().Add(24 * time.Hour).UTC().Format(time.RFC3339)),
			"usage-bootstrap-authentication": []byte("true"), "usage-bootstrap-signing": []byte("true"),
		},
	}
}

func (c *cluster) addons(p *plan) []client.Object {
	registry := p.config.ImageRepository
	if registry == "" {
		registry = defaultRegistry
	}
	workload := func(name, image string) (metav1.ObjectMeta, *metav1.LabelSelector, corev1.PodTemplateSpec) {
		labels := map[string]string{"k8s-app": name}
		return metav1.ObjectMeta{Namespace: metav1.NamespaceSystem, Name: name, Labels: labels},
			&metav1.LabelSelector{MatchLabels: labels},
			corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: name, Image: image}}},
			}
	}
	proxy, dns := &appsv1.DaemonSet{}, &appsv1.Deployment{}
	proxy.ObjectMeta, proxy.Spec.Selector, proxy.Spec.Template = workload("kube-proxy", registry+"/kube-proxy:"+strings.ReplaceAll(c.version, "+", "_"))
	dns.ObjectMeta, dns.Spec.Selector, dns.Spec.Template = workload("coredns", registry+"/coredns/coredns:"+corednsVersion)
	dns.Spec.Template.Spec.Volumes = []corev1.Volume{{Name: "config-volume", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
		LocalObjectReference: corev1.LocalObjectReference{Name: "coredns"}, Items: []corev1.KeyToPath{{Key: "Corefile", Path: "Corefile"}},
	}}}}
	return []client.Object{proxy, dns}
}

// clusterInfo is the kubeconfig without credentials that discovery reads.
func (c *cluster) clusterInfo() ([]byte, error) {
	config := clientcmdapi.NewConfig()
	config.Clusters[""] = &clientcmdapi.Cluster{Server: "https://" + c.endpoint, CertificateAuthorityData: c.caPEM}
	return clientcmd.Write(*config)
}

func (c *cluster) createControlPlanePods(ctx context.Context, h *host) error {
	members, err := c.etcdMembers(ctx)
	if err != nil {
		return err
	}
	for _, component := range controlPlaneComponents {
		pod := staticPod(component, h)
		if component == "etcd" {
			pod.Annotations[cloudv1.EtcdClusterIDAnnotationName] = strconv.FormatUint(uint64(c.etcdID), 10)
			pod.Annotations[cloudv1.EtcdMemberIDAnnotationName] = strconv.FormatUint(uint64(randomID()), 10)
			if len(members) == 0 {
				// In the past, so that a move within this second is later.
				pod.Annotations[cloudv1.EtcdLeaderFromAnnotationName] = time.Now().Add(-time.Minute).Format(time.RFC3339)
			}
		}
		err := c.api.Create(ctx, pod)
		if apierrors.IsAlreadyExists(err) {
			err = c.updatePod(ctx, pod.Name, func(existing *corev1.Pod) { existing.Status = pod.Status })
		}
		if err != nil {
			return fmt.Errorf("create static pod %s: %w", pod.Name, err)
		}
	}
	return nil
}

func staticPod(component string, h *host) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: metav1.NamespaceSystem, Name: component + "-" + h.name,
			Labels: map[string]string{"component": component, "tier": "control-plane"},
			// The mark of a static pod: drain leaves it alone.
			Annotations: map[string]string{corev1.MirrorPodAnnotationKey: component},
		},
		Spec: corev1.PodSpec{
			NodeName: h.name, HostNetwork: true, PriorityClassName: "system-node-critical",
			Containers: []corev1.Container{{Name: component, Image: defaultRegistry + "/" + component + ":" + h.version}},
		},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{podReady(corev1.ConditionTrue)}},
	}
}

func podReady(status corev1.ConditionStatus) corev1.PodCondition {
	return corev1.PodCondition{Type: corev1.PodReady, Status: status, LastTransitionTime: metav1.Now()}
}

func (c *cluster) deleteControlPlanePods(ctx context.Context, node string) error {
	for _, component := range controlPlaneComponents {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceSystem, Name: component + "-" + node}}
		if err := client.IgnoreNotFound(c.api.Delete(ctx, pod)); err != nil {
			return fmt.Errorf("delete static pod %s: %w", pod.Name, err)
		}
	}
	return nil
}
