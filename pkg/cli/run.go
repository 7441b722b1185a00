package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// Options are what commands reach of the world. New fills what is not set.
type Options struct {
	// In is read where a file is named -.
	In io.Reader
	// Out takes results, Err everything else.
	Out, Err io.Writer
	// Env as os.Environ gives it.
	Env []string
	// Now is the time of day, for names of backups and for windows.
	Now func() time.Time
	// Pause waits, or ends early with the context's error.
	Pause func(context.Context, time.Duration) error
	// Connect reaches a management cluster; empty arguments mean what kubectl would take.
	Connect func(kubeconfig, kubecontext string) (*Access, error)
}

// CLI runs subcommands.
type CLI struct{ Options }

// New makes a CLI.
func New(o Options) *CLI {
	if o.In == nil {
		o.In = os.Stdin
	}
	if o.Out == nil {
		o.Out = os.Stdout
	}
	if o.Err == nil {
		o.Err = os.Stderr
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Pause == nil {
		o.Pause = pause
	}
	if o.Connect == nil {
		o.Connect = Connect
	}
	return &CLI{o}
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// command is one subcommand.
type command struct {
	group, name, usage, help string
	run                      func(*CLI, context.Context, []string) error
}

func commands() []command {
	return []command{
		{"config", "validate", "FILE…", "check ConfigMaps, Deployments and settings files before they are applied; - is standard input", (*CLI).validate},
		{"config", "show", "", "print every setting in effect, from where, what it overrules, and its range", (*CLI).show},
		{"config", "report", "", "judge the settings by the metrics of a running manager", (*CLI).report},
		{"config", "migrate", "--to advanced", "go to the advanced configuration stage by stage, and back if it gets worse", (*CLI).migrate},
		{"hosts", "import", "FILE", "register hosts and their Secrets from CSV or YAML", (*CLI).importHosts},
		{"hosts", "explain", "MACHINE", "say for every host why it is, or is not, chosen for a machine", (*CLI).explain},
	}
}

// errFound ends a command that has said what is wrong already.
var errFound = errors.New("found errors")

// Handles says whether arguments, without the program's name, are those of a subcommand, known or not: whoever mistypes one must not
// start a manager.
func Handles(args []string) bool { return len(args) > 0 && !strings.HasPrefix(args[0], "-") }

// Run runs a subcommand and returns the exit code of the process: 0, 1 for what is wrong, 2 for wrong usage.
func (c *CLI) Run(ctx context.Context, args []string) int {
	for _, cmd := range commands() {
		if len(args) < 2 || args[0] != cmd.group || args[1] != cmd.name {
			continue
		}
		err := cmd.run(c, ctx, args[2:])
		var wrong *usageError
		switch {
		case err == nil || errors.Is(err, pflag.ErrHelp):
			return 0
		case errors.Is(err, errFound):
			return 1
		case errors.As(err, &wrong):
			fmt.Fprintf(c.Err, "%v\nusage: %s\n", err, cmd.line())
			return 2
		}
		fmt.Fprintln(c.Err, "manager:", err)
		return 1
	}
	if len(args) == 0 || args[0] == "help" || isHelp(args[len(args)-1]) {
		help(c.Out, args)
		return 0
	}
	if !isGroup(args[0]) || len(args) > 1 {
		fmt.Fprintf(c.Err, "there is no command %q\n\n", strings.Join(args[:min(2, len(args))], " "))
	}
	help(c.Err, args)
	return 2
}

func isHelp(arg string) bool { return arg == "--help" || arg == "-h" }

func isGroup(name string) bool {
	return slices.ContainsFunc(commands(), func(c command) bool { return c.group == name })
}

// help lists the commands of the group that the arguments name; all if they name none.
func help(to io.Writer, args []string) {
	fmt.Fprintf(to, "manager [flags] runs the manager; its subcommands are:\n\n")
	for _, cmd := range commands() {
		if len(args) == 0 || !isGroup(args[0]) || args[0] == cmd.group {
			fmt.Fprintf(to, "  %-36s %s\n", cmd.line(), cmd.help)
		}
	}
	fmt.Fprintf(to, "\nEach has --help.\n")
}

// line is how the command is called.
func (c command) line() string {
	return strings.TrimSpace("manager " + c.group + " " + c.name + " " + c.usage)
}

type usageError struct{ error }

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// flags of a command. Who asks for help gets it on Out.
func (c *CLI) flags(name string) *pflag.FlagSet {
	flags := pflag.NewFlagSet(name, pflag.ContinueOnError)
	flags.Usage = func() {
		for _, cmd := range commands() {
			if cmd.group+" "+cmd.name == name {
				fmt.Fprintf(c.Out, "%s\n  %s\n\n%s", cmd.line(), cmd.help, flags.FlagUsages())
			}
		}
	}
	return flags
}

func parse(flags *pflag.FlagSet, args []string, least, most int) error {
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			return err
		}
		return &usageError{err}
	}
	switch n := flags.NArg(); {
	case n < least:
		return usagef("it needs an argument")
	case most >= 0 && n > most:
		return usagef("what is %q for?", flags.Arg(most))
	}
	return nil
}

// output is the flag -o.
func output(flags *pflag.FlagSet) *string {
	return flags.StringP("output", "o", "text", "text or json")
}

func checkOutput(o string) error {
	if o != "text" && o != "json" {
		return usagef("--output is text or json, not %q", o)
	}
	return nil
}
