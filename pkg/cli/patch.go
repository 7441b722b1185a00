package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// coordinatorFlag turns the claim leader on.
const coordinatorFlag = "--enable-claim-coordinator-leader-election"

// operation is one of a JSON patch.
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

// flagPatch sets one flag of the manager's container and leaves all its other arguments alone. changed is false if it is set
// so already.
func flagPatch(deployment *appsv1.Deployment, flag, value string) (patch []operation, changed bool) {
	containers := deployment.Spec.Template.Spec.Containers
	i := slices.IndexFunc(containers, func(c corev1.Container) bool { return c.Name == containerName })
	if i < 0 {
		return nil, false
	}
	wanted, base := flag+"="+value, fmt.Sprintf("/spec/template/spec/containers/%d/args", i)
	ours := operation{"test", fmt.Sprintf("/spec/template/spec/containers/%d/name", i), containerName}
	args := containers[i].Args
	at := -1
	for n, arg := range args { // the last one counts
		if name, _, _ := strings.Cut(arg, "="); name == flag {
			at = n
		}
	}
	switch {
	case at >= 0 && (args[at] == wanted || (args[at] == flag && value == "true")):
		return nil, false
	case at >= 0:
		return []operation{ours, {"test", fmt.Sprintf("%s/%d", base, at), args[at]}, {"replace", fmt.Sprintf("%s/%d", base, at), wanted}}, true
	case len(args) == 0:
		return []operation{ours, {"add", base, []string{wanted}}}, true
	}
	return []operation{ours, {"add", base + "/-", wanted}}, true
}

// unflagPatch puts one flag back to what it was in an earlier Deployment.
func unflagPatch(before, now *appsv1.Deployment, flag string) []operation {
	argsOf := func(d *appsv1.Deployment) (int, []string) {
		for i, c := range d.Spec.Template.Spec.Containers {
			if c.Name == containerName {
				return i, c.Args
			}
		}
		return -1, nil
	}
	var patch []operation
	_, old := argsOf(before)
	i, args := argsOf(now)
	var earlier []string
	for _, arg := range old {
		if name, _, _ := strings.Cut(arg, "="); name == flag {
			earlier = append(earlier, arg)
		}
	}
	for n, arg := range slices.Backward(args) { // from the end, so that the places before stay
		name, _, _ := strings.Cut(arg, "=")
		if name != flag {
			continue
		}
		place := fmt.Sprintf("/spec/template/spec/containers/%d/args/%d", i, n)
		patch = append(patch, operation{"test", place, arg})
		if k := len(earlier) - 1; k >= 0 {
			patch = append(patch, operation{"replace", place, earlier[k]})
			earlier = earlier[:k]
			continue
		}
		patch = append(patch, operation{Op: "remove", Path: place})
	}
	return patch
}

// patchObject writes a JSON patch. The patch tests what it depends on: status changes all the time.
func patchObject(ctx context.Context, c client.Client, object client.Object, patch []operation) error {
	text, err := json.Marshal(patch)
	if err != nil {
		return err
	}
	return c.Patch(ctx, object, client.RawPatch(types.JSONPatchType, text))
}
