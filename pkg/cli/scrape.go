package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// scrape is what one replica's metrics said at one time.
type scrape struct {
	replica  string
	families map[string]*dto.MetricFamily
}

// window is two looks at all replicas, and the time between them. A replica that was not there at the first look says nothing
// of rates: what it counted before is unknown.
type window struct {
	before, after []scrape
	length        time.Duration
}

// scrapeLimit bounds one answer: the largest fleets say less than a megabyte.
const scrapeLimit = 64 << 20

// parseScrape reads Prometheus' text format.
func parseScrape(replica string, content []byte) (scrape, error) {
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(content))
	if err != nil {
		return scrape{}, fmt.Errorf("read the metrics of %s: %w", replica, err)
	}
	if families["beskar7_config_valid"] == nil && families["beskar7_provisioning_queue_length"] == nil {
		return scrape{}, fmt.Errorf("%s has no metrics of Beskar7", replica)
	}
	return scrape{replica, families}, nil
}

// errNoAnswer says that nobody listens, or nobody any more.
var errNoAnswer = errors.New("no answer")

// fetchScrape asks one replica.
func (v *visitor) fetchScrape(ctx context.Context, replica, url string) (scrape, error) {
	limited, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(limited, http.MethodGet, url, nil)
	if err != nil {
		return scrape{}, fmt.Errorf("ask %s for metrics: %w", replica, err)
	}
	if v.token != "" {
		request.Header.Set("Authorization", "Bearer "+v.token)
	}
	reply, err := v.client.Do(request)
	if err != nil {
		return scrape{}, fmt.Errorf("ask %s for metrics: %w: %w", replica, errNoAnswer, err)
	}
	defer reply.Body.Close()
	switch reply.StatusCode {
	case http.StatusOK:
	case http.StatusUnauthorized, http.StatusForbidden:
		return scrape{}, fmt.Errorf("ask %s for metrics: %s: give --token-file the token of a ServiceAccount that the ClusterRole beskar7-system-metrics-reader is bound to", replica, reply.Status)
	default:
		return scrape{}, fmt.Errorf("ask %s for metrics: %s", replica, reply.Status)
	}
	content, err := io.ReadAll(io.LimitReader(reply.Body, scrapeLimit))
	if err != nil {
		return scrape{}, fmt.Errorf("ask %s for metrics: %w", replica, err)
	}
	return parseScrape(replica, content)
}

// scraper looks at all replicas at once.
type scraper func(context.Context) ([]scrape, error)

// ofURLs asks addresses.
func (v *visitor) ofURLs(urls []string) scraper {
	return func(ctx context.Context) ([]scrape, error) {
		var all []scrape
		for _, url := range urls {
			one, err := v.fetchScrape(ctx, url, url)
			if err != nil {
				return nil, err
			}
			all = append(all, one)
		}
		return all, nil
	}
}

// scrapes asks the ready Pods of an installation, each through a forwarded port.
func (in *installation) scrapes(ctx context.Context) ([]scrape, error) {
	port, secure, err := in.metricsPort()
	if err != nil {
		return nil, err
	}
	scheme, guest := "http", &visitor{client: http.DefaultClient}
	if secure {
		scheme = "https"
		if guest, err = in.visitor(ctx); err != nil {
			return nil, err
		}
	}
	pods, err := in.pods(ctx)
	if err != nil {
		return nil, err
	}
	if len(pods) == 0 {
		return nil, errors.New("no Pod of the manager is ready")
	}
	var all []scrape
	for _, pod := range pods {
		address, closing, err := in.Forward(ctx, pod.Namespace, pod.Name, port)
		if err != nil {
			return nil, fmt.Errorf("reach Pod %s: %w: %w", pod.Name, errNoAnswer, err)
		}
		one, err := guest.fetchScrape(ctx, pod.Name, scheme+"://"+address+"/metrics")
		closing()
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}

// patiently looks again where a Pod that is listed as ready does not answer: during a roll-out one is gone a moment later, and
// another one is ready a moment before it serves metrics.
func (c *CLI) patiently(scrapes scraper) scraper {
	const step, most = time.Second, 20 * time.Second
	return func(ctx context.Context) ([]scrape, error) {
		for waited := time.Duration(0); ; waited += step {
			all, err := scrapes(ctx)
			if !errors.Is(err, errNoAnswer) || waited >= most {
				return all, err
			}
			if err := c.Pause(ctx, step); err != nil {
				return nil, err
			}
		}
	}
}

// readScrapes reads saved scrapes of several replicas, in files separated by commas. The place in the list is the replica.
func readScrapes(names string) ([]scrape, error) {
	var all []scrape
	for i, name := range strings.Split(names, ",") {
		content, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		one, err := parseScrape(name, content)
		if err != nil {
			return nil, err
		}
		one.replica = fmt.Sprint("replica ", i+1)
		all = append(all, one)
	}
	return all, nil
}

// look makes a window of two looks.
func (c *CLI) look(ctx context.Context, scrapes scraper, length time.Duration) (window, error) {
	w := window{}
	var err error
	if w.before, err = scrapes(ctx); err != nil {
		return w, err
	}
	began := c.Now()
	if err := c.Pause(ctx, length); err != nil {
		return w, err
	}
	if w.after, err = scrapes(ctx); err != nil {
		return w, err
	}
	w.length = max(c.Now().Sub(began), length)
	return w, nil
}

// matching says whether a series counts, by its labels.
type matching func(label func(string) string) bool

func every(func(string) string) bool { return true }

// label counts series with one of the values.
func label(name string, values ...string) matching {
	return func(label func(string) string) bool {
		for _, value := range values {
			if label(name) == value {
				return true
			}
		}
		return false
	}
}

// total sums up the series of a metric in one scrape.
func (s scrape) total(metric string, counts matching) float64 {
	var sum float64
	family := s.families[metric]
	if family == nil {
		return 0
	}
	for _, m := range family.GetMetric() {
		if counts(func(name string) string {
			for _, pair := range m.GetLabel() {
				if pair.GetName() == name {
					return pair.GetValue()
				}
			}
			return ""
		}) {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + m.GetUntyped().GetValue()
		}
	}
	return sum
}

// gauge is the sum over replicas; the larger one of the two looks.
func (w window) gauge(metric string) float64 {
	return max(sumOf(w.before, metric), sumOf(w.after, metric))
}

func sumOf(scrapes []scrape, metric string) float64 {
	var sum float64
	for _, s := range scrapes {
		sum += s.total(metric, every)
	}
	return sum
}

// counted is by how much counters grew in the window, over all replicas. Those of a
// process that began anew count from 0.
func (w window) counted(metric string, counts matching) float64 {
	var sum float64
	for _, after := range w.after {
		for _, before := range w.before {
			if before.replica != after.replica {
				continue
			}
			now, then := after.total(metric, counts), before.total(metric, counts)
			if start := "process_start_time_seconds"; now < then || after.total(start, every) > before.total(start, every) {
				then = 0
			}
			sum += now - then
		}
	}
	return sum
}
