package main

import (
	"bytes"
	"log/slog"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/tpm/tpmtest"
)

// The table holds on every kind of key store: methodTable itself compares each
// answer with what the documentation says.
func TestMethods(t *testing.T) {
	for _, kind := range []string{"software", "swtpm", "simulator"} {
		t.Run(kind, func(t *testing.T) {
			switch kind {
			case "swtpm":
				requireSwtpm(t)
			case "simulator":
				_ = tpmtest.Simulator(t).Close() // or the test is skipped; a process has one
			}
			code, out, errs := runQuickstart(t, "-tpm", kind, "-methods")
			require.Zero(t, code, errs)
			require.Empty(t, errs)
			for _, r := range rows() {
				line := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(r.name) + ` .*$`).FindString(out)
				require.NotEmpty(t, line, r.name)
				require.Equal(t, len(demands), strings.Count(line, string(silent))+strings.Count(line, string(asked))+strings.Count(line, string(refused)), line)
			}
			for _, secret := range []string{password, totpSecret, helloPIN} {
				require.NotContains(t, out, secret)
			}
		})
	}
}

// A row that does not hold ends the program.
func TestMethodsAreJudged(t *testing.T) {
	require.Len(t, demands, 8)
	for _, r := range rows() {
		require.Len(t, r.want, len(demands), r.name)
		require.Equal(t, r.want[0], r.want[1], "%s: the grant and the built-in strength are the same thing", r.name)
	}
	m := &methods{rows: rows()[:1], story: &story{out: new(bytes.Buffer), o: options{logger: slog.New(slog.DiscardHandler)}}}
	m.rows[0].got = []answer{silent, asked, asked, asked, asked, silent, asked, asked}
	require.ErrorContains(t, m.judge(), "password: documented is")
}
