package chromium

import (
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
)

// A user who quits the browser has canceled, also if a command to it is what notices
// that it is gone.
func TestQuitDuringACommand(t *testing.T) {
	fromBrowser, silent := io.Pipe()
	commands, toBrowser := io.Pipe()
	require.NoError(t, commands.Close())
	s := &signIn{window: &window{conn: newConn(toBrowser, fromBrowser)}, prompter: &Prompter{}}
	_, err := s.run(t.Context())
	require.ErrorIs(t, err, broker.ErrUserCanceled)
	require.NoError(t, silent.Close())
}
