package dbus_test

import (
	"slices"
	"testing"
	"time"

	godbus "github.com/godbus/dbus/v5"
	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/dbus/internal/wire"
)

// BenchmarkSilentOverBus is a token from memory over a real bus, and beside it
// the least that a call over the bus costs: an echo, by the same library, with
// messages of the same size. The calls take turns, so that both see the same
// machine. It reports the median of each and the ratio; the goal is 2.
func BenchmarkSilentOverBus(b *testing.B) {
	w, bus, _ := onBus(b)
	server, client := dial(b, bus), dial(b, bus)
	request := silentRequest(graphScope)
	reply := w.h.Handle(b.Context(), self, wire.AcquireSilently, "0.0", "", request)
	require.NoError(b, server.Export(echo{reply}, "/echo", "org.example.Echo"))
	_, err := server.RequestName("org.example.Echo", 0)
	require.NoError(b, err)
	bare := client.Object("org.example.Echo", "/echo")
	var text string
	call := func(o godbus.BusObject, method string) time.Duration {
		start := time.Now()
		if err := o.Call(method, 0, "0.0", "", request).Store(&text); err != nil || text != reply {
			b.Fatalf("%v, %s", err, text)
		}
		return time.Since(start)
	}
	var silent, echoed []time.Duration
	for b.Loop() {
		silent = append(silent, call(object(client), wire.Interface+"."+wire.AcquireSilently))
		echoed = append(echoed, call(bare, "org.example.Echo.Echo"))
	}
	median := func(all []time.Duration) float64 {
		slices.Sort(all)
		return float64(all[len(all)/2].Nanoseconds())
	}
	b.ReportMetric(median(silent), "broker-ns")
	b.ReportMetric(median(echoed), "echo-ns")
	b.ReportMetric(median(silent)/median(echoed), "times-echo")
}

type echo struct{ reply string }

// Echo answers with a reply of the same size as the broker's.
func (e echo) Echo(_, _, _ string) (string, *godbus.Error) { return e.reply, nil }

// BenchmarkHandler is what an answer from memory costs without a bus.
func BenchmarkHandler(b *testing.B) {
	w := newWorld(b)
	request := silentRequest(graphScope)
	w.h.Handle(b.Context(), self, wire.AcquireSilently, "0.0", "", request)
	b.ReportAllocs()
	for b.Loop() {
		w.h.Handle(b.Context(), self, wire.AcquireSilently, "0.0", "", request)
	}
}
