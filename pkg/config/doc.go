// Package config turns flags, environment, file and ConfigMap into typed, validated Settings.
//
// It guarantees: one table (Table) is the only place where a setting is declared; Load reports every error at once and never
// panics, whatever the bytes; with any error the caller gets no half-applied values; warnings never fail validation. Settings
// that are live take a ConfigMap over everything else, so that they can be tuned while the manager runs; settings that need a
// restart take flags over environment over ConfigMap.
//
// Non-goals: it reads no file, watches nothing and knows no Kubernetes: its sources are bytes, maps and a flag set. Settings
// hold no secrets.
//
// Locking: none; all values are plain, and the table is never written to after start-up.
package config
