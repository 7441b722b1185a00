// Command reference writes the configuration reference to the file that is its one argument.
package main

import (
	"fmt"
	"os"

	"github.com/beskar7/beskar7/pkg/config"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: reference FILE")
		os.Exit(2)
	}
	if err := os.WriteFile(os.Args[1], []byte(config.Reference()), 0o644); err != nil { //nolint:gosec // documentation is for everyone
		fmt.Fprintln(os.Stderr, "reference:", err)
		os.Exit(1)
	}
}
