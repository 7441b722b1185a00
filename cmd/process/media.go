package process

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"

	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/controllers/media"
	"github.com/beskar7/beskar7/pkg/bootmedia"
	"github.com/beskar7/beskar7/pkg/endpoint"
)

// addMedia adds the media server to every replica.
func (p *parts) addMedia(ctx context.Context, secrets client.Reader) (*bootmedia.Server, error) {
	source := &media.Source{Client: p.mgr.GetClient(), WatchFilter: p.settings.Scope.WatchFilter, SecretReader: secrets, Clock: clock.RealClock{}, PhoneHomeURL: p.phoneHomeURL()}
	var err error
	if p.certificate, err = p.servingCertificate(ctx); err != nil {
		return nil, err
	}
	if p.certificate != nil {
		p.warnOfCertificate()
	}
	peers := &media.Peers{Reader: p.mgr.GetAPIReader(), Namespace: p.settings.Pod.NamespaceOrDefault(),
		Self: p.settings.Pod.IP, Scheme: p.mediaScheme(), Clock: clock.RealClock{}}
	options := p.mediaOptions(source)
	options.StreamFailed = p.streams.Report(p.mgr.GetClient(), p.mgr.GetEventRecorder("beskar7"), p.wake.Wake, p.lease.Valid)
	source.Refused = options.StreamFailed
	options.Peers, options.PeerClient = peers.URLs, media.PeerClient(p.certificate)
	server := bootmedia.New(options)
	server.Notify(func(imageURL string) {
		if p.lease.Valid() { // only there a controller waits for it
			p.wake.WakeBooting(ctx, p.mgr.GetCache(), imageURL)
		}
	})
	warmth := &media.Warmth{Client: p.mgr.GetClient(), WatchFilter: p.settings.Scope.WatchFilter, Media: server, Clock: clock.RealClock{}}
	if err := errors.Join(p.mgr.Add(everywhere{warmth.Run}), p.mgr.AddReadyzCheck("media", warmth.Ready)); err != nil {
		return nil, err
	}
	if err := p.watchMedia(ctx, source, server, secrets); err != nil {
		return nil, err
	}
	return server, p.mgr.Add(everywhere{func(ctx context.Context) error {
		defer server.Close()
		door := media.Door{Address: p.settings.Media.BindAddress, Certificate: p.certificate, TLS: tlsOptions(p.settings.TLS)}
		return door.Serve(ctx, media.Count(server.Handler(), p.metrics))
	}})
}

// watchMedia lets go of what belongs to grants that have ended: in memory on every replica, of the records where BMCs are driven.
func (p *parts) watchMedia(ctx context.Context, source *media.Source, server *bootmedia.Server, secrets client.Reader) error {
	sweep := &media.Sweep{Client: p.mgr.GetClient(), Reader: p.mgr.GetAPIReader(), SecretReader: secrets, Clock: clock.RealClock{}, WatchFilter: p.settings.Scope.WatchFilter}
	ended := func(tokenHash string) { source.Ended(tokenHash); server.Ended(tokenHash) }
	return errors.Join(p.mgr.Add(sweep), media.WatchGrants(ctx, p.mgr.GetCache(), ended))
}

// servingCertificate is what the media door shows; nil: media are served over http.
func (p *parts) servingCertificate(ctx context.Context) (media.Certificate, error) {
	if dir := p.settings.Media.CertDir; dir != "" {
		return media.NewCertificateFolder(dir)
	}
	if p.settings.Media.CASecret == "" {
		return nil, nil //nolint:nilnil // none is wanted
	}
	live, err := client.New(p.mgr.GetConfig(), client.Options{HTTPClient: p.mgr.GetHTTPClient(), Scheme: p.mgr.GetScheme(), Mapper: p.mgr.GetRESTMapper()})
	if err != nil {
		return nil, fmt.Errorf("make the client for the media authority: %w", err)
	}
	own := &media.Authority{Client: live, Secret: client.ObjectKey{Namespace: p.settings.Pod.NamespaceOrDefault(), Name: p.settings.Media.CASecret},
		Name: p.mediaService() + ".svc", Names: p.mediaNames(), WatchFilter: p.settings.Scope.WatchFilter, Clock: clock.RealClock{}}
	return own, errors.Join(own.Load(ctx), own.Follow(ctx, p.mgr.GetCache()))
}

// mediaService is the Service of the media door as it stands in the names of the cluster.
func (p *parts) mediaService() string {
	return media.ServiceName + "." + p.settings.Pod.NamespaceOrDefault()
}

// mediaNames are the names and addresses under which the media door is advertised, or found in the cluster.
func (p *parts) mediaNames() []string {
	names := []string{p.mediaService() + ".svc.cluster.local"}
	for _, text := range []string{p.mediaURL(), p.phoneHomeURL()} {
		if u, err := endpoint.Parse(text); err == nil {
			names = append(names, u.Hostname())
		}
	}
	if ip := p.settings.Pod.IP; ip != "" {
		names = append(names, ip)
	}
	return names
}

// warnOfCertificate says at the start what BMCs and booted systems would find out much later.
func (p *parts) warnOfCertificate() {
	log := p.live.Logger().WithName("media")
	for _, url := range slices.Compact([]string{p.mediaURL(), p.phoneHomeURL()}) {
		if err := p.certificate.Covers(url); err != nil {
			log.Info("Warning: clients that verify certificates, as booted systems do, do not trust the media server at its advertised URL, "+
				"unless something in front of it shows another certificate", "url", url, "reason", err.Error())
		}
	}
	if len(p.certificate.Authority()) == 0 {
		log.Info("Warning: there is no ca.crt beside the media certificate, so booted systems are given no authority to trust: "+
			"they can report only if they trust the certificate by themselves", "folder", p.settings.Media.CertDir)
	}
}

func (p *parts) mediaOptions(source *media.Source) bootmedia.Options {
	return bootmedia.Options{Source: source, Recorder: source, CacheDir: p.settings.Media.CacheDir, CacheBytes: int64(p.settings.Media.CacheSize) << 20,
		Client: bootmedia.NewClient(p.imageClientOptions()), Log: p.live.Logger().WithName("media")}
}

func (p *parts) imageClientOptions() bootmedia.ClientOptions {
	return bootmedia.ClientOptions{Reach: p.reach, CADir: p.settings.Media.ImageCADir}
}

// phoneHomeCA is what booted systems are to trust; nil: what they trust by themselves.
func (p *parts) phoneHomeCA() []byte {
	if p.certificate == nil {
		return nil
	}
	return p.certificate.Authority()
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
	if p.settings.Media.CertDir != "" || p.settings.Media.CASecret != "" {
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
