package controllers

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/redfish"
	"github.com/beskar7/beskar7/pkg/redfish/redfishfake"
)

// What echo and editors put around a password is taken away or told; what may be meant is kept.
func TestLoginsAreReadAsTheyAreMeant(t *testing.T) {
	for name, c := range map[string]struct{ username, password, want, fault string }{
		"as written":             {"u", "p", "p", ""},
		"echo":                   {"u\n", "p\n", "p", ""},
		"an editor of Windows":   {"u\r\n", "p\r\n", "p", ""},
		"spaces that are meant":  {"u", " p ", " p ", ""},
		"umlauts":                {"u", "pä€", "pä€", ""},
		"nothing but a line end": {"u", "\n", "", `no key "password"`},
		"no user":                {"", "p", "", `no key "username"`},
		"a space behind a user":  {"u ", "p", "", `key "username" of Secret "bmc" begins or ends with a space`},
		"a byte order mark":      {"u", "\ufeffp", "", "byte order mark"},
		"two lines":              {"u", "p\nq", "", "line break"},
		"a tab":                  {"u", "p\tq", "", "a tab"},
		"a user with two lines":  {"u\nv", "p", "", `key "username"`},
	} {
		t.Run(name, func(t *testing.T) {
			secret := newSecret("bmc")
			secret.Data = map[string][]byte{usernameKey: []byte(c.username), passwordKey: []byte(c.password)}
			username, password, err := loginOf(secret)
			if c.fault == "" {
				if err != nil || username != "u" || password != c.want {
					t.Fatalf("%q, %q, %v", username, password, err)
				}
				return
			}
			var told *inputError
			if !errors.As(err, &told) || told.reason != v1beta1.ReasonSecretInvalid || !strings.Contains(told.message, c.fault) {
				t.Fatalf("%v does not say %q", err, c.fault)
			}
			if password := strings.TrimSpace(c.password); len(password) > 1 && strings.Contains(told.message, password) {
				t.Errorf("%q holds the password", told.message)
			}
		})
	}
}

// A refused password that may have been copied with a space too many is said to have one, in words.
func TestARefusedPasswordWithASpaceIsToldOf(t *testing.T) {
	for password, want := range map[string]bool{"p ": true, " p": true, "p": false} {
		m := parkedMessage(newHost(), &connection{target: redfish.Target{Password: redfish.Password(password)}})
		if got := strings.Contains(m, "a space"); got != want {
			t.Errorf("%q: %s", password, m)
		}
	}
}

// refusing counts the log-ins of a BMC that refuses them all.
func refusing(r *runningRig) *atomic.Int32 {
	tries := &atomic.Int32{}
	r.bmc.SetFault(func(_ context.Context, op redfishfake.Op) error {
		tries.Add(1)
		return &redfish.Error{Kind: redfish.KindUnauthorized, LoginFailed: true, Op: string(op), Message: "refused"}
	})
	return tries
}

// A Secret is its data: labels, annotations and finalizers, our own too, are no new password. Status follows the version, so that a
// restart after it spends no log-in either.
func TestMetadataOfASecretAreNoNewPassword(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRunningRig(t, redfishfake.New(redfishfake.Options{Power: redfish.PowerOff}), newHost(), newSecret("bmc"))
		tries := refusing(r)
		if host := r.settle(); conditions.GetReason(host, v1beta1.BMCReachableCondition) != v1beta1.ReasonLoginRefused {
			t.Fatalf("%+v", conditions.Get(host, v1beta1.BMCReachableCondition))
		}
		first, since := tries.Load(), r.getHost().Status.ParkedCredential.Since
		for i := range 2 * versionsKept {
			edit(r.rig, &corev1.Secret{}, "bmc", func(s *corev1.Secret) { s.Annotations = map[string]string{"touched": fmt.Sprint(i)} })
			r.settle()
			r.pass(time.Minute)
		}
		edit(r.rig, &v1beta1.PhysicalHost{}, "h", func(h *v1beta1.PhysicalHost) {
			h.Spec.Claim, h.Spec.Boot = claimedHost().Spec.Claim, claimedHost().Spec.Boot
		})
		host := r.settle() // now the Secret has our finalizer
		if !r.guarded("bmc") {
			t.Fatal("the Secret of a claimed host is not guarded")
		}
		if n := tries.Load(); n != first {
			t.Fatalf("%d log-ins more with the password that was refused", n-first)
		}
		secret := &corev1.Secret{}
		r.get(secret, "bmc")
		if p := host.Status.ParkedCredential; p == nil || p.SecretVersion != secret.ResourceVersion || !p.Since.Equal(&since) {
			t.Fatalf("status says %+v of version %s, refused since %s", p, secret.ResourceVersion, since)
		}
		edit(r.rig, &corev1.Secret{}, "bmc", func(s *corev1.Secret) { s.Data[passwordKey] = []byte("new") })
		if r.settle(); tries.Load() == first {
			t.Fatal("the new password is not tried")
		}
	})
}

// Hosts that share Secrets read them once for each version, not once each.
func TestASharedSecretIsReadOnce(t *testing.T) {
	const hosts = 20
	objects := []client.Object{newSecret("bmc")}
	for i := range hosts {
		h := newHost()
		h.ObjectMeta = named(fmt.Sprint("h", i))
		objects = append(objects, h)
	}
	r := newRig(t, objects...)
	reads := 0
	r.host.Reader = interceptor.NewClient(r.api, interceptor.Funcs{Get: func(ctx context.Context, c client.WithWatch, k client.ObjectKey, o client.Object, opts ...client.GetOption) error {
		reads++
		return c.Get(ctx, k, o, opts...)
	}})
	lookAtAll := func() int {
		reads = 0
		for i := range hosts {
			r.lookAt(fmt.Sprint("h", i), 3)
		}
		return reads
	}
	if n := lookAtAll(); n > 2 { // the second is for the label that we put there
		t.Errorf("%d reads of one Secret", n)
	}
	if n := lookAtAll(); n != 0 {
		t.Errorf("%d reads of a Secret that did not change", n)
	}
	edit(r, &corev1.Secret{}, "bmc", func(s *corev1.Secret) { s.Data[passwordKey] = []byte("new") })
	if n := lookAtAll(); n != 1 {
		t.Errorf("%d reads of one new password", n)
	}
}
