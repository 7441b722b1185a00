package cli

import (
	"strings"
	"testing"

	"github.com/beskar7/beskar7/pkg/config"
)

// Who asks gets an answer, and who means a subcommand does not start a manager.
func TestWhatStartsNoManager(t *testing.T) {
	for _, args := range []string{"--help", "-h", "--version", "--leader-elect --version"} {
		if _, told, err := Flags(strings.Fields(args), "v1"); !told || err != nil {
			t.Errorf("%s: told %v, %v", args, told, err)
		}
	}
	for _, args := range []string{"--leader-elect config show", "--no-such-flag", "-- validate"} {
		if _, told, err := Flags(strings.Fields(args), "v1"); told || err == nil || !strings.Contains(err.Error(), "see manager ") {
			t.Errorf("%s: told %v, %v", args, told, err)
		}
	}
	flags, told, err := Flags([]string{"--leader-elect", "--kube-api-qps", "7"}, "v1")
	if told || err != nil {
		t.Fatal(err)
	}
	if s, _ := config.Load(config.Sources{Flags: flags}); !s.LeaderElection.Enabled || s.KubeAPI.QPS != 7 {
		t.Errorf("%+v", s)
	}
}
