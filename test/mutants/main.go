package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	only := flag.String("run", "", "run only the tests that match, as go test does: which guards does one test hold?")
	flag.Parse()
	if err := run(ctx, *only, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1) //nolint:gocritic // nothing is deferred but stop
	}
}

// mutant is one patch.
type mutant struct {
	name, guard string
	// patch is the file of the patch, target the file that it changes, in the product's tree.
	patch, target string
	// module and tests say where its tests are: in the package that it changes, and in the one above that keeps the patch, as a
	// service is also tested with those who use it; but for those that only a whole life shows.
	module string
	tests  []string
	// lives are those that are to find it, and args what the tests are told of that.
	lives string
	args  []string
}

// lives is where the lives of machines are cut, and its mutants. Each says in its second line which lives are to find it.
const lives = "crash"

// run plays all mutants whose name holds one of the words.
func run(ctx context.Context, only string, words []string) error {
	root, err := filepath.Abs("..")
	if err != nil {
		return err
	}
	mutants, err := find(root, words)
	if err != nil {
		return err
	}
	if len(mutants) == 0 {
		return errors.New("no mutant has such a name")
	}
	scratch, err := os.MkdirTemp("", "mutants")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch) //nolint:errcheck // nothing of it is needed
	var survived []string
	for _, m := range mutants {
		began := time.Now()
		found, err := play(ctx, root, filepath.Join(scratch, m.name), only, m)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		took := time.Since(began).Round(time.Second)
		switch {
		case err != nil:
			fmt.Printf("%-24s BROKEN: %v\n", m.name, err)
		case found == "":
			fmt.Printf("%-24s SURVIVED after %s: %s\n", m.name, took, m.guard)
		default:
			fmt.Printf("%-24s found in %s by %s\n", m.name, took, found)
			continue
		}
		survived = append(survived, m.name)
	}
	if len(survived) > 0 {
		return fmt.Errorf("%d of %d are not found: %s", len(survived), len(mutants), strings.Join(survived, ", "))
	}
	fmt.Printf("all %d mutants were found\n", len(mutants))
	return nil
}

// find collects the mutants of all packages, each with the tests that are to find it.
func find(root string, words []string) ([]mutant, error) {
	var all []mutant
	for _, folder := range []string{"pkg", "controllers", filepath.Join("test", lives)} {
		found, err := findIn(filepath.Join(root, folder), words)
		if err != nil {
			return nil, err
		}
		for _, m := range found {
			changed, keeper := filepath.Dir(m.target), strings.TrimPrefix(filepath.Dir(filepath.Dir(filepath.Dir(m.patch))), root+string(filepath.Separator))
			m.module, m.tests = root, []string{"./" + changed}
			if strings.HasPrefix(changed, keeper+"/") {
				m.tests = append(m.tests, "./"+keeper)
			}
			if filepath.Base(folder) == lives {
				m.module, m.tests, m.args = filepath.Join(root, "test"), []string{"./" + lives}, []string{"-args", "-only=" + m.lives}
			}
			all = append(all, m)
		}
	}
	return all, nil
}

// findIn collects the mutants below a folder.
func findIn(folder string, words []string) ([]mutant, error) {
	var all []mutant
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".patch" || filepath.Base(filepath.Dir(path)) != "mutants" {
			return err
		}
		name := strings.TrimSuffix(filepath.Base(path), ".patch")
		if len(words) > 0 && !slices.ContainsFunc(words, func(word string) bool { return strings.Contains(name, word) }) {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		guard, _, _ := strings.Cut(string(text), "\n")
		target := targetLine.FindStringSubmatch(string(text))
		if target == nil {
			return fmt.Errorf("%s does not say which file it changes", path)
		}
		m := mutant{name: name, guard: guard, patch: path, target: target[1]}
		if named := livesLine.FindStringSubmatch(string(text)); named != nil {
			m.lives = named[1]
		}
		all = append(all, m)
		return nil
	})
	return all, err
}

var (
	targetLine = regexp.MustCompile(`(?m)^\+\+\+ b/(\S+)$`)
	livesLine  = regexp.MustCompile(`(?m)^lives: (.*)$`)
	failedTest = regexp.MustCompile(`(?m)^--- FAIL: (\S+)`)
	// panicked is a test that ended the whole run.
	panicked = regexp.MustCompile(`(?m)^panic: (.*)$`)
)

// limit is far more than the tests of a package take; a mutant that makes them hang is found by it.
const limit = 4 * time.Minute

// play applies one mutant and runs the tests of its package. It returns the first test that failed, or "".
func play(ctx context.Context, root, scratch, only string, m mutant) (string, error) {
	changed, err := apply(ctx, root, scratch, m)
	if err != nil {
		return "", err
	}
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(root, m.target): changed}})
	if err != nil {
		return "", err
	}
	file := filepath.Join(scratch, "overlay.json")
	if err := os.WriteFile(file, overlay, 0o600); err != nil {
		return "", err
	}
	args := slices.Concat([]string{"test", "-count=1", "-failfast", "-timeout", limit.String(), "-run", only, "-overlay", file}, m.tests, m.args)
	command := exec.CommandContext(ctx, "go", args...) //nolint:gosec // our own patches
	command.Dir = m.module
	out, err := command.CombinedOutput()
	var failed *exec.ExitError
	switch {
	case err == nil:
		return "", nil
	case !errors.As(err, &failed):
		return "", err
	case strings.Contains(string(out), "[build failed]"), strings.Contains(string(out), "[setup failed]"):
		return "", fmt.Errorf("it does not compile:\n%s", out)
	}
	if found := failedTest.FindStringSubmatch(string(out)); found != nil {
		return found[1], nil
	}
	if found := panicked.FindStringSubmatch(string(out)); found != nil {
		return "a panic: " + found[1], nil
	}
	return "", fmt.Errorf("the tests ended without a failure that can be named:\n%s", out)
}

// apply writes the changed file into scratch.
func apply(ctx context.Context, root, scratch string, m mutant) (string, error) {
	text, err := os.ReadFile(filepath.Join(root, m.target))
	if err != nil {
		return "", err
	}
	changed := filepath.Join(scratch, m.target)
	if err := os.MkdirAll(filepath.Dir(changed), 0o700); err != nil {
		return "", err
	}
	if err := os.WriteFile(changed, text, 0o600); err != nil {
		return "", err
	}
	command := exec.CommandContext(ctx, "git", "apply", "--recount", "-p1", m.patch)
	command.Dir = scratch
	// Outside of any repository, or git would look for the file there.
	command.Env = append(os.Environ(), "GIT_CEILING_DIRECTORIES="+filepath.Dir(scratch))
	if out, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("the patch does not apply any more: %s", strings.TrimSpace(string(out)))
	}
	after, err := os.ReadFile(changed)
	if err == nil && string(after) == string(text) {
		err = errors.New("the patch changes nothing")
	}
	return changed, err
}
