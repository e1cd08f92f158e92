package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/prtbroker/prtbroker/internal/atomicfile"
)

// The extensions that may start the host, by their public ids.
var (
	chromeOrigins  = []string{"chrome-extension://jlnfnnolkbjieggibinobhkjdfbpcohn/"} // linux-entra-sso
	mozillaIDs     = []string{"linux-entra-sso@example.com", "@linux-entra-sso.tb"}
	browserOrigins = []string{ // Microsoft Single Sign On, for Chrome and for Edge
		"chrome-extension://ppnbnpeolgkicgegkbkbjmhlideopiji/", "chrome-extension://ndjpnladcallmjemlbaebfadecfhkepb/",
	}
)

// directories are where browsers look for manifests, below the home directory.
var directories = []struct {
	path    string
	mozilla bool
}{
	{".config/google-chrome/NativeMessagingHosts", false},
	{".config/chromium/NativeMessagingHosts", false},
	{".config/microsoft-edge/NativeMessagingHosts", false},
	{".config/BraveSoftware/Brave-Browser/NativeMessagingHosts", false},
	{".config/vivaldi/NativeMessagingHosts", false},
	{".mozilla/native-messaging-hosts", true}, // Firefox and Thunderbird
}

// manifest is a native-messaging manifest.
type manifest struct {
	Name        string   `json:"name"`
	Description string   `json:"description"`
	Path        string   `json:"path"`
	Type        string   `json:"type"`
	Origins     []string `json:"allowed_origins,omitempty"`
	Extensions  []string `json:"allowed_extensions,omitempty"`
}

// install writes the manifests for this user.
func install(out io.Writer, getenv func(string) string) error {
	home := getenv("HOME")
	if !filepath.IsAbs(home) {
		return errors.New("-install: HOME is not set")
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	for _, d := range directories {
		all := []manifest{{Name: "linux_entra_sso", Origins: chromeOrigins}, {Name: "com.microsoft.browsercore", Origins: browserOrigins}}
		if d.mozilla {
			all = []manifest{{Name: "linux_entra_sso", Extensions: mozillaIDs}}
		}
		dir := filepath.Join(home, filepath.FromSlash(d.path))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		for _, m := range all {
			m.Description, m.Path, m.Type = "Single sign-on by the broker on the session bus", program, "stdio"
			text, err := json.MarshalIndent(m, "", "  ")
			if err != nil {
				return err
			}
			path := filepath.Join(dir, m.Name+".json")
			if err := atomicfile.Write(path, append(text, '\n'), 0o644); err != nil {
				return err
			}
			fmt.Fprintln(out, "wrote", path)
		}
	}
	return nil
}
