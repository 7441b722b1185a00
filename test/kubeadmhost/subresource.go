package kubeadmhost

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"

	jsonpatch "github.com/evanphx/json-patch/v5"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const maxBody = 3 << 20

// serveObject reads, patches or replaces an object, either only its status or
// all but its status, which is what the status subresource means.
func (h *apiHandler) serveObject(w http.ResponseWriter, r *http.Request, key client.ObjectKey, object client.Object, status bool) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		writeError(w, apierrors.NewBadRequest(err.Error()))
		return
	}
	if r.Method == http.MethodGet {
		if err := h.cluster.api.Get(r.Context(), key, object); err != nil {
			writeError(w, err)
			return
		}
		writeJSON(w, http.StatusOK, object)
		return
	}
	var written client.Object
	err = retry.RetryOnConflict(retry.DefaultRetry, func() error {
		current := object.DeepCopyObject().(client.Object)
		if err := h.cluster.api.Get(r.Context(), key, current); err != nil {
			return err
		}
		changed, version, err := h.change(r, body, current, status)
		if err != nil {
			return err
		}
		if version != "" && version != current.GetResourceVersion() {
			// The client's own precondition: trying again would not help it.
			return &preconditionError{apierrors.NewConflict(corev1.Resource("nodes"), key.Name, errors.New("the object has been modified"))}
		}
		written = changed
		return h.cluster.api.Update(r.Context(), changed)
	})
	if precondition, ok := errors.AsType[*preconditionError](err); ok {
		err = precondition.conflict
	}
	if err != nil {
		writeError(w, err)
		return
	}
	writeJSON(w, http.StatusOK, written)
}

// preconditionError hides a conflict from the retry loop.
type preconditionError struct{ conflict *apierrors.StatusError }

func (e *preconditionError) Error() string { return e.conflict.Error() }

// change applies the body of a request to current and returns the result, and
// the resource version the client insists on.
func (h *apiHandler) change(r *http.Request, body []byte, current client.Object, status bool) (client.Object, string, error) {
	before, err := json.Marshal(current)
	if err != nil {
		return nil, "", err
	}
	after, err := h.apply(r, body, before, current)
	if err != nil {
		return nil, "", apierrors.NewBadRequest(err.Error())
	}
	var old, changed map[string]any
	if err := errors.Join(json.Unmarshal(before, &old), json.Unmarshal(after, &changed)); err != nil {
		return nil, "", apierrors.NewBadRequest(err.Error())
	}
	metadata, _ := changed["metadata"].(map[string]any)
	version, _ := metadata["resourceVersion"].(string)
	result := changed
	if status {
		result = old
		result["status"] = changed["status"]
	} else {
		result["status"] = old["status"]
	}
	blob, err := json.Marshal(result)
	if err != nil {
		return nil, "", err
	}
	fresh, err := h.cluster.world.manager.GetScheme().New(current.GetObjectKind().GroupVersionKind())
	if err != nil {
		return nil, "", err
	}
	if err := json.Unmarshal(blob, fresh); err != nil {
		return nil, "", apierrors.NewBadRequest(err.Error())
	}
	out := fresh.(client.Object)
	out.SetName(current.GetName())
	out.SetNamespace(current.GetNamespace())
	out.SetResourceVersion(current.GetResourceVersion())
	return out, version, nil
}

// apply gives the JSON of the object after the request.
func (h *apiHandler) apply(r *http.Request, body, before []byte, current client.Object) ([]byte, error) {
	if r.Method == http.MethodPut {
		codecs := serializer.NewCodecFactory(h.cluster.world.manager.GetScheme())
		object, _, err := codecs.UniversalDeserializer().Decode(body, nil, nil)
		if err != nil {
			return nil, err
		}
		return json.Marshal(object)
	}
	if r.Method != http.MethodPatch {
		return nil, fmt.Errorf("method %s is not supported here", r.Method)
	}
	contentType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return nil, err
	}
	switch types.PatchType(contentType) {
	case types.StrategicMergePatchType:
		return strategicpatch.StrategicMergePatch(before, body, current)
	case types.MergePatchType:
		return jsonpatch.MergePatch(before, body)
	case types.JSONPatchType:
		patch, err := jsonpatch.DecodePatch(body)
		if err != nil {
			return nil, err
		}
		return patch.Apply(before)
	default:
		return nil, fmt.Errorf("patch type %q is not supported", contentType)
	}
}

