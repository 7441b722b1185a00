// Command binaries builds the programs of the management cluster into the cache and prints where they
// are, one "name path" a line; a second run only prints.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/beskar7/beskar7/test/controlplane"
)

func main() {
	cache := flag.String("cache", "", "folder for built programs (default $BESKAR7_CACHE, then <repository>/.cache/bin)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	bin, err := controlplane.Binaries(ctx, controlplane.BinariesOptions{Cache: *cache})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for _, p := range []struct{ name, path string }{
		{"etcd", bin.Etcd}, {"kube-apiserver", bin.APIServer}, {"kube-controller-manager", bin.ControllerManager},
		{"kubectl", bin.Kubectl}, {"core", bin.Core}, {"bootstrap-kubeadm", bin.Bootstrap},
		{"control-plane-kubeadm", bin.ControlPlane}, {"clusterctl", bin.Clusterctl}, {"repository", bin.Repository},
	} {
		fmt.Println(p.name, p.path)
	}
}
