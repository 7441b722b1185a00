package test

import (
	_ "github.com/diskfs/go-diskfs/filesystem/iso9660"
	_ "github.com/go-logr/logr"
	_ "github.com/kdomanski/iso9660"
	_ "github.com/onsi/ginkgo/v2"
	_ "github.com/onsi/gomega"
	_ "golang.org/x/term"
	_ "google.golang.org/grpc"
	_ "k8s.io/api/core/v1"
	_ "k8s.io/client-go/kubernetes"
	_ "sigs.k8s.io/cluster-api/cmd/clusterctl/client"
	_ "sigs.k8s.io/cluster-api/test/e2e"
	_ "sigs.k8s.io/cluster-api/test/framework"
	_ "sigs.k8s.io/cluster-api/test/framework/clusterctl"
	_ "sigs.k8s.io/cluster-api/test/infrastructure/inmemory/pkg/cloud/api/v1alpha1"
	_ "sigs.k8s.io/cluster-api/test/infrastructure/inmemory/pkg/runtime"
	_ "sigs.k8s.io/cluster-api/test/infrastructure/inmemory/pkg/server"
	_ "sigs.k8s.io/cluster-api/test/infrastructure/inmemory/pkg/server/api"
	_ "sigs.k8s.io/cluster-api/test/infrastructure/inmemory/pkg/server/etcd"
	_ "sigs.k8s.io/controller-runtime"
	_ "sigs.k8s.io/yaml"
)
