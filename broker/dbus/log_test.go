package dbus_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/dbus"
	"github.com/prtbroker/prtbroker/broker/dbus/internal/wire"
	"github.com/prtbroker/prtbroker/internal/bustest"
)

// Every call is a line: failures for whoever runs the service, the others for who
// looks closer. What a caller writes is not longer there than a name needs.
func TestHandlerLog(t *testing.T) {
	w := newWorld(t)
	long := strings.Repeat("x", 65)
	tests := []struct {
		name                      string
		level                     slog.Level // of the logger
		method, protocol, request string
		want                      map[string]string // nil: no line
	}{
		{"a call", slog.LevelDebug, wire.GetVersion, wire.Protocol, "{}", map[string]string{"level": "DEBUG", "method": wire.GetVersion}},
		{"a call, not asked for", slog.LevelInfo, wire.GetVersion, wire.Protocol, "{}", nil},
		{"another protocol", slog.LevelDebug, wire.GetVersion, "9.9", "{}", map[string]string{"level": "DEBUG", "method": wire.GetVersion, "protocol": "9.9"}},
		{"a failure", slog.LevelInfo, wire.AcquireSilently, wire.Protocol, "{", map[string]string{"level": "INFO", "method": wire.AcquireSilently, "status": wire.APIContractViolation.String()}},
		{"long words", slog.LevelInfo, long, long, "{}", map[string]string{
			"level": "INFO", "method": long[:64] + "…", "protocol": long[:64] + "…", "status": wire.APIContractViolation.String(),
		}},
		{"words that just fit", slog.LevelInfo, long[:64], long[:64], "{}", map[string]string{
			"level": "INFO", "method": long[:64], "protocol": long[:64], "status": wire.APIContractViolation.String(),
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			w.h.Logger = slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: tt.level}))
			from := self
			from.PID, from.Name = 4711, ":1.42"
			w.h.Handle(t.Context(), from, tt.method, tt.protocol, "", tt.request)
			if tt.want == nil {
				require.Empty(t, out.String())
				return
			}
			var line map[string]any
			require.NoError(t, json.Unmarshal(out.Bytes(), &line))
			require.Equal(t, ":1.42", line["sender"])
			require.EqualValues(t, 4711, line["pid"])
			require.Contains(t, line, "took")
			for _, key := range []string{"level", "method", "protocol", "status"} {
				got, _ := line[key].(string)
				require.Equal(t, tt.want[key], got, key)
			}
			require.Equal(t, tt.want["status"] != "", line["error"] != nil)
		})
	}
}

// panicking is a broker with a fault.
type panicking struct{ dbus.Broker }

func (panicking) Accounts(context.Context) ([]broker.Account, error) { panic("a secret") }

// A fault in one call is that call's: its caller is told, the log says where it was,
// and the service goes on. What the panic says may be a secret.
func TestServiceSurvivesAPanic(t *testing.T) {
	bus := bustest.Start(t)
	w := newWorld(t)
	var mu sync.Mutex
	var out bytes.Buffer
	w.h.Broker = func(dbus.Caller) (dbus.Broker, error) { return panicking{w.b}, nil }
	serve(t, &dbus.Service{Handler: w.h, Address: bus.Address, Logger: slog.New(slog.NewTextHandler(locked{&mu, &out}, nil))})
	c := dial(t, bus)
	refused(t, callMethod(t, c, wire.GetAccounts, `{"clientId":"x"}`), wire.Unexpected, "its log says more")
	require.Nil(t, callMethod(t, c, wire.GetVersion, `{}`).Error)
	mu.Lock()
	defer mu.Unlock()
	require.Contains(t, out.String(), "a call panicked")
	require.Contains(t, out.String(), "method="+wire.GetAccounts)
	require.Contains(t, out.String(), "panicking.Accounts", "the stack")
	require.NotContains(t, out.String(), "a secret")
}

// locked writes one line at a time.
type locked struct {
	mu  *sync.Mutex
	out *bytes.Buffer
}

func (l locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.Write(p)
}
