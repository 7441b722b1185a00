package controlplane

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"
)

// TestOpenSSLTellsLeavesFromAuthorities: no certificate has the name of its issuer but the authorities themselves.
func TestOpenSSLTellsLeavesFromAuthorities(t *testing.T) {
	dir := t.TempDir()
	if _, err := newPKI(dir); err != nil {
		t.Fatal(err)
	}
	leaves := 0
	for _, pattern := range []string{"*.crt", "*/*.crt"} {
		files, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			block, _ := pem.Decode(text)
			c, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				t.Fatal(err)
			}
			if c.IsCA {
				continue
			}
			leaves++
			if bytes.Equal(c.RawSubject, c.RawIssuer) {
				t.Errorf("%s is named as its authority: %s", file, c.Subject)
			}
		}
	}
	if leaves < 4 {
		t.Errorf("%d certificates were looked at", leaves)
	}
}
