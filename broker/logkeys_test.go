package broker_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"os"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/entratest"
)

// The keys of log attributes are those that Config.Logger promises.
func TestLogKeys(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("config.go")
	require.NoError(t, err)
	list := regexp.MustCompile(`(?s)keys are fixed: (.*?)\.\n`).FindSubmatch(doc)
	require.NotNil(t, list)
	promised := map[string]bool{"time": true, "level": true, "msg": true}
	for _, k := range regexp.MustCompile(`[a-z_]{3,}`).FindAllString(string(list[1]), -1) {
		promised[k] = true
	}

	var out bytes.Buffer
	w := newWorld(t, withMemory, withOptions(func(o *entratest.Options) { o.ReplicationLag = time.Minute }))
	w.cfg.Logger = slog.New(slog.NewJSONHandler(&out, nil))
	w.b = w.open()
	w.join()
	acct := w.signIn()
	first := w.silent(graph, broker.WithCAE())
	w.clock.Advance(13 * time.Hour)
	remove := w.srv.AddFault(entratest.Fault{Kind: entratest.Status, Times: -1})
	w.silent(graph, broker.WithCAE())
	broker.WaitBackground(w.b)
	remove()
	w.clock.Advance(time.Hour)
	require.NoError(t, w.b.RenewPRT(t.Context(), first.Account))
	require.NoError(t, w.b.RemoveAccount(t.Context(), acct))
	require.NoError(t, w.b.UnregisterDevice(t.Context()))
	require.NoError(t, w.b.Close())

	lines := 0
	for line := range bytes.Lines(out.Bytes()) {
		var entry map[string]any
		require.NoError(t, json.Unmarshal(line, &entry))
		for k := range entry {
			require.Truef(t, promised[k], "key %q in %s", k, line)
		}
		lines++
	}
	require.Greater(t, lines, 5)
}
