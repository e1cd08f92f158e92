package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/prtbroker/prtbroker/internal/atomicfile"
)

const busName = "com.microsoft.identity.broker1"

const unitFile = `[Unit]
Description=Authentication broker for Microsoft Entra ID (prtbroker)
Documentation=https://github.com/prtbroker/prtbroker/blob/main/docs/linux.md

[Service]
Type=dbus
BusName=` + busName + `
ExecStart=%s
Restart=on-failure
RestartSec=2
UMask=0077
NoNewPrivileges=yes
LockPersonality=yes
# Without MemoryDenyWriteExecute: the browser of a sign-in window compiles scripts.
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
`

const activationFile = `[D-BUS Service]
Name=` + busName + `
Exec=%s
SystemdService=linuxbroker.service
`

// install writes the files that make the bus start this program on demand,
// for this user, below the XDG directories.
func install(o options, args []string, out io.Writer, getenv func(string) string) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	config, data := getenv("XDG_CONFIG_HOME"), getenv("XDG_DATA_HOME")
	home := getenv("HOME")
	if !filepath.IsAbs(config) {
		config = filepath.Join(home, ".config")
	}
	if !filepath.IsAbs(data) {
		data = filepath.Join(home, ".local", "share")
	}
	if !filepath.IsAbs(config) || !filepath.IsAbs(data) {
		return errors.New("-install: HOME is not set")
	}
	words := append([]string{program}, slices.DeleteFunc(slices.Clone(args), func(s string) bool { return strings.TrimLeft(s, "-") == "install" })...)
	for _, w := range words {
		if strings.ContainsAny(w, " \t\n\"'\\%$;") {
			return fmt.Errorf("-install: %q cannot be written in a unit file", w)
		}
	}
	command := strings.Join(words, " ")
	for _, f := range []struct{ path, text string }{
		{filepath.Join(config, "systemd", "user", "linuxbroker.service"), unitFile},
		{filepath.Join(data, "dbus-1", "services", busName+".service"), activationFile},
	} {
		if err := os.MkdirAll(filepath.Dir(f.path), 0o755); err != nil {
			return err
		}
		if err := atomicfile.Write(f.path, fmt.Appendf(nil, f.text, command), 0o644); err != nil {
			return err
		}
		fmt.Fprintln(out, "wrote", f.path)
	}
	fmt.Fprintln(out, "The bus starts the broker when a program calls it. Run: systemctl --user daemon-reload")
	return nil
}
