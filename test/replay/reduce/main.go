// Command reduce makes the captures in replay/testdata from whole ones.
//
//	go run ./replay/reduce FROM TO
//
// Each file NAME.json of the directory FROM becomes TO/NAME.json.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/beskar7/beskar7/test/replay"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: reduce FROM TO")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(from, to string) error {
	files, err := filepath.Glob(filepath.Join(from, "*.json"))
	if err != nil {
		return err
	}
	for _, file := range files {
		whole, err := replay.Open(file)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		reduced, err := replay.Reduce(whole)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		if err := os.WriteFile(filepath.Join(to, filepath.Base(file)), reduced, 0o644); err != nil { //nolint:gosec // public test data
			return err
		}
	}
	return nil
}
