package main

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// BenchmarkTenant is what the program costs a test suite: from its start until it is
// ready, the most memory that it had by then (Linux), and the size of its file, static
// and without symbols.
func BenchmarkTenant(b *testing.B) {
	bin := filepath.Join(b.TempDir(), "tenant")
	build := exec.CommandContext(b.Context(), "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", bin, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(b, err, string(out))
	file, err := os.Stat(bin)
	require.NoError(b, err)
	var ready time.Duration
	var memory float64
	for b.Loop() {
		cmd := exec.CommandContext(b.Context(), bin, "-proxy", "127.0.0.1:0", "-dashboard", "127.0.0.1:0", "-exit-with-parent")
		in, err := cmd.StdinPipe()
		require.NoError(b, err)
		stdout, err := cmd.StdoutPipe()
		require.NoError(b, err)
		began := time.Now()
		require.NoError(b, cmd.Start())
		lines := bufio.NewScanner(stdout)
		for lines.Scan() && lines.Text() != "# ready" {
		}
		require.Equal(b, "# ready", lines.Text())
		ready += time.Since(began)
		memory = peak(cmd.Process.Pid)
		require.NoError(b, in.Close())
		require.NoError(b, cmd.Wait())
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(ready.Seconds()/float64(b.N), "start-sec")
	b.ReportMetric(float64(file.Size()), "binary-bytes")
	b.ReportMetric(memory, "memory-bytes")
}

// peak is the most memory that a process has held, in bytes; 0 where the system does
// not say.
func peak(pid int) float64 {
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			if err != nil {
				return 0
			}
			return kib * 1024
		}
	}
	return 0
}