// keepStaticPod answers the deletion of a static pod whose server is on: its
// kubelet would show the pod again at once. Other pods are left to the caller.
func (h *apiHandler) keepStaticPod(w http.ResponseWriter, r *http.Request, key client.ObjectKey) bool {
	var pod corev1.Pod
	if err := h.cluster.api.Get(r.Context(), key, &pod); err != nil || !h.stays(&pod) {
		return false
	}
	writeJSON(w, http.StatusOK, &pod)
	return true
}

func (h *apiHandler) stays(pod *corev1.Pod) bool {
	return pod.Annotations[corev1.MirrorPodAnnotationKey] != "" && h.cluster.memberOf(pod.Spec.NodeName) != nil
}

// evict deletes a pod unless a disruption budget forbids it.
func (h *apiHandler) evict(w http.ResponseWriter, r *http.Request, key client.ObjectKey) {
	var pod corev1.Pod
	if err := h.cluster.api.Get(r.Context(), key, &pod); err != nil {
		writeError(w, err)
		return
	}
	dryRun, err := h.evictionDryRun(r)
	if err != nil {
		writeError(w, apierrors.NewBadRequest(err.Error()))
		return
	}
	if budget, err := h.blockedBy(r, &pod); err != nil {
		writeError(w, err)
		return
	} else if budget != "" {
		writeError(w, apierrors.NewTooManyRequests(fmt.Sprintf("Cannot evict pod as it would violate the pod's disruption budget %s.", budget), 0))
		return
	}
	if !dryRun && !h.stays(&pod) {
		if err := client.IgnoreNotFound(h.cluster.api.Delete(r.Context(), &pod)); err != nil {
			writeError(w, err)
			return
		}
	}
	writeJSON(w, http.StatusCreated, metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusSuccess, Code: http.StatusCreated})
}

func (h *apiHandler) evictionDryRun(r *http.Request) (bool, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err != nil {
		return false, err
	}
	var eviction policyv1.Eviction
	codecs := serializer.NewCodecFactory(h.cluster.world.manager.GetScheme())
	if err := runtime.DecodeInto(codecs.UniversalDeserializer(), body, &eviction); err != nil {
		return false, err
	}
	return len(r.URL.Query()["dryRun"]) > 0 || (eviction.DeleteOptions != nil && len(eviction.DeleteOptions.DryRun) > 0), nil
}

// blockedBy names the disruption budget that forbids an eviction. No controller
// keeps the status of budgets here, so the pods are counted on the spot.
func (h *apiHandler) blockedBy(r *http.Request, pod *corev1.Pod) (string, error) {
	var budgets policyv1.PodDisruptionBudgetList
	if err := h.cluster.api.List(r.Context(), &budgets, client.InNamespace(pod.Namespace)); err != nil {
		return "", err
	}
	for _, budget := range budgets.Items {
		selector, err := metav1.LabelSelectorAsSelector(budget.Spec.Selector)
		if err != nil {
			return "", err
		}
		if selector.Empty() || !selector.Matches(labels.Set(pod.Labels)) {
			continue
		}
		var pods corev1.PodList
		if err := h.cluster.api.List(r.Context(), &pods, client.InNamespace(pod.Namespace), client.MatchingLabelsSelector{Selector: selector}); err != nil {
			return "", err
		}
		allowed, err := disruptionsAllowed(&budget, pods.Items)
		if err != nil {
			return "", err
		}
		if allowed <= 0 {
			return budget.Name, nil
		}
	}
	return "", nil
}

func disruptionsAllowed(budget *policyv1.PodDisruptionBudget, pods []corev1.Pod) (int, error) {
	healthy := 0
	for _, pod := range pods {
		for _, condition := range pod.Status.Conditions {
			if condition.Type == corev1.PodReady && condition.Status == corev1.ConditionTrue {
				healthy++
			}
		}
	}
	if budget.Spec.MaxUnavailable != nil {
		limit, err := intstr.GetScaledValueFromIntOrPercent(budget.Spec.MaxUnavailable, len(pods), true)
		return healthy - (len(pods) - limit), err
	}
	if budget.Spec.MinAvailable != nil {
		limit, err := intstr.GetScaledValueFromIntOrPercent(budget.Spec.MinAvailable, len(pods), true)
		return healthy - limit, err
	}
	return healthy - 1, nil
}
