package lab

import (
	"os"
	"path/filepath"
	"testing"

	. "github.com/onsi/gomega"
)

func TestNodesThatCameAndWentAreReadFromTheConsole(t *testing.T) {
	g := NewWithT(t)
	owner := &Lab{options: Options{Dir: t.TempDir()}}
	l := &Lab{options: Options{Share: owner}}
	g.Expect(os.Mkdir(filepath.Join(owner.options.Dir, "consoles"), 0o755)).To(Succeed())
	console := "10:00:00.000 started from Cd\n10:00:01.000 node m of 127.0.0.1:6443 is up, provider id \"beskar7://ns/a/1\"\n" +
		"10:01:00.000 node m exists with this provider id: it resumes\n10:02:00.000 node n of 127.0.0.1:6443 is up, provider id \"beskar7://ns/a/2\"\n"
	g.Expect(os.WriteFile(filepath.Join(owner.options.Dir, "consoles", "a.console.log"), []byte(console), 0o600)).To(Succeed())
	nodes := map[string]map[string]bool{}
	g.Expect(l.readConsole(nodes, "a")).To(Succeed())
	g.Expect(l.readConsole(nodes, "never-booted")).To(Succeed())
	g.Expect(nodes).To(Equal(map[string]map[string]bool{"a": {"beskar7://ns/a/1": true, "beskar7://ns/a/2": true}}))
}
