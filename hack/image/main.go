// Command image packs a static binary into a container image, without a daemon and without a base image: one layer with the
// binary, the public root certificates, and a user. It writes one tar file that is an OCI image layout and that
// "docker load" and "ctr images import" take as well. Same inputs, same bytes.
//
//	image -binary bin/manager -name beskar7/controller:v0.1.0 -arch amd64 -out out/image/controller-v0.1.0-amd64.tar
package main

import (
	"bytes"
	"encoding/pem"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

func main() {
	binary := flag.String("binary", "", "static executable for linux")
	name := flag.String("name", "", "repository and tag of the image")
	arch := flag.String("arch", "amd64", "architecture of the executable, as Go names it")
	out := flag.String("out", "", "tar file to write")
	flag.Parse()
	if err := run(*binary, *name, *arch, *out); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func run(binary, name, arch, out string) error {
	if binary == "" || name == "" || out == "" {
		return fmt.Errorf("-binary, -name and -out are needed")
	}
	program, err := os.ReadFile(binary)
	if err != nil {
		return fmt.Errorf("read the executable: %w", err)
	}
	if !bytes.HasPrefix(program, []byte("\x7fELF")) {
		return fmt.Errorf("%s is no executable for linux", binary)
	}
	archive, digest, err := build(Image{Name: name, Architecture: arch, Files: files(program), Config: config()})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return fmt.Errorf("create the output folder: %w", err)
	}
	if err := os.WriteFile(out, archive, 0o644); err != nil {
		return fmt.Errorf("write the image: %w", err)
	}
	fmt.Printf("image: %s %s %s (%d MiB)\n", name, digest, out, len(archive)>>20)
	return nil
}

// The user that the Deployment runs as. Group and home are those of its security context and its cache volume.
const (
	userID  = 1000
	groupID = 2000
	home    = "/home/controller"
)

func files(program []byte) []Entry {
	return []Entry{
		{Path: "etc/", Mode: fs.ModeDir | 0o755},
		{Path: "etc/group", Mode: 0o644, Text: fmt.Appendf(nil, "root:x:0:\ncontroller:x:%d:\n", groupID)},
		{Path: "etc/passwd", Mode: 0o644, Text: fmt.Appendf(nil,
			"root:x:0:0:root:/:/none\ncontroller:x:%d:%d:controller:%s:/none\n", userID, groupID, home)},
		{Path: "etc/ssl/", Mode: fs.ModeDir | 0o755},
		{Path: "etc/ssl/certs/", Mode: fs.ModeDir | 0o755},
		{Path: "etc/ssl/certs/ca-certificates.crt", Mode: 0o644, Text: roots()},
		{Path: "home/", Mode: fs.ModeDir | 0o755},
		{Path: "home/controller/", Mode: fs.ModeDir | 0o755, Owned: true},
		{Path: "manager", Mode: 0o755, Text: program},
		{Path: "tmp/", Mode: fs.ModeDir | fs.ModeSticky | 0o777},
	}
}

func config() RunConfig {
	return RunConfig{
		User:       fmt.Sprintf("%d:%d", userID, groupID),
		Env:        []string{"PATH=/", "HOME=" + home, "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"},
		Entrypoint: []string{"/manager"},
		WorkingDir: "/",
		Labels: map[string]string{
			"org.opencontainers.image.title":    "Beskar7",
			"org.opencontainers.image.licenses": "Apache-2.0",
		},
	}
}

// roots are the public root certificates that hold without further conditions, which a PEM file cannot express.
func roots() []byte {
	var out bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			// Writing to a buffer cannot fail.
			_ = pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate})
		}
	}
	return out.Bytes()
}
