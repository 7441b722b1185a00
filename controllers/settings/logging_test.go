package settings

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/beskar7/beskar7/pkg/config"
)

// Each of the four settings of the log changes what is written.
func TestLogSettings(t *testing.T) {
	write := func(change func(*config.Log)) (string, func(string), *bytes.Buffer) {
		t.Helper()
		s, out := config.Defaults().Log, &bytes.Buffer{}
		change(&s)
		log, level, err := newLogger(s, out)
		if err != nil {
			t.Fatal(err)
		}
		log.V(1).Info("the details")
		log.Info("the message", "key", "value")
		log.Error(errors.New("the reason"), "the error")
		text := out.String()
		out.Reset()
		return text, func(name string) { level(name); log.V(1).Info("the details"); log.Info("the message") }, out
	}
	text, set, out := write(func(*config.Log) {})
	if !strings.HasPrefix(text, `{"level":"info","ts":"2`) || strings.Contains(text, "the details") || !strings.Contains(text, `"key":"value"`) || !strings.Contains(text, "stacktrace") {
		t.Errorf("by default: %s", text)
	}
	if set("debug"); !strings.Contains(out.String(), "the details") {
		t.Errorf("after the level was changed to debug: %s", out)
	}
	out.Reset()
	if set("error"); out.Len() > 0 {
		t.Errorf("after the level was changed to error: %s", out)
	}
	for name, c := range map[string]struct {
		change        func(*config.Log)
		with, without string
	}{
		"log.level":           {func(s *config.Log) { s.Level = "warn" }, "the reason", "the message"},
		"log.format":          {func(s *config.Log) { s.Format = "console" }, "the message\t{", `"msg"`},
		"log.stacktraceLevel": {func(s *config.Log) { s.StacktraceLevel = "none" }, "the reason", "stacktrace"},
		"log.timeEncoding":    {func(s *config.Log) { s.TimeEncoding = "epoch" }, `"ts":1`, `"ts":"`},
	} {
		if text, _, _ := write(c.change); !strings.Contains(text, c.with) || strings.Contains(text, c.without) {
			t.Errorf("%s: %s", name, text)
		}
	}
	if text, _, _ := write(func(s *config.Log) { s.StacktraceLevel = "info" }); strings.Count(text, "stacktrace") != 2 {
		t.Errorf("with stack traces from info on: %s", text)
	}
}
