package tpmtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prtbroker/prtbroker/tpm"
)

// An Emulator is a software TPM.
type Emulator struct {
	beside *beside
	reset  func() error
	wipe   func() error
	close  func() error
	keys   *pooledTPM // nil when it is not of a pool
	socket string     // empty: the simulator
}

// Opener opens connections to the emulator, for [tpm.Open].
func (e *Emulator) Opener() tpm.Opener { return e.beside.opener() }

// Socket returns the socket of a swtpm, for another process ([tpm.Swtpm]); empty for
// the simulator. A swtpm serves one connection at a time.
func (e *Emulator) Socket() string { return e.socket }

// Reset restarts the emulator with its state. For swtpm this is a power loss:
// the process is killed. The simulator shuts down in order.
func (e *Emulator) Reset() error {
	defer e.beside.gone()
	return e.reset()
}

// Wipe replaces the emulator with another TPM at the same place: other seeds,
// no persistent objects.
func (e *Emulator) Wipe() error {
	defer e.beside.gone()
	e.keys = nil
	return e.wipe()
}

// Close ends the emulator.
func (e *Emulator) Close() error { return e.close() }

// ErrNoSwtpm means that the program swtpm is not installed.
var ErrNoSwtpm = errors.New("tpmtest: swtpm is not installed (apt-get install swtpm)")

// startTimeout bounds how long swtpm takes to listen; 3 ms is usual.
const startTimeout = time.Minute

// StartSwtpm starts swtpm as a child process on the state in stateDir, which is
// made when missing. The process ends with Close, with ctx, and with this
// process. Programs other than tests use it to run on a machine without a TPM.
//
// In a bubble of testing/synctest, use a TPM that was started outside of it: a
// goroutine waits for the process to end, and would keep the bubble's clock still.
func StartSwtpm(ctx context.Context, stateDir string) (*Emulator, error) {
	program, err := exec.LookPath("swtpm")
	if err != nil {
		return nil, ErrNoSwtpm
	}
	// With a relative path swtpm enters failure mode.
	state, err := filepath.Abs(stateDir)
	if err != nil {
		return nil, fmt.Errorf("tpmtest: %w", err)
	}
	if strings.Contains(state, ",") {
		return nil, fmt.Errorf("tpmtest: swtpm does not accept a comma in a path: %s", state)
	}
	if err := os.MkdirAll(state, 0o700); err != nil {
		return nil, fmt.Errorf("tpmtest: %w", err)
	}
	// A socket's path has at most 107 bytes; a state directory may be deeper.
	run, err := os.MkdirTemp("", "swtpm")
	if err != nil {
		return nil, fmt.Errorf("tpmtest: %w", err)
	}
	p := &process{ctx: ctx, program: program, state: state, socket: filepath.Join(run, "sock")}
	if err := p.start(); err != nil {
		_ = os.RemoveAll(run)
		return nil, err
	}
	return &Emulator{
		socket: p.socket,
		beside: &beside{inner: tpm.Swtpm(p.socket)},
		reset: func() error {
			p.kill()
			return p.start()
		},
		wipe: func() error {
			p.kill()
			if err := os.RemoveAll(state); err != nil {
				return err
			}
			if err := os.MkdirAll(state, 0o700); err != nil {
				return err
			}
			return p.start()
		},
		close: func() error {
			p.kill()
			return os.RemoveAll(run)
		},
	}, nil
}

// process is a running swtpm.
type process struct {
	ctx                    context.Context
	program, state, socket string
	cmd                    *exec.Cmd
	ended                  chan struct{} // closed when cmd has ended
}

func (p *process) start() error {
	if err := os.Remove(p.socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("tpmtest: %w", err)
	}
	cmd := exec.CommandContext(p.ctx, p.program, "socket", "--tpm2",
		"--tpmstate", "dir="+p.state,
		"--server", "type=unixio,path="+p.socket,
		"--flags", "not-need-init,startup-clear")
	ended := make(chan struct{})
	started := make(chan error)
	go runWithParent(cmd, started, ended)
	if err := <-started; err != nil {
		return fmt.Errorf("tpmtest: %w", err)
	}
	p.cmd, p.ended = cmd, ended
	if err := p.waitReady(); err != nil {
		p.kill()
		return err
	}
	return nil
}

func (p *process) waitReady() error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	timeout := time.NewTimer(startTimeout)
	defer timeout.Stop()
	for {
		conn, err := net.Dial("unix", p.socket)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-tick.C:
		case <-p.ended:
			return fmt.Errorf("tpmtest: swtpm exited at once: %v", p.cmd.ProcessState)
		case <-timeout.C:
			return fmt.Errorf("tpmtest: swtpm does not listen: %w", err)
		}
	}
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.ended
}

// Swtpm starts swtpm with a fresh state for the time of the test. Where it is
// not installed the test is skipped, or fails when PRTBROKER_REQUIRE_TPM=1.
func Swtpm(t testing.TB) *Emulator {
	t.Helper()
	return startSwtpm(t, func(string) error { return nil })
}

// startSwtpm starts swtpm on a directory that prepare may fill before.
func startSwtpm(t testing.TB, prepare func(dir string) error) *Emulator {
	t.Helper()
	// Not t.TempDir, which has the test's name in it.
	state, err := os.MkdirTemp("", "swtpm-state")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(state) })
	if err := prepare(state); err != nil {
		t.Fatal(err)
	}
	e, err := StartSwtpm(context.Background(), state)
	if errors.Is(err, ErrNoSwtpm) {
		missing(t, err.Error())
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e
}

func missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("PRTBROKER_REQUIRE_TPM") == "1" {
		t.Fatal(what)
	}
	t.Skip(what)
}
