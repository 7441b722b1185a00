package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	config := flag.String("config", "../../config", "the directory that holds default, overlays and profiles")
	out := flag.String("out", "../../config/helm", "the directory that the chart is written to; what is in it goes away")
	flag.Parse()
	if err := write(*config, *out); err != nil {
		fmt.Fprintln(os.Stderr, "helm:", err)
		os.Exit(1)
	}
}

// write replaces the directory out by the chart of the manifests in config.
func write(config, out string) error {
	files, err := generate(config)
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(out, "Chart.yaml")); err != nil {
		if err := os.Mkdir(out, 0o755); err != nil {
			return fmt.Errorf("this is no chart, so nothing in it is replaced: %w", err)
		}
	}
	if err := os.RemoveAll(out); err != nil {
		return err
	}
	for name, content := range files {
		path := filepath.Join(out, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}
