package kubeadmhost

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/beskar7/beskar7/test/emulator"
)

// guest is the software of one server.
type guest struct {
	world    *World
	identity emulator.Identity
}

// Run plays one power cycle. A system that could not be loaded ends Run, like a
// crash of the kernel; one that could not become a node stays up without it.
func (g *guest) Run(ctx context.Context, boot emulator.Boot) error {
	w, server := g.world, g.identity.Name
	w.say(server, "started from "+boot.Device)
	found, err := loadSeed(ctx, boot)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		w.refuse(server, StageMedium, err)
		return err
	}
	w.say(server, fmt.Sprintf("configuration found: %s, %d bytes of user data", found.Source, len(found.UserData)))

	up, down := untilShutdown(ctx, boot.Shutdown)
	defer down()
	joined, node, home := g.configure(up, boot, found)
	if home != nil {
		if err := home.call(up, w.options.Trust); err != nil && up.Err() == nil {
			w.refuse(server, StagePhoneHome, err)
		}
	}
	<-up.Done()
	if joined != nil {
		w.down(context.WithoutCancel(ctx), server, joined, node, found)
	}
	w.say(server, "system is down")
	return ctx.Err()
}

// untilShutdown gives a context that ends with power or an orderly shutdown.
func untilShutdown(ctx context.Context, shutdown <-chan struct{}) (context.Context, context.CancelFunc) {
	up, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-shutdown:
			cancel()
		case <-up.Done():
		}
	}()
	return up, cancel
}

// configure is cloud-init: it returns the cluster the server became part of, nil
// if none, the node's name, and the report to make at the end.
func (g *guest) configure(ctx context.Context, boot emulator.Boot, found *seed) (*cluster, string, *phoneHome) {
	w, server := g.world, g.identity.Name
	meta, err := found.metadata()
	if err != nil {
		w.refuse(server, StageCloudInit, err)
		return nil, "", nil
	}
	config, err := parseCloudConfig(found, meta)
	if err != nil {
		w.refuse(server, StageCloudInit, err)
		return nil, "", vendorReport(found, meta)
	}
	if len(config.ignored) > 0 {
		w.say(server, "cloud-config modules not played: "+strings.Join(config.ignored, ", "))
	}
	if config.phoneHome != nil {
		config.phoneHome.instanceID, config.phoneHome.hostname = meta.instanceID, meta.hostname
	}
	p, err := newPlan(config, meta)
	if err != nil {
		w.refuse(server, StageCloudInit, err)
		return nil, "", config.phoneHome
	}
	if p.sentinel != "" {
		boot.Disk.Delete(strings.TrimPrefix(p.sentinel, "/"))
	}
	joined, err := w.bringUp(ctx, p, found, g.identity)
	if err != nil {
		if !errors.Is(err, context.Canceled) || ctx.Err() == nil {
			w.refuse(server, StageKubeadm, err)
		}
		return nil, "", config.phoneHome
	}
	if config.phoneHome != nil {
		config.phoneHome.succeeded = p.sentinel == successFile
	}
	if p.sentinel != "" {
		boot.Disk.Put(strings.TrimPrefix(p.sentinel, "/"), []byte("success\n"))
	}
	w.say(server, fmt.Sprintf("node %s of %s is up, provider id %q", p.nodeName, p.endpoint, p.providerID))
	return joined, p.nodeName, config.phoneHome
}

// vendorReport is the report that vendor data alone asks for: cloud-init plays
// vendor data also when it cannot use the user data.
func vendorReport(found *seed, meta *metadata) *phoneHome {
	alone := *found
	alone.UserData = []byte("#cloud-config\n{}\n")
	config, err := parseCloudConfig(&alone, meta)
	if err != nil || config.phoneHome == nil {
		return nil
	}
	config.phoneHome.instanceID, config.phoneHome.hostname = meta.instanceID, meta.hostname
	return config.phoneHome
}
