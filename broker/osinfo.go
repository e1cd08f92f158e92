package broker

import (
	"bufio"
	"io"
	"os"
	"runtime"
	"strings"
)

// osTypes are the device types that registrations name.
var osTypes = map[string]string{"linux": "Linux", "windows": "Windows", "darwin": "MacOS", "android": "Android", "ios": "iOS"}

const maxOSRelease = 64 << 10

func (d *DeviceInfo) fill() {
	if d.Type == "" {
		d.Type = osTypes[runtime.GOOS]
	}
	if d.Type == "" {
		d.Type = runtime.GOOS
	}
	if d.DisplayName == "" {
		d.DisplayName, _ = os.Hostname()
	}
	if d.DisplayName == "" {
		d.DisplayName = d.Type
	}
	if d.OSVersion == "" {
		d.OSVersion = osVersion()
	}
}

// osVersion is the name that the distribution gives itself.
func osVersion() string {
	f, err := os.Open("/etc/os-release")
	if err != nil {
		return runtime.GOOS
	}
	defer f.Close()
	return prettyName(io.LimitReader(f, maxOSRelease))
}

func prettyName(r io.Reader) string {
	for s := bufio.NewScanner(r); s.Scan(); {
		if v, ok := strings.CutPrefix(s.Text(), "PRETTY_NAME="); ok {
			if v = strings.Trim(v, `"'`); v != "" {
				return v
			}
		}
	}
	return runtime.GOOS
}
