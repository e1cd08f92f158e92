package sts

import (
	"context"
	"errors"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"
)

func transient(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Transient()
}

func TestNetworkError(t *testing.T) {
	address := "https://login.microsoftonline.com/common/UserRealm/alice@contoso.example"
	err := networkError(t.Context(), &url.Error{Op: "Get", URL: address, Err: errors.New("connection refused")}, "id")
	require.True(t, transient(err))
	require.NotContains(t, err.Error(), "alice")
	require.Contains(t, err.Error(), "connection refused")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err = networkError(ctx, context.Canceled, "id")
	require.ErrorIs(t, err, context.Canceled)
	require.False(t, transient(err), "the caller's end is no trouble of the network")
}
