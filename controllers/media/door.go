package media

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// Door is where media are served and phone-homes come in.
type Door struct {
	// Address to listen at, host:port.
	Address string
	// Certificate is what is shown. Without it media are served over http, for hosts that consent to it.
	Certificate Certificate
	// TLS sets what the settings say of versions and ciphers.
	TLS func(*tls.Config)

	// listening is told where it listens; nil: nobody is.
	listening chan<- net.Addr
}

// maxMediaHeader is far more than what a BMC or a reporting system sends. The door is open to whoever reaches it.
const maxMediaHeader = 16 << 10

// Serve serves until the context ends.
func (d Door) Serve(ctx context.Context, handler http.Handler) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", d.Address)
	if err != nil {
		return fmt.Errorf("listen for media: %w", err)
	}
	if d.listening != nil {
		d.listening <- listener.Addr()
	}
	if d.Certificate != nil {
		go func() { _ = d.Certificate.Run(ctx) }()
		options := &tls.Config{GetCertificate: d.Certificate.GetCertificate} //nolint:gosec // the setting has a least version
		d.TLS(options)
		listener = tls.NewListener(listener, options)
	}
	server := mediaServer(ctx, handler)
	go func() {
		<-ctx.Done()
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = server.Shutdown(closing)
	}()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve media: %w", err)
	}
	return nil
}

// mediaServer is bounded in what it takes of whoever asks, not in how long it sends: a medium may take hours.
func mediaServer(ctx context.Context, handler http.Handler) *http.Server {
	return &http.Server{Handler: handler, ReadHeaderTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: maxMediaHeader,
		BaseContext: func(net.Listener) context.Context { return context.WithoutCancel(ctx) }}
}
