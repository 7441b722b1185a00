package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/beskar7/beskar7/pkg/redfish"
	"github.com/beskar7/beskar7/pkg/redfish/redfishtest"
	"github.com/beskar7/beskar7/test/emulator"
)

// cell is what came of one try.
type cell struct {
	name, operation string
	good            bool
	words           string
}

func main() {
	check := flag.Bool("check", false, "write nothing")
	docs := flag.String("docs", filepath.Join("..", "docs", "hardware.md"), "where the generated page goes")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	bad, err := run(ctx, *check, *docs)
	if err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(1)
	}
	if bad > 0 {
		fmt.Fprintf(os.Stderr, "conformance: %d cells are not as they must be\n", bad)
		os.Exit(1)
	}
}

func run(ctx context.Context, check bool, docs string) (bad int, err error) {
	if address := os.Getenv("BESKAR7_BMC_ADDRESS"); address != "" {
		return real(ctx, address)
	}
	site, err := newSite()
	if err != nil {
		return 0, err
	}
	defer site.close()
	personas := site.personas(ctx)
	bad += print("Personas", personas)
	faults := site.faults(ctx)
	bad += print("Faults of the generic persona", faults)
	if check {
		return bad, nil
	}
	return bad, os.WriteFile(docs, []byte(page(personas, faults)), 0o644) //nolint:gosec // documentation is for everyone
}

// real tries a real BMC, and changes nothing.
func real(ctx context.Context, address string) (int, error) {
	bmc, err := redfish.NewPool(redfish.Options{}).BMC(redfish.Target{Address: address, Username: os.Getenv("BESKAR7_BMC_USERNAME"),
		Password: redfish.Password(os.Getenv("BESKAR7_BMC_PASSWORD")), InsecureSkipVerify: os.Getenv("BESKAR7_BMC_INSECURE") == "true"})
	if err != nil {
		return 0, err
	}
	var cells []cell
	for _, op := range redfishtest.Operations() {
		cells = append(cells, toCell(address, op.Conduct(ctx, redfishtest.Harness{BMC: bmc, DryRun: true})))
	}
	return print("Dry run", cells), nil
}

func toCell(name string, o redfishtest.Outcome) cell {
	c := cell{name: name, operation: o.Operation, good: o.Verdict != redfishtest.Failed, words: string(o.Verdict)}
	if o.Words != "" {
		c.words += ": " + o.Words
	}
	return c
}

// print shows a table and counts the cells that are bad.
func print(title string, cells []cell) (bad int) {
	fmt.Printf("\n%s\n\n", title)
	table := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
	for _, c := range cells {
		mark := "ok"
		if !c.good {
			mark = "BAD"
			bad++
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", mark, c.name, c.operation, strings.ReplaceAll(c.words, "\n", " "))
	}
	_ = table.Flush()
	return bad
}

// parallel runs tries, eight at a time; each has a server of its own.
func parallel(n int, try func(i int)) {
	var wait sync.WaitGroup
	slots := make(chan struct{}, 8)
	for i := range n {
		wait.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			try(i)
		})
	}
	wait.Wait()
}

// personas tries every operation on every persona.
func (s *site) personas(ctx context.Context) []cell {
	operations, names := redfishtest.Operations(), emulator.Personas()
	cells := make([]cell, len(names)*len(operations))
	parallel(len(cells), func(i int) {
		name, op := names[i/len(operations)], operations[i%len(operations)]
		cells[i] = cell{name: name, operation: op.Name}
		h, closed, err := s.harness(fmt.Sprintf("%s-%d", name, i), name)
		if err != nil {
			cells[i].words = err.Error()
			return
		}
		defer closed()
		cells[i] = toCell(name, op.Conduct(ctx, h))
	})
	return cells
}

// faultLimit is how long a try under a fault may take: every wait of the driver's ends far earlier.
const faultLimit = 90 * time.Second

// faults tries two operations under every fault: work that is done, or an error of a kind, in time.
func (s *site) faults(ctx context.Context) []cell {
	var operations []redfishtest.Operation
	for _, op := range redfishtest.Operations() {
		if op.Name == "enrol" || op.Name == "power on" {
			operations = append(operations, op)
		}
	}
	all := emulator.Faults()
	cells := make([]cell, len(all)*len(operations))
	parallel(len(cells), func(i int) {
		fault, op := all[i/len(operations)], operations[i%len(operations)]
		cells[i] = s.underFault(ctx, i, fault, op)
	})
	return cells
}

func (s *site) underFault(ctx context.Context, i int, fault emulator.Fault, op redfishtest.Operation) cell {
	c := cell{name: fault.Name, operation: op.Name}
	h, closed, err := s.harness(fmt.Sprintf("fault-%d", i), "generic")
	if err != nil {
		c.words = err.Error()
		return c
	}
	defer closed()
	h.Patience = 2 * time.Second
	if err := h.Control.(*world).bmc.SetFault(fault.Name, ""); err != nil {
		c.words = err.Error()
		return c
	}
	ctx, cancel := context.WithTimeout(ctx, faultLimit)
	defer cancel()
	o := op.Conduct(ctx, h)
	c = toCell(fault.Name, o)
	switch {
	case ctx.Err() != nil:
		c.good, c.words = false, fmt.Sprintf("did not end within %v", faultLimit)
	case o.Verdict == redfishtest.Failed:
		// Seen through by reading back, or refused with a kind: the caller knows what it has.
		c.good, c.words = o.Words != "", strings.TrimPrefix(c.words, "failed: ")
		if o.Kind != "" {
			c.words = string(o.Kind) + ": " + c.words
		}
	}
	return c
}
