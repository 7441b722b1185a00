package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/beskar7/beskar7/test/lab"
)

func line(verb, group, resource, subresource, code string) string {
	return `{"verb":"` + verb + `","user":{"username":"` + account + `"},"objectRef":{"apiGroup":"` + group + `","resource":"` + resource +
		`","subresource":"` + subresource + `"},"responseStatus":{"code":` + code + "}}\n"
}

const roles = `kind: ClusterRole
rules:
- {apiGroups: [""], resources: [secrets], verbs: [get, list, watch]}
- {apiGroups: [a.b], resources: [things/status], verbs: [patch]}
---
kind: Role
rules:
- {apiGroups: [a.b], resources: [things], verbs: [create]}
`

func TestEachDifferenceIsSeen(t *testing.T) {
	grants := map[string]bool{}
	if err := granted([]byte(roles), grants); err != nil {
		t.Fatal(err)
	}
	u := use{allowed: map[string]bool{}, refused: map[string]bool{}}
	log := line("get", "", "secrets", "", "200") + line("patch", "a.b", "things", "status", "409") + line("create", "a.b", "things", "", "403") +
		line("delete", "a.b", "things", "", "403") + line("get", "", "pods", "", "200") +
		strings.ReplaceAll(line("update", "", "nodes", "", "403"), account, account+"-2") +
		`{"verb":"get","user":{"username":"` + account + `"},"requestURI":"/apis"}` + "\n" + `{"verb":"wat`
	if err := u.read(strings.NewReader(log)); err != nil {
		t.Fatal(err)
	}
	got := judge(grants, u, []exception{{"secrets list", "r"}, {"secrets watch", ""}, {"secrets drop", "r"}})
	want := []string{"allowed by something other than our roles: pods get", "exception for what is not granted: secrets drop", "exception without a reason: secrets watch",
		"granted, but not used: things.a.b create", "used, but not granted: things.a.b delete"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if err := granted([]byte("kind: Role\nrules: [{apiGroups: [''], resources: ['*'], verbs: [get]}]"), grants); err == nil {
		t.Error("a wildcard is taken")
	}
}

// The exceptions are of rights that are granted, and each says why.
func TestTheListOfExceptions(t *testing.T) {
	root, err := lab.Root("")
	if err != nil {
		t.Fatal(err)
	}
	grants, exceptions, err := shipped(root)
	if err != nil {
		t.Fatal(err)
	}
	all := use{allowed: grants}
	if wrong := judge(grants, all, exceptions); len(wrong) > 0 || len(grants) < 20 {
		t.Errorf("%d rights: %q", len(grants), wrong)
	}
}
