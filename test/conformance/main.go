package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/beskar7/beskar7/pkg/redfish"
	"github.com/beskar7/beskar7/pkg/redfish/redfishtest"
)

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
		return dryRun(ctx, redfish.Target{Address: address, Username: os.Getenv("BESKAR7_BMC_USERNAME"),
			Password: redfish.Password(os.Getenv("BESKAR7_BMC_PASSWORD")), InsecureSkipVerify: os.Getenv("BESKAR7_BMC_INSECURE") == "true"})
	}
	began := time.Now()
	site, err := newSite()
	if err != nil {
		return 0, err
	}
	defer site.close()
	personas := site.personas(ctx)
	bad += show("Personas", personas)
	faults := site.faults(ctx)
	bad += show("Faults of the generic persona", faults)
	lives := site.lives(ctx)
	bad += showLives(lives)
	fmt.Printf("\n%d cells in %v\n", len(personas)+len(faults)+2*len(lives), time.Since(began).Round(time.Second))
	if check {
		return bad, nil
	}
	return bad, os.WriteFile(docs, []byte(page(personas, faults, lives)), 0o644) //nolint:gosec // documentation is for everyone
}

// dryRun tries a real BMC, and changes nothing.
func dryRun(ctx context.Context, target redfish.Target) (bad int, err error) {
	pool := redfish.NewPool(redfish.Options{})
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		err = errors.Join(err, pool.Close(closing))
	}()
	bmc, err := pool.BMC(target)
	if err != nil {
		return 0, err
	}
	var cells []cell
	for _, op := range redfishtest.Operations() {
		c := cell{name: target.Address, operation: op.Name}
		if c.take(op.Conduct(ctx, redfishtest.Harness{BMC: bmc, DryRun: true})); c.word != done && c.word != notTried {
			c.broken = append(c.broken, c.words)
		}
		cells = append(cells, c)
	}
	return show("Dry run", cells), nil
}

// show prints a table and counts the cells that are bad.
func show(title string, cells []cell) (bad int) {
	fmt.Printf("\n%s\n\n", title)
	table := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
	for _, c := range cells {
		mark := "ok"
		if !c.good() {
			mark = "BAD"
			bad++
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", mark, c.name, c.operation, c.word, line(append([]string{c.words}, c.broken...)))
	}
	_ = table.Flush()
	return bad
}

// showLives prints those lives that were not as they must be, and counts them.
func showLives(lives []lived) (bad int) {
	fmt.Printf("\nLives: every persona under every fault\n\n")
	table := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
	for _, l := range lives {
		mark := "ok"
		if len(l.broken) > 0 {
			mark = "BAD"
			bad++
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", mark, l.persona, l.fault, l.provision.word, l.release.word, line(append([]string{l.provision.message, l.release.message}, l.broken...)))
	}
	_ = table.Flush()
	return bad
}

// line is texts in one line.
func line(texts []string) string {
	texts = slices.DeleteFunc(texts, func(t string) bool { return t == "" })
	return strings.ReplaceAll(strings.Join(texts, " | "), "\n", " ")
}
