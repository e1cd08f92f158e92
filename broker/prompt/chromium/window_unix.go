//go:build unix

package chromium

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

const (
	// pipes says that a child can be given the two pipes.
	pipes = true
	// killDelay is how long the browser may take to end by itself.
	killDelay = 2 * time.Second
)

// A window is a running browser and the pipe to it.
type window struct {
	*conn
	cmd   *exec.Cmd
	files []*os.File
	once  sync.Once
	ended chan struct{}
}

// openWindow starts the browser. It reads the protocol from descriptor 3 and
// writes to descriptor 4. It ends when ctx does.
func openWindow(ctx context.Context, program string, args []string) (*window, error) {
	in, toBrowser, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("chromium: %w", err)
	}
	fromBrowser, out, err := os.Pipe()
	if err != nil {
		in.Close()
		toBrowser.Close()
		return nil, fmt.Errorf("chromium: %w", err)
	}
	cmd := exec.Command(program, args...)
	cmd.ExtraFiles = []*os.File{in, out}
	cmd.SysProcAttr = group() // its helpers die with it
	err = cmd.Start()
	in.Close()
	out.Close()
	if err != nil {
		toBrowser.Close()
		fromBrowser.Close()
		return nil, fmt.Errorf("chromium: starting the browser: %w", err)
	}
	w := &window{
		conn:  newConn(toBrowser, fromBrowser),
		cmd:   cmd,
		files: []*os.File{toBrowser, fromBrowser},
		ended: make(chan struct{}),
	}
	go func() {
		_ = cmd.Wait()
		close(w.ended)
	}()
	context.AfterFunc(ctx, w.close)
	return w, nil
}

// close ends the browser with all its processes and waits for it.
func (w *window) close() {
	w.once.Do(func() {
		close(w.stop)
		// A browser that does not read must not delay its own end.
		_ = w.files[0].SetWriteDeadline(time.Now().Add(killDelay))
		_ = w.send(message{ID: lastID, Method: "Browser.close"})
		for _, f := range w.files {
			f.Close() // the browser ends when its pipe does
		}
		select {
		case <-w.ended:
		case <-time.After(killDelay):
		}
		_ = syscall.Kill(-w.cmd.Process.Pid, syscall.SIGKILL)
		<-w.ended
	})
}
