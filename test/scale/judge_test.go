package main

import (
	"strings"
	"testing"
)

// tale makes versions in the order of its lines: "h1=c1:m1" (host h1 has claim c1 of machine m1), "h1=" (free), "h1!c1:m1" (its
// release is marked), "m1@c1:h1" (machine m1 names host h1), "m1@" (none).
func tale(lines ...string) []version {
	var out []version
	for i, line := range lines {
		at := strings.IndexAny(line, "=!@")
		v := version{resource: uint64(i + 1), name: line[:at], uid: "u", host: line[at] != '@', released: line[at] == '!'}
		v.claimID, v.other, _ = strings.Cut(line[at+1:], ":")
		out = append(out, v)
	}
	return out
}

func TestTheJudgeFindsEveryCrime(t *testing.T) {
	for _, c := range []struct {
		name     string
		versions []version
		doubles  []string // words of each
		stranded int
		paired   int
	}{
		{"intent first", tale("h1=", "m1@", "m1@c1:h1", "h1=c1:m1"), nil, 0, 1},
		{"host first", tale("h1=", "m1@", "h1=c1:m1", "m1@c1:h1"), nil, 0, 1},
		{"an intent that lost and another host", tale("h1=", "h2=", "m1@c1:h1", "m2@c2:h1", "h1=c2:m2", "m1@", "m1@c3:h2", "h2=c3:m1"), nil, 0, 2},
		{"a host that changes hands", tale("h1=", "m1@c1:h1", "m2@c2:h1", "h1=c1:m1", "h1=c2:m2"), []string{"h1 went from machine m1"}, 1, 1},
		{"a claim that is replaced for the same machine", tale("m1@c1:h1", "h1=c1:m1", "h1=c2:m1"), []string{"went from machine m1 (claim c1) to machine m1 (claim c2)"}, 2, 0},
		{"a machine that leaves its host", tale("m1@c1:h1", "h1=c1:m1", "m1@"), []string{"m1 left host h1"}, 2, 0},
		{"a machine that takes a second host", tale("m1@c1:h1", "h1=c1:m1", "m1@", "m1@c2:h2", "h2=c2:m1"), []string{"m1 left host h1", "owns hosts h1 and h2 at once"}, 1, 1},
		{"a host that is taken away", tale("m1@c1:h1", "h1=c1:m1", "h1="), []string{"h1 was taken from machine m1"}, 1, 0},
		{"a release", tale("m1@c1:h1", "h1=c1:m1", "h1!c1:m1", "h1=", "m2@c2:h1", "h1=c2:m2", "m1@"), nil, 1, 1},
		{"a claim for nobody", tale("m1@", "h1=c1:m1"), nil, 2, 0},
		{"a late claim for a machine that has a host", tale("m1@c1:h1", "h1=c1:m1", "h2=c2:m1"), nil, 1, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := judge(c.versions)
			if len(v.Doubles) != len(c.doubles) {
				t.Fatalf("doubles: %q, want %q", v.Doubles, c.doubles)
			}
			for i, words := range c.doubles {
				if !strings.Contains(v.Doubles[i], words) {
					t.Errorf("doubles: %q, want %q", v.Doubles, c.doubles)
				}
			}
			if len(v.Stranded) != c.stranded || v.Paired != c.paired {
				t.Errorf("%d paired, stranded: %q; want %d and %d", v.Paired, v.Stranded, c.paired, c.stranded)
			}
		})
	}
}

// TestTheJudgeBelievesVersionsNotArrival: two watches arrive in any order.
func TestTheJudgeBelievesVersionsNotArrival(t *testing.T) {
	story := tale("h1=", "m1@c1:h1", "h1=c1:m1", "h1!c1:m1", "h1=", "m1@", "m2@c2:h1", "h1=c2:m2")
	for i, j := 0, len(story)-1; i < j; i, j = i+1, j-1 {
		story[i], story[j] = story[j], story[i]
	}
	if v := judge(story); len(v.Doubles) > 0 {
		t.Error(v.Doubles)
	}
}
