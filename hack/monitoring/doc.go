// Package monitoring checks what config/prometheus and config/grafana ship, with Prometheus' own code: "make test-alerts" runs
// the unit tests of the alerts through promtool and the tests of this module.
package monitoring
