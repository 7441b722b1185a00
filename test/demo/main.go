// Command demo shows the main job on one machine: unmodified Cluster API and clusterctl, our manager from its release, and six
// emulated servers that boot what the manager gives them. It ends with one line and exit code 0, or with the reason and 1.
//
//	demo            run the story and end
//	demo up         start the site and leave it running; prints the KUBECONFIG line
//	demo down       end what `demo up` left running
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/beskar7/beskar7/test/lab"
)

func main() {
	dir := flag.String("dir", "", "folder for all that the demo writes (default: out/demo beside the release)")
	hosts := flag.Int("hosts", 6, "number of emulated servers")
	plain := flag.Bool("plain", false, "print plain lines even on a terminal")
	limit := flag.Duration("timeout", 25*time.Minute, "give up after this time; the first build of Kubernetes and Cluster API is not counted")
	mode := flag.String("mode", "optimistic", "how hosts are claimed: optimistic, or leader for an elected arbiter")
	replicas := flag.Int("replicas", 1, "number of replicas of the manager")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	d := &demo{dir: *dir, hosts: *hosts, mode: *mode, replicas: *replicas, out: newScreen(os.Stdout, *plain), limit: *limit}
	if d.dir == "" {
		d.dir = defaultDir()
	}
	if d.mode != "optimistic" && d.mode != "leader" {
		fmt.Fprintf(os.Stderr, "demo: unknown mode %q: optimistic or leader\n", d.mode)
		os.Exit(2)
	}
	commands := map[string]func(context.Context) error{"": d.story, "up": d.up, "serve": d.serve, "down": d.down}
	run, ok := commands[flag.Arg(0)]
	if !ok {
		fmt.Fprintf(os.Stderr, "demo: unknown command %q\n", flag.Arg(0))
		os.Exit(2)
	}
	if err := run(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "\ndemo: failed: %v\ndemo: logs are in %s\n", err, d.dir)
		os.Exit(1)
	}
}

func defaultDir() string {
	root, err := lab.Root("")
	if err != nil {
		return "demo-out"
	}
	return filepath.Join(root, "out", "demo")
}
