// Command manager is Beskar7: a Cluster API infrastructure provider for bare metal over Redfish.
package main

import (
	"fmt"
	"os"
	"runtime/debug"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/beskar7/beskar7/cmd/process"
	"github.com/beskar7/beskar7/pkg/cli"
)

// version is set by the linker.
var version = "v0.0.0-dev"

// heapGrowth, in percent, is what the heap may grow by between two collections, where GOGC does not say it. Half of Go's default:
// a fleet of 1,000 keeps some 45 MiB alive, and it is the garbage beside them that decides about memory, not about CPU.
const heapGrowth = 50

func main() {
	ctx := ctrl.SetupSignalHandler()
	if cli.Handles(os.Args[1:]) {
		ctrl.SetLogger(logr.Discard())
		klog.SetLogger(logr.Discard()) // a port-forward that ends is no line for an operator
		os.Exit(cli.New(cli.Options{Env: os.Environ()}).Run(ctx, os.Args[1:]))
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(heapGrowth)
	}
	if err := process.Run(ctx, os.Args[1:], version); err != nil {
		fmt.Fprintln(os.Stderr, "manager:", err)
		os.Exit(1)
	}
}
