package broker_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
)

func TestPINRules(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, pin string
		rules     broker.PINRules
		text      string // empty: taken
	}{
		{"six digits", "271828", broker.PINRules{}, ""},
		{"letters too", "hunter2!", broker.PINRules{}, ""},
		{"a space within", "27 18 28", broker.PINRules{}, ""},
		{"127 characters", strings.Repeat("a1", 63) + "b", broker.PINRules{}, ""},
		{"four digits where allowed", "2718", broker.PINRules{MinLength: 4}, ""},
		{"a step that changes", "123455", broker.PINRules{}, ""},
		{"the same letter", "aaaaaa", broker.PINRules{}, ""}, // Windows looks for patterns in digits alone
		{"the first and the last character", "2718 ~", broker.PINRules{}, ""},
		{"with an a", "27182a", broker.PINRules{Letters: true}, ""},
		{"with a z", "27182z", broker.PINRules{Letters: true}, ""},
		{"with an A", "27182A", broker.PINRules{Letters: true}, ""},
		{"with a Z", "27182Z", broker.PINRules{Letters: true}, ""},
		{"empty", "", broker.PINRules{}, "4 to 127"},
		{"three digits", "271", broker.PINRules{MinLength: 4}, "4 to 127"},
		{"five digits", "27182", broker.PINRules{}, "fewer than 6"},
		{"below the rule", "27182818", broker.PINRules{MinLength: 9}, "fewer than 9"},
		{"128 characters", strings.Repeat("a1", 64), broker.PINRules{}, "4 to 127"},
		{"not ASCII", "pässword", broker.PINRules{}, "printable ASCII"},
		{"full-width digits", "２７１８２８", broker.PINRules{}, "printable ASCII"},
		{"a zero byte", "2718\x0028", broker.PINRules{}, "printable ASCII"},
		{"a line feed", "271828\n", broker.PINRules{}, "printable ASCII"},
		{"a delete character", "271828\x7f", broker.PINRules{}, "printable ASCII"},
		{"no letter", "271828", broker.PINRules{Letters: true}, "needs a letter"},
		{"what stands beside the letters", "2718`{@[", broker.PINRules{Letters: true}, "needs a letter"},
		{"one digit", "111111", broker.PINRules{}, "pattern"},
		{"ascending", "123456", broker.PINRules{}, "pattern"},
		{"ascending over nine", "678901", broker.PINRules{}, "pattern"},
		{"by two", "135791", broker.PINRules{}, "pattern"},
		{"descending", "987654", broker.PINRules{}, "pattern"},
		{"by seven", "9630", broker.PINRules{MinLength: 4}, "pattern"},
		{"by four", "1593", broker.PINRules{MinLength: 4}, "pattern"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.cfg.PIN = tt.rules
			softwareHello(w)
			// Neither a device nor an account is there: what the rules take
			// gets that far.
			err := w.b.ProvisionHello(t.Context(), broker.Account{}, broker.PIN(tt.pin))
			if tt.text == "" {
				require.ErrorIs(t, err, broker.ErrDeviceNotRegistered)
				return
			}
			require.ErrorIs(t, err, broker.ErrPINRules)
			require.ErrorContains(t, err, tt.text)
			if len(tt.pin) > 3 {
				require.NotContains(t, err.Error(), tt.pin)
			}
		})
	}
	w := newWorld(t)
	for _, n := range []int{0, 4, 127} {
		w.cfg.PIN.MinLength = n
		w.open()
	}
	for _, n := range []int{-1, 3, 128} {
		w.cfg.PIN.MinLength = n
		_, err := broker.New(t.Context(), w.cfg)
		require.ErrorContains(t, err, "Config.PIN.MinLength")
	}
}
