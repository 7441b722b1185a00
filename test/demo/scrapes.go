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

// record scrapes the manager, as Prometheus would, from now until the context ends, and once more then: the files in the folder
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
			if err := d.scrape(context.WithoutCancel(ctx), strings.TrimSpace(token), dir, n); err != nil {
				d.out.line("demo: scrape %d: %v", n, err)
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

// scrape writes one file: the number of the scrape, and which manager said it.
func (d *demo) scrape(ctx context.Context, token, dir string, n int) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	url := fmt.Sprintf("https://127.0.0.1:%d/metrics", d.lab.Manager.Addresses().Metrics)
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
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, fmt.Sprintf("%04d-manager-0.prom", n)), text, 0o600)
}
