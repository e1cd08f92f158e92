// Msal gets one token silently from the file cache of MSAL Go's extensions, and
// prints it: the smallest program that does.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"

	"github.com/AzureAD/microsoft-authentication-extensions-for-go/cache"
	"github.com/AzureAD/microsoft-authentication-extensions-for-go/cache/accessor/file"
	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/public"
)

func main() {
	var (
		client    = flag.String("client", "", "the client id")
		scope     = flag.String("scope", "", "the scope")
		authority = flag.String("authority", "", "the authority")
		path      = flag.String("cache", "", "the file of the cache")
	)
	flag.Parse()
	token, err := silent(context.Background(), *client, *scope, *authority, *path)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(token)
}

func silent(ctx context.Context, client, scope, authority, path string) (string, error) {
	storage, err := file.New(path)
	if err != nil {
		return "", err
	}
	kept, err := cache.New(storage, path+".timestamp")
	if err != nil {
		return "", err
	}
	c, err := public.New(client, public.WithAuthority(authority), public.WithInstanceDiscovery(false), public.WithCache(kept))
	if err != nil {
		return "", err
	}
	accounts, err := c.Accounts(ctx)
	if err != nil {
		return "", err
	}
	if len(accounts) != 1 {
		return "", fmt.Errorf("%d accounts in %s", len(accounts), path)
	}
	res, err := c.AcquireTokenSilent(ctx, []string{scope}, public.WithSilentAccount(accounts[0]))
	return res.AccessToken, err
}
