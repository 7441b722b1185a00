package media

import (
	"io"
	"net/http"
	"strings"
)

// Metrics count what the media server answered.
type Metrics interface {
	MediaServed(file string, code int, n int64)
}

// Count counts the answers of the media server. It looks at the end of the path only: the rest is a secret.
func Count(next http.Handler, counts Metrics) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		counted := &countedWriter{ResponseWriter: w, code: http.StatusOK}
		defer func() { counts.MediaServed(mediaFile(r.URL.Path), counted.code, counted.bytes) }()
		next.ServeHTTP(counted, r)
	})
}

func mediaFile(path string) string {
	switch {
	case strings.HasSuffix(path, "/boot.iso"):
		return "image"
	case strings.HasSuffix(path, "/config.iso"):
		return "seed"
	case strings.HasSuffix(path, "/composed.iso"):
		return "composed"
	}
	return "other"
}

type countedWriter struct {
	http.ResponseWriter
	code  int
	bytes int64
}

// Unwrap lets http.ResponseController reach the connection.
func (w *countedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *countedWriter) WriteHeader(code int) {
	w.code = code
	w.ResponseWriter.WriteHeader(code)
}

// ReadFrom keeps the connection's own way to copy, which for a cached image is the kernel's.
func (w *countedWriter) ReadFrom(r io.Reader) (int64, error) {
	n, err := io.Copy(w.ResponseWriter, r)
	w.bytes += n
	return n, err
}

func (w *countedWriter) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}
