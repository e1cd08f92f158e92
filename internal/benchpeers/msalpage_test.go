package benchpeers

import (
	"context"
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/public"
	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/tpm"
)

// The two programs of docs/msal-go.md, which compile here as they stand there,
// errors unchecked.
//
//lint:file-ignore SA4006 the page shows how the calls correspond
//lint:file-ignore SA5001 the same
func withMSAL(ctx context.Context, clientID string, scopes []string) (public.AuthResult, error) {
	// MSAL Go
	client, err := public.New(clientID, public.WithAuthority("https://login.microsoftonline.com/contoso.example"))
	accounts, err := client.Accounts(ctx)
	res, err := client.AcquireTokenSilent(ctx, scopes, public.WithSilentAccount(accounts[0]))
	if err != nil { // whatever it was
		res, err = client.AcquireTokenInteractive(ctx, scopes)
	}
	return res, err
}

func withBroker(ctx context.Context, clientID string, scopes []string, keys tpm.KeyStore, records store.Store, prompter broker.Prompter) (broker.AuthResult, error) {
	// broker
	b, err := broker.New(ctx, broker.Config{
		Tenant:   "contoso.example",
		App:      broker.App{ClientID: clientID},
		Keys:     keys,    // tpm.Open, or softkeys.Open where there is no TPM
		Store:    records, // store.NewFile(dir)
		Prompter: prompter,
	})
	defer b.Close()
	res, err := b.AcquireTokenSilent(ctx, scopes)
	if errors.Is(err, broker.ErrInteractionRequired) { // nothing else means that the user must be asked
		var e *broker.Error
		errors.As(err, &e)
		res, err = b.AcquireTokenInteractive(ctx, scopes, broker.WithClaims(e.Claims))
	}
	return res, err
}

func TestMSALPage(t *testing.T) {
	require.NotNil(t, withMSAL)
	require.NotNil(t, withBroker)
	page, err := os.ReadFile("../../docs/msal-go.md")
	require.NoError(t, err)
	source, err := os.ReadFile("msalpage_test.go")
	require.NoError(t, err)
	flat := strings.ReplaceAll(string(source), "\t", "")
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(string(page), -1)
	require.Len(t, blocks, 2)
	for _, b := range blocks {
		require.Contains(t, flat, strings.ReplaceAll(b[1], "\t", ""))
	}
}
