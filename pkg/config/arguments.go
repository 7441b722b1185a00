package config

import (
	"strings"

	"github.com/spf13/pflag"
)

// Argument is one flag on a command line.
type Argument struct {
	// Index of its first word among the arguments.
	Index int
	// Flag without dashes.
	Flag string
	// Problem says why the manager would not take it; empty if it would.
	Problem string
}

// otherFlags are those of the manager that are no settings; true: the flag has a value.
var otherFlags = map[string]bool{"version": false, "help": false, "kubeconfig": true}

// Arguments reads the arguments of a manager's container without ending at the first that is wrong. The flag set holds the
// settings, for Sources.
func Arguments(args []string) (*pflag.FlagSet, []Argument) {
	flags := pflag.NewFlagSet("manager", pflag.ContinueOnError)
	Bind(flags)
	var read []Argument
	for i := 0; i < len(args); i++ {
		if args[i] == "--" {
			break
		}
		argument := Argument{Index: i}
		name, value, hasValue := strings.Cut(strings.TrimLeft(args[i], "-"), "=")
		argument.Flag = name
		flag := flags.Lookup(name)
		takesValue, other := otherFlags[name]
		switch {
		case !strings.HasPrefix(args[i], "--") && (!other || !strings.HasPrefix(args[i], "-")):
			argument.Problem = "it is no flag of the manager"
		case flag == nil && !other:
			argument.Problem = "there is no such flag" + suggest("--"+name, func(s *Setting) string { return prefixed("--", s.Flag) })
		default:
			if !hasValue && (takesValue || flag != nil && flag.NoOptDefVal == "") {
				if i++; i == len(args) {
					argument.Problem = "it needs a value"
					read = append(read, argument)
					continue
				}
				value = args[i]
			}
			if !hasValue && flag != nil && flag.NoOptDefVal != "" {
				value = flag.NoOptDefVal
			}
			if flag != nil {
				_ = flags.Set(name, value) // keeps text: values are judged by Load
			}
		}
		read = append(read, argument)
	}
	return flags, read
}
