// Command emulator runs emulated servers with Redfish BMCs until it is
// interrupted, and prints where they are and how to log in.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"text/tabwriter"

	"github.com/beskar7/beskar7/test/emulator"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "emulator:", err)
		os.Exit(1)
	}
}

// run starts the fleet, prints it, and closes it when ctx ends.
func run(ctx context.Context, args []string, out, errs io.Writer) (err error) {
	flags := flag.NewFlagSet("emulator", flag.ContinueOnError)
	flags.SetOutput(errs)
	count := flags.Int("count", 6, "number of servers")
	persona := flags.String("persona", "generic", "kinds of BMC, separated by commas, given out in turn: "+strings.Join(emulator.Personas(), ", "))
	caFile := flags.String("ca-file", "", "write the CA certificate of the BMCs to this file")
	verbose := flags.Bool("verbose", false, "log every event")
	if err := flags.Parse(args); err != nil {
		return err
	}
	o := emulator.Options{Guest: func(emulator.Identity) emulator.Guest { return emulator.GuestFunc(obey) }}
	if *verbose {
		o.Log = slog.New(slog.NewTextHandler(errs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	f, err := emulator.New(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if *caFile != "" {
		if err := os.WriteFile(*caFile, f.CAPEM(), 0o644); err != nil {
			return fmt.Errorf("write CA: %w", err)
		}
	}
	if err := fill(f, *count, strings.Split(*persona, ","), out); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// fill adds the servers and prints a line for each.
func fill(f *emulator.Fleet, count int, personas []string, out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tPERSONA\tADDRESS\tUSER\tPASSWORD")
	for i := range count {
		p := personas[i%len(personas)]
		b, err := f.Add(emulator.Spec{Name: fmt.Sprintf("server-%03d", i+1), Persona: p})
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", b.Name(), p, b.URL(), b.Username(), b.Password())
	}
	return w.Flush()
}

// obey is a system that is up and does nothing but shut down when told.
func obey(ctx context.Context, b emulator.Boot) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-b.Shutdown:
		return nil
	}
}
