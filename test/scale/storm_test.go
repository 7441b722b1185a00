package main

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"
)

// TestMain lets the test binary be a worker, as the command is.
func TestMain(m *testing.M) {
	if o := os.Getenv(workerVariable); o != "" {
		if err := work(context.Background(), o); err != nil {
			panic(err)
		}
		os.Exit(0)
	}
	ctrl.SetLogger(logr.Discard())
	os.Exit(m.Run())
}

// TestSmallStorms are storms of three processes that all work on all machines, and of which one is killed now and then.
func TestSmallStorms(t *testing.T) {
	s, err := startSite(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.plane.Stop(); err != nil {
			t.Error(err)
		}
	}()
	s.say = t.Logf
	for _, mode := range []string{optimisticMode, leaderMode} {
		t.Run(mode, func(t *testing.T) {
			r, err := s.storm(t.Context(), stormOptions{Machines: 40, Hosts: 40, Mode: mode, Replicas: 3, Workers: 4, Overlap: true, Kills: 4,
				Seed: uint64(time.Now().UnixNano()), QPS: -1, Limit: 5 * time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Verdict.Doubles) > 0 || len(r.Verdict.Stranded) > 0 || r.Verdict.Paired != 40 || r.Verdict.Claimed != 40 {
				t.Errorf("%+v", r.Verdict)
			}
			if r.Measures["writesPerClaim"] < 2 || r.Measures["kills"] != 4 {
				t.Errorf("the measures are %v", r.Measures)
			}
		})
	}
}
