// Command emulator runs emulated servers with Redfish BMCs until it is
// interrupted, prints where they are and how to log in, and lets a person
// switch faults and press buttons while they run. See README.md of the package.
package main

import (
	"context"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path"
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

// settings are the flags.
type settings struct {
	count, chassis                   int
	persona, output, namespace, name string
	caFile, trustFile, control       string
	faults                           texts
	scale                            float64
	on, verbose, personas, faultList bool
}

// texts is a flag that may be given several times.
type texts []string

func (t *texts) String() string     { return strings.Join(*t, " ") }
func (t *texts) Set(v string) error { *t = append(*t, v); return nil }

func parse(args []string, errs io.Writer) (*settings, error) {
	s := &settings{}
	flags := flag.NewFlagSet("emulator", flag.ContinueOnError)
	flags.SetOutput(errs)
	flags.IntVar(&s.count, "count", 6, "number of servers")
	flags.StringVar(&s.persona, "persona", "generic", "kinds of BMC, separated by commas, given out in turn")
	flags.Var(&s.faults, "fault", "[SERVERS:]NAME[=ARGUMENT], a fault from the start; SERVERS is a pattern of names such as server-00*; may be repeated")
	flags.IntVar(&s.chassis, "chassis", 1, "number of servers behind each address")
	flags.Float64Var(&s.scale, "scale", 0, "factor on the times that are facts of a persona (1 is real time, default 0.01)")
	flags.BoolVar(&s.on, "on", false, "the servers are on from the start")
	flags.StringVar(&s.output, "o", "table", "what to print: table, json or yaml (the last two are Secrets and PhysicalHosts)")
	flags.StringVar(&s.namespace, "namespace", "default", "namespace of the manifests")
	flags.StringVar(&s.name, "name", "server", "first part of the servers' names")
	flags.StringVar(&s.caFile, "ca-file", "", "write the CA certificate of the BMCs to this file")
	flags.StringVar(&s.trustFile, "trust-file", "", "PEM file of the CAs that BMCs trust for https images")
	flags.StringVar(&s.control, "control", "127.0.0.1:0", "loopback address of the control endpoint; empty is none")
	flags.BoolVar(&s.verbose, "verbose", false, "log every event")
	flags.BoolVar(&s.personas, "list-personas", false, "list the personas and what is odd about them")
	flags.BoolVar(&s.faultList, "list-faults", false, "list the faults")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	switch {
	case flags.NArg() > 0:
		return nil, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case s.count < 0 || s.chassis < 1:
		return nil, errors.New("--count must be 0 or more, --chassis 1 or more")
	case s.output != "table" && s.output != "json" && s.output != "yaml":
		return nil, fmt.Errorf("-o %s is not table, json or yaml", s.output)
	}
	return s, nil
}

// run starts the fleet, prints it, and closes it when ctx ends.
func run(ctx context.Context, args []string, out, errs io.Writer) (err error) {
	s, err := parse(args, errs)
	if err != nil {
		return err
	}
	if s.personas || s.faultList {
		return list(s, out)
	}
	f, err := s.fleet(errs)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if s.caFile != "" {
		if err := os.WriteFile(s.caFile, f.CAPEM(), 0o644); err != nil {
			return fmt.Errorf("write CA: %w", err)
		}
	}
	if err := s.fill(f); err != nil {
		return err
	}
	// Manifests are for another program: nothing else goes there.
	people := out
	if s.output == "table" {
		err = table(f, out)
	} else {
		people = errs
		err = manifests(f, s, out)
	}
	if err != nil {
		return err
	}
	if s.control != "" {
		end, url, err := serveControl(f, s.control)
		if err != nil {
			return err
		}
		defer end()
		fmt.Fprintf(people, "control: %s (curl it for help)\n", url)
	}
	<-ctx.Done()
	return nil
}

// fleet makes the empty fleet.
func (s *settings) fleet(errs io.Writer) (*emulator.Fleet, error) {
	o := emulator.Options{Guest: func(emulator.Identity) emulator.Guest { return emulator.GuestFunc(obey) },
		Timings: emulator.Timings{Scale: s.scale}}
	if s.verbose {
		o.Log = slog.New(slog.NewTextHandler(errs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	if s.trustFile != "" {
		raw, err := os.ReadFile(s.trustFile)
		if err != nil {
			return nil, fmt.Errorf("read CAs for images: %w", err)
		}
		o.MediaTrust = x509.NewCertPool()
		if !o.MediaTrust.AppendCertsFromPEM(raw) {
			return nil, fmt.Errorf("no certificate in %s", s.trustFile)
		}
	}
	return emulator.New(o)
}

// fill adds the servers and their faults.
func (s *settings) fill(f *emulator.Fleet) error {
	personas, front := strings.Split(s.persona, ","), ""
	for i := range s.count {
		spec := emulator.Spec{Name: fmt.Sprintf("%s-%03d", s.name, i+1), Persona: personas[i/s.chassis%len(personas)]}
		if s.on {
			spec.InitialPower = string(emulator.On)
		}
		if k := i % s.chassis; k == 0 {
			front = spec.Name
		} else {
			spec.Behind, spec.SystemID = front, fmt.Sprintf("Blade%d", k+1)
		}
		if _, err := f.Add(spec); err != nil {
			return err
		}
	}
	for _, text := range s.faults {
		if err := strike(f, text); err != nil {
			return err
		}
	}
	return nil
}

// strike sets a fault given as [SERVERS:]NAME[=ARGUMENT].
func strike(f *emulator.Fleet, text string) error {
	head, arg, _ := strings.Cut(text, "=")
	pattern, name, ok := strings.Cut(head, ":")
	if !ok {
		pattern, name = "*", head
	}
	bmcs, err := matching(f, pattern)
	if err != nil {
		return err
	}
	for _, b := range bmcs {
		if err := b.SetFault(name, arg); err != nil {
			return err
		}
	}
	return nil
}

// matching are the servers whose names match; none is an error.
func matching(f *emulator.Fleet, pattern string) ([]*emulator.BMC, error) {
	var found []*emulator.BMC
	for _, b := range f.BMCs() {
		ok, err := path.Match(pattern, b.Name())
		if err != nil {
			return nil, fmt.Errorf("pattern %q: %w", pattern, err)
		}
		if ok {
			found = append(found, b)
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("no server is called %q", pattern)
	}
	return found, nil
}

// table prints a line for each server.
func table(f *emulator.Fleet, out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tPERSONA\tADDRESS\tSYSTEM\tUSER\tPASSWORD")
	for _, b := range f.BMCs() {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", b.Name(), b.Persona(), b.URL(), b.SystemID(), b.Username(), b.Password())
	}
	return w.Flush()
}

// list prints personas or faults.
func list(s *settings, out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if s.personas {
		for _, p := range emulator.PersonaInfos() {
			fmt.Fprintf(w, "%s\t%s\n", p.Name, p.About)
			for _, o := range p.Oddities {
				fmt.Fprintf(w, "\t- %s [%s]\n", o.What, o.Source)
			}
		}
	}
	if s.faultList {
		fmt.Fprintln(w, "FAULT\tARGUMENT\tDEFAULT\tWHAT IT DOES")
		for _, x := range emulator.Faults() {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", x.Name, x.Arg, x.Default, x.Does)
		}
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
