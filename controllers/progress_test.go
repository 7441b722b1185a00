package controllers

import (
	"context"
	"errors"
	"strings"
	"testing"

	"k8s.io/utils/ptr"
	"sigs.k8s.io/cluster-api/util/conditions"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/bootmedia"
	"github.com/beskar7/beskar7/pkg/provision"
)

// preparing is a Preparer that says what it is told to, and counts who asks it to begin again.
type preparing struct {
	says  bootmedia.Prepared
	err   error
	again []string
}

func (p *preparing) Prepare(context.Context, string, string) (bootmedia.Prepared, error) {
	return p.says, p.err
}
func (p *preparing) Again(imageURL string) { p.again = append(p.again, imageURL) }

// fetching is a host that waits for its image.
func fetching(t *testing.T, image *preparing) *rig {
	m, cluster, data := newMachine(), newCluster(), bootstrapSecret()
	cluster.Status.Initialization.InfrastructureProvisioned = ptr.To(true)
	r := newRig(t, inventoried(claimedHost()), m, newOwner(), cluster, newSecret("bmc"), data)
	r.host.Media, r.host.MediaURL = image, "https://media.example"
	return r
}

// How far a download is stands in status, and changes no condition: they are mirrored to the Machine and beyond.
func TestProgressIsNoCondition(t *testing.T) {
	image := &preparing{}
	r := fetching(t, image)
	var first []string
	for i, p := range []bootmedia.Prepared{{Progress: "waiting for the image server"}, {Progress: "downloading 1 of 1024 MiB"}, {Progress: "downloading 512 of 1024 MiB"}} {
		image.says = p
		r.look(3)
		r.lookAtMachine(2)
		host, m := r.getHost(), &v1beta1.Beskar7Machine{}
		r.get(m, "m")
		if !strings.Contains(host.Status.Progress, p.Progress) {
			t.Errorf("status says %q, not %q", host.Status.Progress, p.Progress)
		}
		said := []string{}
		for _, o := range []conditions.Getter{host, m} {
			for _, c := range o.GetConditions() {
				said = append(said, c.Type+" "+c.Reason+" "+c.Message)
			}
		}
		if got := strings.Join(said, "\n"); i == 0 {
			first = said
			if !strings.Contains(got, v1beta1.ReasonMediaNotReady) {
				t.Fatalf("nothing says that the image is awaited:\n%s", got)
			}
		} else if got != strings.Join(first, "\n") {
			t.Errorf("after %q the conditions are\n%s\nbefore:\n%s", p.Progress, got, strings.Join(first, "\n"))
		}
	}
}

// A try that follows a failure says what failed until it has something to show: no condition goes to and fro with the tries.
func TestAFailureIsSaidUntilTheNextTryHasMore(t *testing.T) {
	image := &preparing{err: errors.New("image server: answered 500")}
	r := fetching(t, image)
	reason := func() (string, string) {
		t.Helper()
		r.look(3)
		c := conditions.Get(r.getHost(), v1beta1.BootedCondition)
		return c.Reason, c.Message
	}
	before, words := reason()
	image.err, image.says = nil, bootmedia.Prepared{Progress: "waiting for the image server (attempt 2)", Failed: words}
	if now, said := reason(); before != v1beta1.ReasonImageUnusable || now != before || said != words {
		t.Errorf("%s %q became %s %q", before, words, now, said)
	}
	image.says = bootmedia.Prepared{Progress: "downloading 1 of 9 MiB"}
	if now, _ := reason(); now != v1beta1.ReasonMediaNotReady {
		t.Errorf("while it is received: %s", now)
	}
}

// A person who asks for a try gets one of the image, too, once for each time he asks.
func TestRetryNowIsOfTheImageToo(t *testing.T) {
	image := &preparing{err: errors.New("no")}
	r := fetching(t, image)
	r.look(3)
	for i := range 2 {
		edit(r, &v1beta1.PhysicalHost{}, "h", func(h *v1beta1.PhysicalHost) {
			if h.Annotations == nil {
				h.Annotations = map[string]string{}
			}
			h.Annotations[v1beta1.RetryNowAnnotation] = string(rune('a' + i))
		})
		r.look(3)
		if len(image.again) != i+1 || image.again[i] != r.getHost().Spec.Boot.ImageURL {
			t.Fatalf("asked for %v", image.again)
		}
	}
}

// A changed media URL makes another order of the same wish: it is tried at once.
func TestTheMediaURLIsAnInputOfAnOrder(t *testing.T) {
	r, h, g := newRig(t), claimedHost(), &gathered{}
	r.host.MediaURL = "https://media.example"
	before := r.host.order(h, g, provision.Decision{Action: provision.Insert})
	h.Spec.MediaURL = "https://other.example"
	after := r.host.order(h, g, provision.Decision{Action: provision.Insert})
	if before.Inputs == after.Inputs || before.ClaimID != after.ClaimID {
		t.Errorf("inputs %q and %q", before.Inputs, after.Inputs)
	}
}
