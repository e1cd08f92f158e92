package broker_test

import (
	"context"
	"errors"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/tpm"
)

// signInAndGetToken is the program of the README, compiled. It needs a TPM and
// a tenant; house.TestReadmePiecesRun runs it where both are emulated.
func signInAndGetToken(ctx context.Context, dir, clientID string, ui broker.Prompter) (string, error) {
	keys := must(tpm.Open(ctx, tpm.Default(), tpm.Config{}))
	b := must(broker.New(ctx, broker.Config{
		Tenant:   "contoso.example",
		App:      broker.App{ClientID: clientID},
		Keys:     keys,
		Store:    must(store.NewFile(dir)),
		Prompter: ui, // shows a page or a code; the library opens nothing
	}))
	must(b.Enroll(ctx, broker.AuthCode{}, broker.EnrollRequest{})) // once: one prompt for device and PRT

	scopes := []string{"https://graph.microsoft.com/User.Read"}
	token, err := b.AcquireTokenSilent(ctx, scopes)
	if errors.Is(err, broker.ErrInteractionRequired) {
		token, err = b.AcquireTokenInteractive(ctx, scopes)
	}
	return token.AccessToken, err
}

var _ = signInAndGetToken

// unlockByPIN is the other program of the README.
func unlockByPIN(ctx context.Context, b *broker.Broker, account broker.Account, pin broker.PIN) error {
	must(struct{}{}, b.ProvisionHello(ctx, account, pin)) // once, within minutes of MFA

	u, err := b.Unlock(ctx, account, pin) // a new PRT; its MFA time is now
	switch {
	case errors.Is(err, broker.ErrWrongPIN): // the cause counts the tries that the TPM leaves
	case errors.Is(err, broker.ErrPINLocked): // wait
	case err == nil && u.Offline: // the TPM confirmed the PIN; the service was not there
	}
	return err
}

var _ = unlockByPIN

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
