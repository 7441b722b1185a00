// Package monitoring checks what config/prometheus and config/grafana ship, with Prometheus' own code: "make test-alerts" runs
// the unit tests of the alerts through promtool and the tests of this module.
//
// testdata/run.txt is a recording of a real run: what the manager's processes served, every fifteen seconds, while a demo with two
// replicas and a claim arbiter went by ("make record-metrics" makes it anew). Every query of the dashboard must be answered by it, and every
// series that an alert asks for must be in it; a test fails when its metrics are not those of docs/metrics.md any more. It
// says nothing of failures: what a good run never counts is in a list, and has tests of its own elsewhere.
//
// Not its job: thresholds, which rules_test.yaml holds, and how things look.
package monitoring
