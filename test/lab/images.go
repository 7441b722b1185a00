package lab

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/kdomanski/iso9660"
)

// imageServer is the user's own web server with operating system images.
type imageServer struct {
	server   *http.Server
	listener net.Listener
	image    []byte
}

// serveImages serves one small bootable-looking ISO 9660 image under any name that ends in .iso.
func serveImages() (*imageServer, error) {
	image, err := baseImage()
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &imageServer{listener: listener, image: image}
	s.server = &http.Server{Handler: http.HandlerFunc(s.serve), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = s.server.Serve(listener) }()
	return s, nil
}

func baseImage() ([]byte, error) {
	w, err := iso9660.NewWriter()
	if err != nil {
		return nil, err
	}
	defer func() { _ = w.Cleanup() }()
	for name, content := range map[string]string{"README.TXT": "A stand-in for a live image with cloud-init.\n", "BOOT.BIN": strings.Repeat("boot", 64<<10)} {
		if err := w.AddFile(strings.NewReader(content), name); err != nil {
			return nil, err
		}
	}
	var out bytes.Buffer
	if err := w.WriteTo(&out, "LIVEIMAGE"); err != nil {
		return nil, fmt.Errorf("write the base image: %w", err)
	}
	return out.Bytes(), nil
}

func (s *imageServer) serve(w http.ResponseWriter, r *http.Request) {
	if !strings.HasSuffix(r.URL.Path, ".iso") || strings.Contains(r.URL.Path, "missing") {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("ETag", `"base-1"`)
	http.ServeContent(w, r, r.URL.Path, time.Unix(1_700_000_000, 0), bytes.NewReader(s.image))
}

func (s *imageServer) url(name string) string {
	return "http://" + s.listener.Addr().String() + "/" + name
}

// Close ends the server.
func (s *imageServer) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_ = s.server.Shutdown(ctx)
	return s.server.Close()
}
