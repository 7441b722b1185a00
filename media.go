package main

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"

	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/controllers"
	"github.com/beskar7/beskar7/pkg/bootmedia"
)

// addMedia adds the media server to every replica.
func (p *parts) addMedia(ctx context.Context, secrets client.Reader) (*bootmedia.Server, error) {
	source := &controllers.MediaSource{Client: p.mgr.GetClient(), SecretReader: secrets, Clock: clock.RealClock{}, PhoneHomeURL: p.phoneHomeURL()}
	if dir := p.settings.Media.CertDir; dir != "" {
		// cert-manager keeps the issuer's certificate beside tls.crt; absent means one that every system trusts.
		source.PhoneHomeCA = func() []byte { ca, _ := os.ReadFile(filepath.Join(dir, "ca.crt")); return ca }
	}
	peers := &controllers.MediaPeers{Reader: p.mgr.GetAPIReader(), Namespace: podNamespace(p.settings), Self: p.settings.Pod.IP, Scheme: p.mediaScheme(), Clock: clock.RealClock{}}
	options := p.mediaOptions(source)
	options.StreamFailed = p.streams.Report(p.mgr.GetClient(), p.mgr.GetEventRecorder("beskar7"), p.wake, p.lease.Valid)
	options.Peers, options.PeerClient = peers.URLs, controllers.PeerClient(p.settings.Media.CertDir)
	server := bootmedia.New(options)
	server.Notify(func(imageURL string) {
		if p.lease.Valid() { // only there a controller waits for it
			p.wake.WakeBooting(ctx, p.mgr.GetCache(), imageURL)
		}
	})
	warmth := &controllers.Warmth{Client: p.mgr.GetClient(), Media: server, Clock: clock.RealClock{}}
	if err := errors.Join(p.mgr.Add(everywhere{warmth.Run}), p.mgr.AddReadyzCheck("media", warmth.Ready)); err != nil {
		return nil, err
	}
	return server, p.mgr.Add(everywhere{func(ctx context.Context) error {
		defer server.Close()
		door := controllers.MediaDoor{Address: p.settings.Media.BindAddress, CertDir: p.settings.Media.CertDir, TLS: tlsOptions(p.settings.TLS)}
		return door.Serve(ctx, controllers.CountMedia(server.Handler(), p.metrics))
	}})
}

func (p *parts) mediaOptions(source *controllers.MediaSource) bootmedia.Options {
	return bootmedia.Options{Source: source, Recorder: source, CacheDir: p.settings.Media.CacheDir, Client: bootmedia.NewClient(p.imageClientOptions()), Log: p.live.Logger().WithName("media")}
}

func (p *parts) imageClientOptions() bootmedia.ClientOptions {
	return bootmedia.ClientOptions{Reach: p.reach, CADir: p.settings.Media.ImageCADir}
}

// mediaURL is what BMCs are given: as set, else this Pod's own address.
func (p *parts) mediaURL() string {
	if u := p.settings.Media.AdvertiseURL; u != "" {
		return u
	}
	_, port, err := net.SplitHostPort(p.settings.Media.BindAddress)
	if err != nil || p.settings.Pod.IP == "" {
		return ""
	}
	return p.mediaScheme() + "://" + net.JoinHostPort(p.settings.Pod.IP, port)
}

func (p *parts) mediaScheme() string {
	if p.settings.Media.CertDir != "" {
		return "https"
	}
	return "http"
}

func (p *parts) phoneHomeURL() string {
	if u := p.settings.Media.PhoneHomeAdvertiseURL; u != "" {
		return u
	}
	return p.mediaURL()
}
