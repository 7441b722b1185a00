package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRunPrintsTheServersAndEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var out, errs strings.Builder
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := run(ctx, []string{"--count", "2", "--ca-file", ca}, &out, &errs); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.String(), "https://127."); n != 2 {
		t.Errorf("%d servers in %q", n, out.String())
	}
	if raw, err := os.ReadFile(ca); err != nil || !strings.Contains(string(raw), "CERTIFICATE") {
		t.Errorf("CA file: %v", err)
	}
	if err := run(ctx, []string{"--persona", "toaster"}, &out, &errs); err == nil {
		t.Error("an unknown persona was accepted")
	}
}
