package broker_test

import (
	"crypto/tls"
	"net/http"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/entratest"
)

func (c *counter) mutualTLS(srv *entratest.Server) func(tls.Certificate) broker.Transport {
	return func(cert tls.Certificate) broker.Transport {
		t := srv.HTTPTransport()
		t.TLSClientConfig.Certificates = []tls.Certificate{cert}
		t.TLSClientConfig.MaxVersion = tls.VersionTLS12
		return &http.Client{Transport: t}
	}
}
