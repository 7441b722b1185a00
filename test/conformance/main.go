package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
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

// part is what of the lives is led.
type part struct{ persona, fault string }

func main() {
	var of part
	flag.StringVar(&of.persona, "persona", "", "only lives of this persona, and nothing else")
	flag.StringVar(&of.fault, "fault", "", "only lives under this fault, and nothing else")
	check := flag.Bool("check", false, "write nothing")
	known := flag.Bool("facts", false, "write only what no run is needed for: what is known of BMCs, and from where")
	docs := flag.String("docs", filepath.Join("..", "docs", "hardware.md"), "where the generated page goes")
	flag.Parse()
	if *known {
		if err := writeFacts(*docs); err != nil {
			fmt.Fprintln(os.Stderr, "conformance:", err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	bad, err := run(ctx, of, *check, *docs)
	if err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(1)
	}
	if bad > 0 {
		fmt.Fprintf(os.Stderr, "conformance: %d cells are not as they must be\n", bad)
		os.Exit(1)
	}
}

func run(ctx context.Context, of part, check bool, docs string) (bad int, err error) {
	if address := os.Getenv("BESKAR7_BMC_ADDRESS"); address != "" {
		return dryRun(ctx, redfish.Target{Address: address, Username: os.Getenv("BESKAR7_BMC_USERNAME"),
			Password: redfish.Password(os.Getenv("BESKAR7_BMC_PASSWORD")), InsecureSkipVerify: os.Getenv("BESKAR7_BMC_INSECURE") == "true", AllowPlain: true}) // who runs this wrote the address
	}
	began := time.Now()
	site, err := newSite()
	if err != nil {
		return 0, err
	}
	defer site.close()
	if of != (part{}) {
		return showLives(site.lives(ctx, of)), nil
	}
	personas := site.personas(ctx)
	bad += show("Personas", personas)
	faults := site.faults(ctx)
	bad += show("Faults of the generic persona", faults)
	lives := site.lives(ctx, of)
	bad += showLives(lives)
	fmt.Printf("\n%d cells in %v\n", len(personas)+len(faults)+2*len(lives), time.Since(began).Round(time.Second))
	if check {
		return bad, nil
	}
	return bad, os.WriteFile(docs, []byte(page(personas, faults, lives)), 0o644) //nolint:gosec // documentation is for everyone
}

// writeFacts leaves what a run measured as it is.
func writeFacts(docs string) error {
	have, err := os.ReadFile(docs) //nolint:gosec // who runs this names it
	if err != nil {
		return err
	}
	_, rest, ok := strings.Cut(string(have), measured)
	if !ok {
		return fmt.Errorf("%s was not written by this program", docs)
	}
	return os.WriteFile(docs, []byte(facts()+"\n"+measured+rest), 0o644) //nolint:gosec // documentation is for everyone
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

// showLives prints a line for each fault with how the lives under it came out, and those in full that were not as they must be.
func showLives(lives []lived) (bad int) {
	fmt.Printf("\nLives: every persona under every fault, provisioning and release\n\n")
	byFault, faults := map[string]map[string]int{}, []string{}
	for _, l := range lives {
		name := cmp.Or(l.fault, "no fault")
		if byFault[name] == nil {
			byFault[name], faults = map[string]int{}, append(faults, name)
		}
		byFault[name][l.provision.word+", "+l.release.word]++
	}
	slices.Sort(faults)
	table := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
	for _, name := range slices.Compact(faults) {
		var came []string
		for _, words := range slices.Sorted(maps.Keys(byFault[name])) {
			came = append(came, fmt.Sprintf("%d× %s", byFault[name][words], words))
		}
		fmt.Fprintf(table, "%s\t%s\n", name, strings.Join(came, "; "))
	}
	for _, l := range lives {
		if len(l.broken) > 0 {
			bad++
			fmt.Fprintf(table, "BAD\t%s\t%s\t%s\t%s\t%s\n", l.persona, l.fault, l.provision.word, l.release.word, line(append([]string{l.provision.message, l.release.message}, l.broken...)))
		}
	}
	_ = table.Flush()
	return bad
}

// line is texts in one line.
func line(texts []string) string {
	texts = slices.DeleteFunc(texts, func(t string) bool { return t == "" })
	return strings.ReplaceAll(strings.Join(texts, " | "), "\n", " ")
}
