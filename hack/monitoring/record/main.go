// Command record turns the scrapes of a demo into the recording that the dashboard and the alerts are tested with:
//
//	record METRICS.md SCRAPES RECORDING
package main

import (
	"bytes"
	"fmt"
	"os"

	"github.com/beskar7/beskar7/hack/monitoring"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: record METRICS.md SCRAPES RECORDING")
		os.Exit(2)
	}
	if err := record(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, "record:", err)
		os.Exit(1)
	}
}

func record(table, scrapes, recording string) error {
	known, err := monitoring.Table(table)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	if err := monitoring.Record(&out, scrapes, known); err != nil {
		return err
	}
	return os.WriteFile(recording, out.Bytes(), 0o644) //nolint:gosec // it is for everyone
}
