package provision

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write STATES.md from the rules")

// TestStatesDoc keeps STATES.md equal to the rules: go test ./pkg/provision -run TestStatesDoc -update
func TestStatesDoc(t *testing.T) {
	want := statesDoc()
	if *update {
		if err := os.WriteFile("STATES.md", []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile("STATES.md")
	if err != nil || string(got) != want {
		t.Fatalf("STATES.md is not what the rules say (%v): go test ./pkg/provision -run TestStatesDoc -update", err)
	}
}

func statesDoc() string {
	var b strings.Builder
	b.WriteString("# What happens to a host\n\nWritten from the rules in decide.go. For the standing of a host's claim, the first rule that applies decides.\n")
	for _, section := range []struct {
		title string
		rules []rule
	}{
		{"Paused", pausedRules}, {"Nobody's", unclaimedRules}, {"Claimed, but not agreed by both sides", inertRules},
		{"Claimed, being brought up", provisioningRules}, {"Claimed and bound", boundRules}, {"Being released", releasingRules},
	} {
		fmt.Fprintf(&b, "\n## %s\n\n| rule | state | action | why |\n| --- | --- | --- | --- |\n", section.title)
		for _, r := range section.rules {
			fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", r.name, r.state, r.action, r.why)
		}
	}
	b.WriteString("\nWhere spec.quarantine is set, the state shown is Quarantined; a release past its deadline shows ReleaseBlocked.\n")
	return b.String()
}
