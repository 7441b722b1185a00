package authority

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"testing"
	"time"
)

// intermediate is an authority that a root has signed.
func intermediate(t *testing.T, root *Authority, now time.Time) KeyPair {
	t.Helper()
	return signed(t, root, &x509.Certificate{SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "of the organisation"}, NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(1, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
}

func servingPair(t *testing.T, a *Authority, now time.Time) KeyPair {
	t.Helper()
	return signed(t, a, &x509.Certificate{SerialNumber: big.NewInt(8), Subject: pkix.Name{CommonName: "media"}, NotBefore: now, NotAfter: now.AddDate(1, 0, 0), BasicConstraintsValid: true})
}

func signed(t *testing.T, by *Authority, template *x509.Certificate) KeyPair {
	t.Helper()
	key, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by.cert, key.Public(), by.key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return KeyPair{Certificate: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), Key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), Roots: by.Roots()}
}
