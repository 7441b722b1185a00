// Command reference writes everything that is generated from the table of settings: the reference to the file that is its one
// argument (docs/configuration.md), the JSON schema beside it, and the sample ConfigMap to config/samples beside its folder.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/beskar7/beskar7/pkg/config"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: reference FILE")
		os.Exit(2)
	}
	docs := filepath.Dir(os.Args[1])
	for name, content := range map[string]string{
		os.Args[1]: config.Reference(),
		filepath.Join(docs, "configuration.schema.json"):                      string(config.Schema()),
		filepath.Join(docs, "..", "config", "samples", "beskar7-config.yaml"): config.Sample(),
	} {
		if err := write(name, content); err != nil {
			fmt.Fprintln(os.Stderr, "reference:", err)
			os.Exit(1)
		}
	}
}

func write(name, content string) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil { //nolint:gosec // documentation is for everyone
		return err
	}
	return os.WriteFile(name, []byte(content), 0o644) //nolint:gosec // documentation is for everyone
}
