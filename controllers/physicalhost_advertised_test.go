package controllers

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/cluster-api/util/conditions"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/controllers/media"
)

// covering is a certificate of which only is known what it covers: by the URL, why clients do not trust it.
type covering map[string]error

func (covering) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return nil, errors.ErrUnsupported
}
func (covering) Authority() []byte                    { return nil }
func (c covering) Covers(url string) error            { return c[url] }
func (covering) VerifyPeer([]*x509.Certificate) error { return errors.ErrUnsupported }
func (covering) Run(context.Context) error            { return errors.ErrUnsupported }

// TestHostsTellOfACertificateThatDoesNotDo: each in its own words, and no more once it does.
func TestHostsTellOfACertificateThatDoesNotDo(t *testing.T) {
	good := covering{"https://192.0.2.5:8090": nil, "https://192.0.2.6": errors.New("it is not for 192.0.2.6"), "http://192.0.2.6": nil}
	for _, c := range []struct {
		certificate media.Certificate
		own, want   string
	}{
		{good, "", ""}, {good, "https://192.0.2.6", "is not for 192.0.2.6"}, {good, "http://192.0.2.6", ""}, {nil, "", ""},
		{covering{"https://192.0.2.5:8090": errors.New("there is no ca.crt beside it")}, "", "no ca.crt"},
	} {
		host := newHost()
		host.Spec.PhoneHomeURL = c.own
		r := newRig(t, host, newSecret("bmc"))
		r.host.MediaURL, r.host.PhoneHomeURL, r.host.Certificate = "https://192.0.2.5:8090", "https://192.0.2.5:8090", c.certificate
		r.look(3)
		told := conditions.Get(r.getHost(), v1beta1.AdvertisedURLsTrustedCondition)
		if c.want == "" {
			if told != nil {
				t.Errorf("%q: %+v", c.own, told)
			}
			continue
		}
		if told == nil || told.Status != metav1.ConditionFalse || !strings.Contains(told.Message, c.want) {
			t.Errorf("%q: %+v, want %q", c.own, told, c.want)
		}
		r.host.Certificate = nil
		r.look(1)
		if told := conditions.Get(r.getHost(), v1beta1.AdvertisedURLsTrustedCondition); told.Status != metav1.ConditionTrue {
			t.Errorf("%q, mended: %+v", c.own, told)
		}
	}
}
