// Package machine describes the computer that something was measured on.
package machine

import (
	"fmt"
	"os"
	"regexp"
	"runtime"
	"strings"
)

// Describe names the processor, where the system tells, how many there are, the
// platform and the version of Go.
func Describe() string {
	m := fmt.Sprintf("%d processors, %s/%s, %s", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version())
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if model := regexp.MustCompile(`model name\s*: (.*)`).FindSubmatch(info); model != nil {
			m = string(model[1]) + ", " + m
		}
	}
	return m
}

// Load returns the load averages over one and five minutes: how busy the machine
// is otherwise.
func Load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	f := strings.Fields(string(text))
	return f[0] + " " + f[1]
}
