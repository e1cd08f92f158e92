package broker_test

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// Without Config.MutualTLS, the transport that unregisters is like Config.Transport and
// shows the device's certificate, whatever certificate the program shows elsewhere.
func TestUnregisterByTheConfiguredClient(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*http.Transport){
		"plain": func(*http.Transport) {},
		"a certificate of its own": func(tr *http.Transport) {
			tr.TLSClientConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &tls.Certificate{}, nil }
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, withMemory)
			tr := w.srv.HTTPTransport()
			t.Cleanup(tr.CloseIdleConnections)
			change(tr)
			w.cfg.Transport, w.cfg.MutualTLS = &http.Client{Transport: tr}, nil
			w.b = w.open()
			w.join()
			require.Len(t, w.srv.Devices(), 1)
			require.NoError(t, w.b.UnregisterDevice(t.Context()))
			require.Empty(t, w.srv.Devices())
		})
	}
}

// A transport that cannot be given a certificate is refused before anything is
// deleted: the device stays, and so does the Hello key.
func TestUnregisterWithoutClientCertificate(t *testing.T) {
	t.Parallel()
	for name, transport := range map[string]func(*http.Transport) http.RoundTripper{
		"another Transport":    nil,
		"another RoundTripper": func(tr *http.Transport) http.RoundTripper { return struct{ http.RoundTripper }{tr} },
		"a dialer that does TLS by itself": func(tr *http.Transport) http.RoundTripper {
			conf := tr.TLSClientConfig
			tr.DialTLSContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
				c, err := tr.DialContext(ctx, network, addr)
				if err != nil {
					return nil, err
				}
				conf := conf.Clone()
				conf.ServerName, _, _ = net.SplitHostPort(addr)
				return tls.Client(c, conf), nil
			}
			return tr
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, withMemory)
			tr := w.srv.HTTPTransport()
			t.Cleanup(tr.CloseIdleConnections)
			w.cfg.MutualTLS = nil
			if transport != nil {
				w.cfg.Transport = &http.Client{Transport: transport(tr)}
			}
			softwareHello(w)
			w.join()
			acct := w.hello()
			require.ErrorContains(t, w.b.UnregisterDevice(t.Context()), "set Config.MutualTLS")
			require.Len(t, w.srv.Devices(), 1)
			require.Len(t, w.helloKeys(alice), 1)
			_, err := w.b.Unlock(t.Context(), acct, rightPIN)
			require.NoError(t, err)
		})
	}
}

// A transport without a configuration of its own for TLS is given one.
func TestUnregisterByABareTransport(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withMemory)
	w.join()
	w.cfg.Transport, w.cfg.MutualTLS = &http.Client{Transport: &http.Transport{DialContext: w.srv.HTTPTransport().DialContext}}, nil
	w.reopen()
	require.ErrorContains(t, w.b.UnregisterDevice(t.Context()), "certificate", "which does not know the server's")
	require.Len(t, w.srv.Devices(), 1)
}
