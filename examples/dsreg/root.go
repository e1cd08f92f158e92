package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// root is the command tree.
func (a *app) root() *cobra.Command {
	c := &cobra.Command{
		Use:   "dsreg",
		Short: "Join this machine to Microsoft Entra ID, sign in, and get tokens",
		Long: `dsreg joins this machine to a Microsoft Entra tenant, signs users in and gives
their programs tokens. Keys are in the TPM unless join was given --software-keys.

Exit status: 0 success, 1 failure, 2 wrong command line, 3 the user must be asked,
4 try later, 5 refused by the service, a policy or the TPM.

It is not supported by Microsoft.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			_ = c.Help()
			return usagef("a command is missing")
		},
	}
	f := c.PersistentFlags()
	f.StringVar(&a.flags.state, "state", "", "`directory` of the state (default $XDG_STATE_HOME/dsreg)")
	f.StringVar(&a.flags.tenant, "tenant", "", "`domain` or id of the tenant (default: the one that was joined)")
	f.StringVar(&a.flags.app, "app", "", "client `id` of the app that wants tokens (default: Microsoft's broker client, which may read the user's own profile)")
	f.StringVar(&a.flags.redirect, "redirect", "", "redirect `URI` of --app (default: the native client redirect)")
	f.StringVar(&a.flags.account, "account", "", "`user` name of the account (default: the only one)")
	f.StringVar(&a.flags.tpm, "tpm", "", "`path` of the TPM device, or of the Unix socket of a swtpm (default: the machine's TPM)")
	f.BoolVar(&a.flags.softwareKeys, "software-keys", false, "with join: keep the keys in a file instead of the TPM; anyone who copies the file can use them")
	f.BoolVar(&a.flags.emulator, "emulator", false, "use an emulated tenant, kept in the state directory, instead of Entra ID")
	f.BoolVar(&a.flags.json, "json", false, "print JSON (described in docs/dsreg.md)")
	f.BoolVarP(&a.flags.verbose, "verbose", "v", false, "log what happens to standard error")
	c.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	c.PersistentPreRunE = func(c *cobra.Command, _ []string) error { return a.environment(c.Flags()) }
	c.AddCommand(
		a.joinCommand(), a.registerCommand(), a.leaveCommand(),
		a.statusCommand(), a.whyCommand(), a.logCommand(), a.doctorCommand(),
		a.signinCommand(), a.unlockCommand(), a.lockCommand(), a.refreshCommand(),
		a.tokenCommand(), a.cookieCommand(), a.helloCommand(), a.accountsCommand(),
		a.gitCommand(), a.kubectlCommand(), a.brokerCommand(), a.manCommand(), a.versionCommand(),
	)
	usageArgs(c)
	return c
}

// usageArgs makes wrong arguments of every command a usage error.
func usageArgs(c *cobra.Command) {
	if args := c.Args; args != nil {
		c.Args = func(c *cobra.Command, given []string) error {
			if err := args(c, given); err != nil {
				return usageError{fmt.Errorf("%s: %w", c.CommandPath(), err)}
			}
			return nil
		}
	}
	for _, sub := range c.Commands() {
		usageArgs(sub)
	}
}

// environment takes flags that were not given from variables such as
// DSREG_TENANT.
func (a *app) environment(f *pflag.FlagSet) (err error) {
	f.VisitAll(func(flag *pflag.Flag) {
		name := "DSREG_" + strings.ToUpper(strings.ReplaceAll(flag.Name, "-", "_"))
		value := a.getenv(name)
		if err != nil || flag.Changed || value == "" || !settings[flag.Name] {
			return
		}
		if bad := f.Set(flag.Name, value); bad != nil {
			err = usagef("%s: %v", name, bad)
		}
	})
	return err
}

// settings are the flags that the environment may set: those that say where
// and who, but not those that decide what is done.
var settings = map[string]bool{"state": true, "tenant": true, "app": true, "redirect": true, "account": true, "tpm": true, "emulator": true, "json": true}
