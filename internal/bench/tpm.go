package main

import "fmt"

// himmelblauLogin is how many commands libhimmelblau sends for one login: the
// spans of himmelblau's issue 1538 (2026-07-21), 11 times rs256_load, 7 times
// unseal, 3 times storage_key_load_pin, 6 times seal and 3 decryptions, by the
// commands that kanidm's hsm-crypto 0.3.6 (src/provider/tss.rs) has for each: 5,
// 5, 7, 3 and 3. Its reporter measured 23.1 s.
const (
	himmelblauLogin   = 11*5 + 7*5 + 3*7 + 6*3 + 3*3
	himmelblauSeconds = 23.1
)

var tpmCommands = section{
	name: "tpm", title: "TPM commands",
	about: fmt.Sprintf(`
Commands are counted at the transport; no time is measured. "At the chip" is what an
emulation of Linux's resource manager sends on: around each command it swaps out and in
what the connection has loaded. A transient storage root key is made when it is needed; a
persistent one was left by an operating system. The operations follow each other in this
order, and each row includes loading what was not loaded: New takes three commands for any
number of accounts, and in a new process one more that starts the session; the sign-in
flushes one of the two session keys that the renewals left loaded; behind the resource
manager a session key is still loaded when Lock closes it. Seconds are a model: the commands
at the chip, multiplied by the time that each takes, by published figures (wolfTPM's README)
and our estimates, on a slow chip (Infineon SLB9670, ST ST33TPHF2X), a middling one (SLB9672,
ST33KTPM2X) and a firmware TPM. **Nothing here was
measured on a chip by this project.** The model was within a third of the traces in
[himmelblau's issue 1538](https://github.com/himmelblau-idm/himmelblau/issues/1538), on the low side.

Beside it: the login in that issue took %d commands (its spans, by the commands that
hsm-crypto 0.3.6 sends for each) and %.1f s, measured by its reporter.
`, himmelblauLogin, himmelblauSeconds),
	benchmarks: []benchmark{{".", []string{"-bench", "^BenchmarkTPM$", "-benchtime", "1x", "./broker"}}},
	render: func(r *report) (output, error) {
		const name = "TPM"
		ops := r.values(name, "op")
		settings := [][2]string{{"persistent", "no"}, {"transient", "no"}, {"persistent", "yes"}, {"transient", "yes"}}
		commands := barChart{
			title: "Commands to the TPM", under: "by operation; transient storage root key", legend: []string{"prtbroker", "libhimmelblau"},
			hasWords: "commands of each operation, beside the 138 of a login with libhimmelblau",
		}
		secs := barChart{
			title: "… and how long a chip takes for them", under: "model, through Linux's resource manager; transient key", legend: []string{"slow", "middling", "fast"},
			hasWords: "modelled seconds of each operation on a slow, a middling and a fast chip",
		}
		counts := [][]string{{"operation", "persistent key", "transient key", "at the chip: persistent", "transient"}}
		model := [][]string{{"seconds by the model", "persistent: slow", "middling", "fast", "transient: slow", "middling", "fast"}}
		var o output
		for _, op := range ops {
			words := opWords(op)
			row, modelled := []string{words}, []string{words}
			for _, s := range settings {
				unit := "commands"
				if s[1] == "yes" {
					unit = "chip-commands"
				}
				n, ok := r.find(name, unit, "op="+op, "srk="+s[0], "manager="+s[1])
				if !ok {
					return output{}, fmt.Errorf("no %s of %s, %s key", unit, op, s[0])
				}
				row = append(row, whole(n))
				if s[1] == "no" && s[0] == "transient" {
					commands.bars = append(commands.bars, bar{words, n, whole(n), 0})
				}
				if s[1] != "yes" {
					continue
				}
				for i, chip := range []string{"slow", "middling", "fast"} {
					v, _ := r.find(name, chip+"-sec", "op="+op, "srk="+s[0], "manager=yes")
					modelled = append(modelled, fmt.Sprintf("%.2f", v))
					if s[0] == "transient" {
						label := ""
						if i == 0 {
							label = words
						}
						secs.bars = append(secs.bars, bar{label, v, seconds(v), i})
					}
				}
			}
			counts, model = append(counts, row), append(model, modelled)
			if what := readmeTPM[op]; what != "" {
				o.readme = append(o.readme, []string{what, plural(row[1], "TPM command"), ""})
			}
			if op == "unlock" {
				o.readme[len(o.readme)-1][1] = fmt.Sprintf("%s TPM commands; modelled %s to %s s at a chip, with a transient storage key", row[1], modelled[6], modelled[4])
				o.readme[len(o.readme)-1][2] = fmt.Sprintf("a login with libhimmelblau: %d, %.1f s measured", himmelblauLogin, himmelblauSeconds)
			}
		}
		commands.bars = append(commands.bars, bar{"a login, libhimmelblau", himmelblauLogin, fmt.Sprint(himmelblauLogin), 1})
		o.charts = []chart{{"tpm-commands", commands.hasWords, commands.svg()}, {"tpm-seconds", secs.hasWords, secs.svg()}}
		o.tables = [][][]string{counts, model}
		return o, nil
	},
}

var readmeTPM = map[string]string{
	"unlock": "unlock at the lock screen, online", "silent": "silent token through the PRT", "cookie": "single sign-on cookie",
}

// opWords are the names of operations as BENCHMARKS.md has them.
func opWords(op string) string {
	words := map[string]string{
		"open": "open the TPM", "new": "New, one account", "signin": "sign in by password", "provision": "set up a PIN (Hello key)",
		"unlock": "unlock", "unlock-process": "open, New, unlock", "unlock-offline": "open, New, unlock offline", "unlock-locked": "unlock after Lock",
		"changepin": "change the PIN", "silent-cold": "silent, new process", "silent": "silent token", "cookie": "SSO cookie",
		"renew-all": "renew two PRTs, one session key loaded", "renew-again": "renew two PRTs, both loaded", "lock": "lock",
	}
	if w := words[op]; w != "" {
		return w
	}
	return op
}
