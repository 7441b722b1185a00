package main

import (
	"errors"
	"flag"
	"fmt"

	"github.com/spf13/pflag"

	"github.com/beskar7/beskar7/pkg/config"
)

// parse reads the manager's flags. told means that all that was asked for was said.
func parse(args []string) (flags *pflag.FlagSet, told bool, err error) {
	flags = pflag.NewFlagSet("manager", pflag.ContinueOnError)
	config.Bind(flags)
	showVersion := flags.Bool("version", false, "print the version and end")
	flags.AddGoFlagSet(flag.CommandLine) // controller-runtime's --kubeconfig
	flags.Usage = func() {
		fmt.Printf("manager [flags] runs the manager; \"manager help\" lists its subcommands.\n\n%s", flags.FlagUsages())
	}
	switch err := flags.Parse(args); {
	case errors.Is(err, pflag.ErrHelp):
		return nil, true, nil
	case err != nil:
		return nil, false, fmt.Errorf("%w: see manager --help", err)
	case flags.NArg() > 0: // most likely a command that was meant, and no manager
		return nil, false, fmt.Errorf("what is %q? The manager takes flags only, and a subcommand comes before them: see manager help", flags.Arg(0))
	case *showVersion:
		fmt.Println(version)
		return nil, true, nil
	}
	return flags, false, nil
}
