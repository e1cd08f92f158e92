// Prtbroker gets one token silently, with keys in software and state in files,
// and prints it: the smallest program that does.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/tpm/softkeys"
)

func main() {
	var (
		client = flag.String("client", "", "the client id")
		scope  = flag.String("scope", "", "the scope")
		master = flag.String("master", "", "the file of the key that protects all others")
		state  = flag.String("state", "", "the directory of the state")
		keep   = flag.Bool("keep", false, "keep tokens for the next process")
		addr   = flag.String("addr", "", "where the service listens")
		ca     = flag.String("ca", "", "the file of its certificate authority")
	)
	flag.Parse()
	token, err := silent(context.Background(), *client, *scope, *master, *state, *addr, *ca, *keep)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(token)
}

func silent(ctx context.Context, client, scope, master, state, addr, ca string, keep bool) (string, error) {
	keys, err := softkeys.Open(softkeys.File(master))
	if err != nil {
		return "", err
	}
	defer keys.Close()
	files, err := store.NewFile(state)
	if err != nil {
		return "", err
	}
	wire, err := transport(addr, ca)
	if err != nil {
		return "", err
	}
	b, err := broker.New(ctx, broker.Config{
		Tenant: "contoso.example", App: broker.App{ClientID: client}, Keys: keys, Store: files, KeepTokens: keep, Transport: wire,
	})
	if err != nil {
		return "", err
	}
	defer b.Close()
	res, err := b.AcquireTokenSilent(ctx, []string{scope})
	return res.AccessToken, err
}

// transport leads every host to the emulator.
func transport(addr, ca string) (*http.Client, error) {
	pem, err := os.ReadFile(ca)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, addr)
		},
	}}, nil
}
