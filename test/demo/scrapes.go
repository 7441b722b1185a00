package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// scrapeInterval is how often the manager is scraped; hack/monitoring takes it for granted when it plays a run back.
const scrapeInterval = 15 * time.Second

// record scrapes all replicas of the manager, as Prometheus would, from now until the context ends, and once more then: the files in the folder
// scrapes are what "make record-metrics" takes. A scrape that fails is a line on the screen: the story does not depend on it.
func (d *demo) record(ctx context.Context) <-chan struct{} {
	done := make(chan struct{})
	dir := filepath.Join(d.dir, "scrapes")
	go func() {
		defer close(done)
		token, err := d.lab.Plane.Kubectl(ctx, nil, "-n", "beskar7-system", "create", "token", "beskar7-metrics-reader")
		if err != nil {
			d.out.line("demo: a token to scrape with: %v", err)
			return
		}
		tick := time.NewTicker(scrapeInterval)
		defer tick.Stop()
		for n := 0; ; n++ {
			for i, one := range d.managers {
				file := filepath.Join(dir, fmt.Sprintf("%04d-manager-%d.prom", n, i))
				if err := scrape(context.WithoutCancel(ctx), one.Addresses().Metrics, strings.TrimSpace(token), file); err != nil {
					d.out.line("demo: scrape %d of manager %d: %v", n, i, err)
				}
			}
			if ctx.Err() != nil {
				return
			}
			select {
			case <-ctx.Done():
			case <-tick.C:
			}
		}
	}()
	return done
}

// scrape writes what one replica says into a file.
func scrape(ctx context.Context, port int, token, file string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	url := fmt.Sprintf("https://127.0.0.1:%d/metrics", port)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	// The manager makes its certificate when it starts.
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} //nolint:gosec // on loopback
	reply, err := c.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = reply.Body.Close() }()
	if reply.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, reply.Status)
	}
	text, err := io.ReadAll(reply.Body)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, text, 0o600)
}
