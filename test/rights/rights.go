package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"
)

// account is who the manager is.
const account = "system:serviceaccount:beskar7-system:beskar7-controller-manager"

// right is one verb on one resource, such as "physicalhosts.infrastructure.cluster.x-k8s.io/status patch".
func right(group, resource, verb string) string {
	if group != "" {
		name, sub, found := strings.Cut(resource, "/")
		resource = name + "." + group
		if found {
			resource += "/" + sub
		}
	}
	return resource + " " + verb
}

// granted adds the rights of the roles in a YAML file.
func granted(content []byte, into map[string]bool) error {
	for _, document := range bytes.Split(content, []byte("\n---\n")) {
		var role rbacv1.ClusterRole // a Role reads the same
		if err := yaml.Unmarshal(document, &role); err != nil {
			return fmt.Errorf("read a role: %w", err)
		}
		if role.Kind != "ClusterRole" && role.Kind != "Role" {
			continue
		}
		for _, rule := range role.Rules {
			if slices.Contains(slices.Concat(rule.APIGroups, rule.Resources, rule.Verbs), "*") {
				return fmt.Errorf("%s has a rule with a wildcard", role.Name)
			}
			for _, group := range rule.APIGroups {
				for _, resource := range rule.Resources {
					for _, verb := range rule.Verbs {
						into[right(group, resource, verb)] = true
					}
				}
			}
		}
	}
	return nil
}

// event is the part of an audit event that is read.
type event struct {
	Verb string
	User struct{ Username string }
	// ObjectRef is absent for paths that are no resource.
	ObjectRef      *struct{ Resource, Subresource, APIGroup string }
	ResponseStatus struct{ Code int }
}

// use is what the account asked for.
type use struct{ allowed, refused map[string]bool }

// read adds what one audit log shows. The last line may be half written.
func (u *use) read(log io.Reader) error {
	in := bufio.NewReaderSize(log, 1<<20)
	for {
		line, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read an audit log: %w", err)
		}
		if !bytes.Contains(line, []byte(account)) {
			continue
		}
		var e event
		if err := json.Unmarshal(line, &e); err != nil {
			return fmt.Errorf("decode a line of an audit log: %w", err)
		}
		if e.User.Username != account || e.ObjectRef == nil || e.ObjectRef.Resource == "" {
			continue
		}
		resource := e.ObjectRef.Resource
		if e.ObjectRef.Subresource != "" {
			resource += "/" + e.ObjectRef.Subresource
		}
		key := right(e.ObjectRef.APIGroup, resource, e.Verb)
		if e.ResponseStatus.Code == 403 {
			u.refused[key] = true
		} else {
			u.allowed[key] = true
		}
	}
}

// exception is a right that no run shows.
type exception struct{ Right, Reason string }

// judge lists what is wrong, sorted.
func judge(grants map[string]bool, u use, exceptions []exception) []string {
	var wrong []string
	excepted := map[string]bool{}
	for _, e := range exceptions {
		excepted[e.Right] = true
		switch {
		case !grants[e.Right]:
			wrong = append(wrong, "exception for what is not granted: "+e.Right)
		case e.Reason == "":
			wrong = append(wrong, "exception without a reason: "+e.Right)
		}
	}
	for key := range grants {
		if !u.allowed[key] && !excepted[key] {
			wrong = append(wrong, "granted, but not used: "+key)
		}
	}
	for key := range u.refused {
		// A conflict of admission is refused with the same code: then the right itself is there.
		if !grants[key] {
			wrong = append(wrong, "used, but not granted: "+key)
		}
	}
	for key := range u.allowed {
		if !grants[key] {
			wrong = append(wrong, "allowed by something other than our roles: "+key)
		}
	}
	slices.Sort(wrong)
	return wrong
}

// shipped reads our roles and exceptions below the repository's root.
func shipped(root string) (map[string]bool, []exception, error) {
	grants := map[string]bool{}
	for _, name := range []string{"role.yaml", "metrics_auth_role.yaml"} {
		content, err := os.ReadFile(root + "/config/rbac/" + name)
		if err != nil {
			return nil, nil, err
		}
		if err := granted(content, grants); err != nil {
			return nil, nil, err
		}
	}
	content, err := os.ReadFile(root + "/test/rights/exceptions.yaml")
	if err != nil {
		return nil, nil, err
	}
	var exceptions []exception
	if err := yaml.UnmarshalStrict(content, &exceptions); err != nil {
		return nil, nil, fmt.Errorf("read the exceptions: %w", err)
	}
	return grants, exceptions, nil
}
