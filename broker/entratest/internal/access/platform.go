package access

import (
	"strings"

	"github.com/prtbroker/prtbroker/policy"
)

// PlatformOf derives the platform from the User-Agent alone, as Conditional
// Access does.
func PlatformOf(agent string) policy.Platform {
	agent = strings.ToLower(agent)
	for _, p := range []struct {
		mark     string
		platform policy.Platform
	}{
		{"windows phone", policy.PlatformWindowsPhone}, {"android", policy.PlatformAndroid},
		{"iphone", policy.PlatformIOS}, {"ipad", policy.PlatformIOS}, {"ios", policy.PlatformIOS},
		{"windows", policy.PlatformWindows}, {"macintosh", policy.PlatformMacOS}, {"mac os", policy.PlatformMacOS}, {"macos", policy.PlatformMacOS},
		{"cros", policy.PlatformUnknown}, {"linux", policy.PlatformLinux}, {"ubuntu", policy.PlatformLinux}, {"x11", policy.PlatformLinux},
	} {
		if strings.Contains(agent, p.mark) {
			return p.platform
		}
	}
	return policy.PlatformUnknown
}

var PlatformNames = map[policy.Platform]string{
	policy.PlatformAndroid: "android", policy.PlatformIOS: "iOS", policy.PlatformWindows: "windows", policy.PlatformWindowsPhone: "windowsPhone",
	policy.PlatformMacOS: "macOS", policy.PlatformLinux: "linux",
}
