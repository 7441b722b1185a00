package config

import (
	"fmt"
	"strings"
	"testing"
)

// said is one value in one source: layer 0 is the file, 1 the environment, 2 the flags, 3 and 4 two ConfigMaps.
type said struct {
	setting *Setting
	layer   int
	value   string
}

const layerCount = 5

// candidates are values of a setting: some that it can have, and some that it cannot.
func candidates(s *Setting) []string {
	return []string{other(s, 1), other(s, 2), s.Max, s.Min, s.Default, "no such value", "-1", "1e99", "0s", "\u2603"}
}

// sayings decodes bytes: each three choose a setting, a source and a value. Of one setting in one source the last counts.
func sayings(bytes []byte) []said {
	var list []said
	for i := 0; i+3 < len(bytes) && len(list) < 24; i += 4 {
		s := &table[(int(bytes[i])<<8|int(bytes[i+1]))%len(table)]
		values := candidates(s)
		one := said{s, int(bytes[i+2]) % layerCount, values[int(bytes[i+3])%len(values)]}
		if one.value == "" || one.layer == 2 && s.Flag == "" || one.layer == 0 && s.Key == "config" {
			continue
		}
		list = append(list, one)
	}
	return list
}

// sourcesOf puts what is said where it is said.
func sourcesOf(t *testing.T, list []said) (Sources, [layerCount]map[string]string) {
	var layers [layerCount]map[string]string
	for i := range layers {
		layers[i] = map[string]string{}
	}
	for _, one := range list {
		layers[one.layer][one.setting.Key] = one.value
	}
	var sources Sources
	var args []string
	for i := range table {
		s := &table[i]
		if v, ok := layers[0][s.Key]; ok {
			sources.File = fmt.Appendf(sources.File, "%s: %q\n", s.Key, v)
		}
		if v, ok := layers[1][s.Key]; ok {
			sources.Env = append(sources.Env, s.Env+"="+v)
		}
		if v, ok := layers[2][s.Key]; ok {
			if _, err := s.parse(v); err != nil && s.Type == Boolean {
				delete(layers[2], s.Key) // the command line itself refuses it
				continue
			}
			args = append(args, "--"+s.Flag+"="+v)
		}
	}
	sources.Flags = parsed(t, args...)
	sources.ConfigMaps = []ConfigMap{{Name: "first", Data: layers[3]}, {Name: "second", Data: layers[4]}}
	return sources, layers
}

// model is what a setting must be by the order that people are told: the value, or why there is none.
func model(s *Setting, layers [layerCount]map[string]string) (value any, given bool, err error) {
	order := []int{2, 1, 4, 3, 0}
	switch {
	case s.Live:
		order = []int{4, 3, 2, 1, 0}
	case s.Local:
		order = []int{2, 1, 0}
	}
	for _, layer := range order {
		if text, ok := layers[layer][s.Key]; ok {
			value, err = s.parse(text)
			return value, true, err
		}
	}
	if s.Optional {
		return nil, false, nil
	}
	value, err = s.parse(s.Default)
	return value, false, err
}

// Whatever is said where: each setting is what its strongest source says, or, if one of those is invalid or the leases contradict
// each other, all are the defaults and every invalid one is named. A reload takes over all live settings or none, and no others.
func FuzzSourcesAgainstAModel(f *testing.F) {
	f.Add([]byte{0, 0, 3, 0})
	f.Add([]byte{0, 0, 3, 0, 0, 1, 4, 5, 0, 2, 1, 1})
	f.Add([]byte{0, 20, 2, 2, 0, 21, 1, 2, 0, 22, 4, 2, 0, 9, 0, 0, 0, 70, 3, 0})
	f.Fuzz(func(t *testing.T, bytes []byte) {
		sources, layers := sourcesOf(t, sayings(bytes))
		settings, findings := Load(sources)
		wrong := map[string]bool{}
		for i := range table {
			if _, _, err := model(&table[i], layers); err != nil {
				wrong[table[i].Key] = true
			}
		}
		for _, e := range findings.Errors {
			if !wrong[e.Key] && !strings.HasPrefix(e.Key, "leaderElection.") && !strings.HasPrefix(e.Key, "claimCoordinator.") {
				t.Fatalf("%s is valid: %s", e.Key, e)
			}
			delete(wrong, e.Key)
		}
		if len(wrong) > 0 {
			t.Fatalf("not told: %v", wrong)
		}
		before := Defaults()
		if len(findings.Errors) > 0 {
			before.Pod = settings.Pod
			if settings != before {
				t.Fatalf("half applied: %+v", Changes(before, settings))
			}
			return
		}
		after := Reload(before, settings)
		for i := range table {
			s := &table[i]
			want, given, _ := model(s, layers)
			if got := s.value(&settings); (given || !s.Optional) && got != want {
				t.Fatalf("%s is %v, want %v", s.Key, got, want)
			}
			want = s.value(&before)
			if s.Live {
				want = s.value(&settings)
			}
			if got := s.value(&after); got != want {
				t.Fatalf("%s is %v after a reload, want %v", s.Key, got, want)
			}
		}
	})
}
