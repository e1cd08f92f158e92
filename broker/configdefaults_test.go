package broker

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/internal/sts"
	"github.com/prtbroker/prtbroker/broker/store"
)

// What a configuration does not say is filled in.
func TestConfigDefaults(t *testing.T) {
	t.Parallel()
	c := Config{Tenant: "Contoso.Example"}
	c.fill()
	require.Equal(t, "contoso.example", c.Tenant)
	require.NotNil(t, c.Store)
	require.IsType(t, &http.Client{}, c.Transport)
	require.NotNil(t, c.Transport.(*http.Client).Transport, "one with limits of its own")
	require.Equal(t, sts.DefaultUserAgent(), c.UserAgent)
	require.False(t, c.Logger.Enabled(t.Context(), slog.LevelError))
	require.NotNil(t, c.Now)
	require.NotNil(t, c.Rand)
	require.Equal(t, osTypes[runtime.GOOS], c.Device.Type)
	host, err := os.Hostname()
	require.NoError(t, err)
	require.Equal(t, host, c.Device.DisplayName)
	require.NotEmpty(t, c.Device.OSVersion)
}

// What a configuration says stays.
func TestConfigIsKept(t *testing.T) {
	t.Parallel()
	st, now := &store.Memory{}, time.Unix(1, 0)
	c := Config{
		Store: st, Transport: noTransport{}, UserAgent: "an agent", Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Now: func() time.Time { return now }, Rand: strings.NewReader("random"),
		Device: DeviceInfo{DisplayName: "pc-1", Type: "a type", OSVersion: "a version"},
	}
	logger, random := c.Logger, c.Rand
	c.fill()
	require.Same(t, st, c.Store)
	require.Equal(t, noTransport{}, c.Transport)
	require.Equal(t, "an agent", c.UserAgent)
	require.Same(t, logger, c.Logger)
	require.Equal(t, now, c.Now())
	require.Same(t, random, c.Rand)
	require.Equal(t, DeviceInfo{DisplayName: "pc-1", Type: "a type", OSVersion: "a version"}, c.Device)
}

type noTransport struct{}

func (noTransport) Do(r *http.Request) (*http.Response, error) { return nil, context.Canceled }

// The version of the operating system is what the distribution calls itself.
func TestOSVersion(t *testing.T) {
	t.Parallel()
	f, err := os.Open("/etc/os-release")
	if err != nil {
		require.Equal(t, runtime.GOOS, osVersion())
		return
	}
	defer f.Close()
	require.Equal(t, prettyName(f), osVersion())
	require.NotEqual(t, runtime.GOOS, osVersion())
}
