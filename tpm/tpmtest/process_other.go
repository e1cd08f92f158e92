//go:build !linux

package tpmtest

import "os/exec"

func runWithParent(cmd *exec.Cmd, started chan<- error, ended chan<- struct{}) {
	err := cmd.Start()
	started <- err
	if err == nil {
		_ = cmd.Wait() // it is ended by a signal
	}
	close(ended)
}
