package broker_test

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
)

// Every sentinel has an answer for a login screen, by itself and as an Error
// carries it; one that is added needs a row.
func TestLoginOf(t *testing.T) {
	t.Parallel()
	rows := map[string]struct {
		err  error
		want broker.Login
	}{
		"ErrInteractionRequired": {broker.ErrInteractionRequired, broker.LoginEnroll},
		"ErrPRTRevoked":          {broker.ErrPRTRevoked, broker.LoginEnroll},
		"ErrPRTExpired":          {broker.ErrPRTExpired, broker.LoginEnroll},
		"ErrNoAccount":           {broker.ErrNoAccount, broker.LoginEnroll},
		"ErrSeveralAccounts":     {broker.ErrSeveralAccounts, broker.LoginFailed},
		"ErrBlocked":             {broker.ErrBlocked, broker.LoginDenied},
		"ErrDeviceNotRegistered": {broker.ErrDeviceNotRegistered, broker.LoginEnroll},
		"ErrDeviceAuth":          {broker.ErrDeviceAuth, broker.LoginDenied},
		"ErrDeviceDisabled":      {broker.ErrDeviceDisabled, broker.LoginDenied},
		"ErrDeviceGone":          {broker.ErrDeviceGone, broker.LoginDenied},
		"ErrDeviceNotCompliant":  {broker.ErrDeviceNotCompliant, broker.LoginDenied},
		"ErrBadCredential":       {broker.ErrBadCredential, broker.LoginWrong},
		"ErrWrongPIN":            {broker.ErrWrongPIN, broker.LoginWrong},
		"ErrPINLocked":           {broker.ErrPINLocked, broker.LoginWait},
		"ErrPINRules":            {broker.ErrPINRules, broker.LoginWrong},
		"ErrNoHello":             {broker.ErrNoHello, broker.LoginEnroll},
		"ErrHelloExists":         {broker.ErrHelloExists, broker.LoginFailed},
		"ErrLocked":              {broker.ErrLocked, broker.LoginWrong},
		"ErrOfflineExpired":      {broker.ErrOfflineExpired, broker.LoginLater},
		"ErrUserNotFound":        {broker.ErrUserNotFound, broker.LoginDenied},
		"ErrAccountLocked":       {broker.ErrAccountLocked, broker.LoginWait},
		"ErrUserDisabled":        {broker.ErrUserDisabled, broker.LoginDenied},
		"ErrAppConfig":           {broker.ErrAppConfig, broker.LoginFailed},
		"ErrUserCanceled":        {broker.ErrUserCanceled, broker.LoginWrong},
		"ErrThrottled":           {broker.ErrThrottled, broker.LoginWait},
		"ErrTransient":           {broker.ErrTransient, broker.LoginLater},
		"ErrKeyUnusable":         {broker.ErrKeyUnusable, broker.LoginFailed},
		"ErrStateDamaged":        {broker.ErrStateDamaged, broker.LoginFailed},
		"ErrClosed":              {broker.ErrClosed, broker.LoginLater},
	}
	for name, tt := range rows {
		require.Equal(t, tt.want, broker.LoginOf(tt.err), name)
		require.Equal(t, tt.want, broker.LoginOf(fmt.Errorf("pam: %w", tt.err)), name)
		require.Equal(t, tt.want, broker.LoginOf(broker.NewError(tt.err, "no", errors.New("why"), broker.Error{Op: "unlock"})), name)
	}
	f, err := parser.ParseFile(token.NewFileSet(), "errors.go", nil, 0)
	require.NoError(t, err)
	found := 0
	ast.Inspect(f, func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok && strings.HasPrefix(v.Names[0].Name, "Err") {
			found++
			require.Contains(t, rows, v.Names[0].Name)
		}
		return true
	})
	require.Len(t, rows, found)

	require.Equal(t, broker.LoginGranted, broker.LoginOf(nil))
	require.Equal(t, broker.LoginLater, broker.LoginOf(context.DeadlineExceeded))
	require.Equal(t, broker.LoginFailed, broker.LoginOf(errors.New("anything else")))
}

// What a login screen meets, end to end.
func TestLoginScreen(t *testing.T) {
	t.Parallel()
	l := newLaptop(t, tpms.Swtpm(t), aWeek)
	login := func(pin broker.PIN) broker.Login {
		_, err := l.b.Unlock(t.Context(), broker.Account{PreferredUsername: strings.ToUpper(alice)}, pin)
		return broker.LoginOf(err)
	}
	require.Equal(t, broker.LoginGranted, login(rightPIN))
	require.Equal(t, broker.LoginWrong, login(wrongPIN))
	_, err := l.b.Unlock(t.Context(), broker.Account{PreferredUsername: bob}, rightPIN)
	require.Equal(t, broker.LoginEnroll, broker.LoginOf(err), "bob is not set up here")
	for range 5 {
		_ = login(wrongPIN)
	}
	require.Equal(t, broker.LoginWait, login(rightPIN))
}
