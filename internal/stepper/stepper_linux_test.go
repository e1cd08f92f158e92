//go:build amd64 || arm64

package stepper_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/internal/stepper"
)

const childEnv = "PRTBROKER_TEST_STEPPED"

func TestMain(m *testing.M) {
	if path := os.Getenv(childEnv); path != "" {
		if err := write(path); err != nil {
			panic(err)
		}
		return
	}
	os.Exit(m.Run())
}

// write is the program.
func write(path string) error {
	if err := stepper.Enter(); err != nil {
		return err
	}
	if err := stepper.Mark(7); err != nil {
		return err
	}
	f, err := os.Create(path + ".new")
	if err != nil {
		return err
	}
	_, err = f.WriteString("text")
	return errors.Join(err, f.Sync(), f.Close(), os.Rename(f.Name(), path), os.Remove(path))
}

// Each call is seen before it happens, and none happens after the program was
// killed in its place.
func TestStepByStep(t *testing.T) {
	run := func(last string) (names []string, path string, err error) {
		path = filepath.Join(t.TempDir(), "file")
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childEnv+"="+path)
		cmd.Stderr = os.Stderr
		marked := false
		err = stepper.Run(cmd, func(c stepper.Call) bool {
			if c.Mark != 0 {
				require.Equal(t, 7, c.Mark)
				marked = true
				return true
			}
			if !marked {
				return true // the runtime
			}
			names = append(names, c.Name)
			return c.Name != last
		})
		return names, path, err
	}
	has := func(path string) bool {
		_, err := os.Stat(path)
		return err == nil
	}
	names, path, err := run("")
	require.NoError(t, err)
	require.Subset(t, names, []string{"openat", "write", "fsync", "renameat", "unlinkat"})
	require.False(t, has(path))

	for _, tt := range []struct {
		last             string
		unnamed, renamed bool
	}{{"openat", false, false}, {"fsync", true, false}, {"renameat", true, false}, {"unlinkat", false, true}} {
		names, path, err = run(tt.last)
		require.ErrorIs(t, err, stepper.ErrKilled, tt.last)
		require.Equal(t, tt.last, names[len(names)-1])
		require.Equal(t, tt.unnamed, has(path+".new"), tt.last)
		require.Equal(t, tt.renamed, has(path), tt.last)
	}
}

func TestProgramThatDoesNotEnter(t *testing.T) {
	err := stepper.Run(exec.Command("true"), func(stepper.Call) bool { return true })
	require.ErrorContains(t, err, "ended before it called Enter")
}
