//go:build tools

// Package etcd pins the etcd server the harness builds; it is never compiled.
package etcd

import _ "go.etcd.io/etcd/server/v3"
