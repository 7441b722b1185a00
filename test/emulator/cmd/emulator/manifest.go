package main

import (
	"encoding/json"
	"fmt"
	"io"

	"sigs.k8s.io/yaml"

	"github.com/beskar7/beskar7/test/emulator"
)

type object = map[string]any

// caSecret holds the CA of all BMCs.
const caSecret = "emulator-ca"

// manifests prints a Secret and a PhysicalHost for each server, ready to apply.
func manifests(f *emulator.Fleet, s *settings, out io.Writer) error {
	meta := func(name string) object { return object{"name": name, "namespace": s.namespace} }
	secret := func(name string, data object) object {
		return object{"apiVersion": "v1", "kind": "Secret", "metadata": meta(name), "type": "Opaque", "stringData": data}
	}
	items := []object{secret(caSecret, object{"ca.crt": string(f.CAPEM())})}
	for _, b := range f.BMCs() {
		credentials := b.Front().Name() + "-bmc" // blades share them
		if b.Front() == b {
			items = append(items, secret(credentials, object{"username": b.Username(), "password": b.Password()}))
		}
		items = append(items, object{
			"apiVersion": "infrastructure.cluster.x-k8s.io/v1beta1", "kind": "PhysicalHost",
			"metadata": object{"name": b.Name(), "namespace": s.namespace, "labels": object{"emulator/persona": b.Persona()}},
			"spec": object{"redfishConnection": object{
				"address": b.URL(), "systemID": b.SystemID(),
				"credentialsSecretRef": object{"name": credentials}, "caBundleSecretRef": object{"name": caSecret},
			}},
		})
	}
	if s.output == "json" {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		return enc.Encode(object{"apiVersion": "v1", "kind": "List", "items": items})
	}
	for _, item := range items {
		raw, err := yaml.Marshal(item)
		if err != nil {
			return fmt.Errorf("print manifest: %w", err)
		}
		if _, err := fmt.Fprintf(out, "---\n%s", raw); err != nil {
			return err
		}
	}
	return nil
}
