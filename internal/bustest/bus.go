// Package bustest starts a private message bus for a test.
package bustest

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// config admits every user of the machine, so that tests can act as another
// user, and starts services from a directory.
const config = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path=SOCKET</listen>
  <servicedir>SERVICES</servicedir>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
    <allow user="*"/>
  </policy>
  <limit name="max_incoming_bytes">1000000000</limit>
  <limit name="max_message_size">1000000000</limit>
  <limit name="reply_timeout">600000</limit>
  <limit name="max_completed_connections">100000</limit>
  <limit name="max_connections_per_user">100000</limit>
  <limit name="max_replies_per_connection">50000</limit>
</busconfig>
`

// A Bus is a dbus-daemon of its own.
type Bus struct {
	// Address is for clients.
	Address string
	// Services is the directory of activation files.
	Services string

	t      testing.TB
	config string
	socket string
	cmd    *exec.Cmd
	done   chan struct{}
}

// Start starts a bus that ends with the test. Where dbus-daemon is not
// installed the test is skipped, or fails when PRTBROKER_REQUIRE_TOOLS is set.
func Start(t testing.TB) *Bus {
	t.Helper()
	if _, err := exec.LookPath("dbus-daemon"); err != nil {
		if os.Getenv("PRTBROKER_REQUIRE_TOOLS") != "" {
			t.Fatal("dbus-daemon is not installed")
		}
		t.Skip("dbus-daemon is not installed")
	}
	// A socket's path must be short, and the path of a test's directory is not.
	dir, err := os.MkdirTemp("", "bus-")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o755)) // for other users of the machine
	b := &Bus{t: t, socket: filepath.Join(dir, "bus"), config: filepath.Join(dir, "bus.conf"), Services: filepath.Join(dir, "services")}
	b.Address = "unix:path=" + b.socket
	require.NoError(t, os.Mkdir(b.Services, 0o755))
	text := strings.NewReplacer("SOCKET", b.socket, "SERVICES", b.Services).Replace(config)
	require.NoError(t, os.WriteFile(b.config, []byte(text), 0o644))
	b.Up()
	t.Cleanup(b.Down)
	return b
}

// Up starts the daemon, or restarts it after Down, at the same address.
func (b *Bus) Up() {
	b.t.Helper()
	_ = os.Remove(b.socket)
	b.cmd = exec.Command("dbus-daemon", "--nofork", "--nosyslog", "--print-address", "--config-file="+b.config)
	b.cmd.Env = append(os.Environ(), "DBUS_SESSION_BUS_ADDRESS=")
	out, err := b.cmd.StdoutPipe()
	require.NoError(b.t, err)
	require.NoError(b.t, b.cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(b.t, err, "dbus-daemon said no address")
	require.Contains(b.t, line, b.socket)
	b.done = make(chan struct{})
	go func(cmd *exec.Cmd, done chan struct{}) {
		// A service that the bus started has the same standard output and may
		// outlive the bus, so do not wait for the end of the output.
		_ = cmd.Wait()
		close(done)
	}(b.cmd, b.done)
}

// Down ends the daemon, and with it every connection.
func (b *Bus) Down() {
	b.Thaw()
	_ = b.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-b.done:
	case <-time.After(time.Minute):
		_ = b.cmd.Process.Kill()
		<-b.done
	}
}

// Env is the environment of programs on the bus.
func (b *Bus) Env() []string {
	return append(os.Environ(), "DBUS_SESSION_BUS_ADDRESS="+b.Address)
}
