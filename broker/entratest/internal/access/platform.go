package access

import (
	"strings"

	"github.com/prtbroker/prtbroker/policy"
)

// PlatformOf reads the platform from the User-Agent alone, as Conditional
// Access does.
func PlatformOf(agent string) policy.Platform {
	agent = strings.ToLower(agent)
	for _, p := range []struct {
		mark     string
		platform policy.Platform
	}{
		{"windows phone", policy.WindowsPhone}, {"android", policy.Android},
		{"iphone", policy.IOS}, {"ipad", policy.IOS}, {"ios", policy.IOS},
		{"windows", policy.Windows}, {"macintosh", policy.MacOS}, {"mac os", policy.MacOS}, {"macos", policy.MacOS},
		{"cros", policy.UnknownPlatform}, {"linux", policy.Linux}, {"ubuntu", policy.Linux}, {"x11", policy.Linux},
	} {
		if strings.Contains(agent, p.mark) {
			return p.platform
		}
	}
	return policy.UnknownPlatform
}

var PlatformNames = map[policy.Platform]string{
	policy.Android: "android", policy.IOS: "iOS", policy.Windows: "windows", policy.WindowsPhone: "windowsPhone",
	policy.MacOS: "macOS", policy.Linux: "linux",
}
