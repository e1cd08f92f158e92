package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/prtbroker/prtbroker/broker"
)

// azureDevOps is the application id of Azure DevOps, which its documentation
// gives for Microsoft Entra tokens.
const azureDevOps = "499b84ac-1321-427f-aa17-267ca6975798/.default"

func (a *app) gitCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "git-credential get|store|erase",
		Short: "Be a credential helper of git for Azure DevOps",
		Long: `Git-credential speaks the protocol of git's credential helpers
(gitcredentials(7)). It answers for dev.azure.com and *.visualstudio.com by
https, and leaves all other hosts to the next helper:

	git config --global credential.helper '!dsreg git-credential'
	git config --global credential.https://dev.azure.com.useHttpPath true`,
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{"get", "store", "erase", "capability"},
		RunE: func(c *cobra.Command, args []string) error {
			if args[0] == "capability" {
				_, err := io.WriteString(a.out, "version 0\ncapability authtype\n")
				return err
			}
			q, err := readGitCredential(a.in)
			if err != nil {
				return err
			}
			if !q.azure() {
				return nil
			}
			switch args[0] {
			case "get":
				return a.gitGet(c.Context(), q)
			case "erase":
				return a.gitErase(c.Context())
			}
			return nil // nothing is stored: the next get makes a token
		},
	}
}

// A gitCredential describes the credential that git asks for.
type gitCredential struct {
	protocol, host string
	bearer         bool // git accepts an Authorization header of our choice
}

// maxGitInput bounds the description of a credential.
const maxGitInput = 64 << 10

func readGitCredential(r io.Reader) (q gitCredential, err error) {
	lines := bufio.NewScanner(io.LimitReader(r, maxGitInput))
	lines.Buffer(nil, maxGitInput)
	for lines.Scan() && lines.Text() != "" {
		key, value, ok := strings.Cut(lines.Text(), "=")
		if !ok {
			return q, usagef("git-credential: standard input has a line without “=”")
		}
		switch key {
		case "protocol":
			q.protocol = value
		case "host":
			q.host = value
		case "capability[]":
			q.bearer = q.bearer || value == "authtype"
		}
	}
	return q, lines.Err()
}

// azure says whether the host is one of Azure DevOps, by https.
func (q gitCredential) azure() bool {
	host := strings.ToLower(q.host)
	return q.protocol == "https" &&
		(slices.Contains([]string{"dev.azure.com", "ssh.dev.azure.com"}, host) || strings.HasSuffix(host, ".visualstudio.com"))
}

func (a *app) gitGet(ctx context.Context, q gitCredential) error {
	r, err := a.silent(ctx, azureDevOps, false)
	if err != nil {
		return err
	}
	if q.bearer {
		_, err = fmt.Fprintf(a.out, "capability[]=authtype\nauthtype=Bearer\ncredential=%s\nephemeral=1\n", r.AccessToken)
	} else {
		_, err = fmt.Fprintf(a.out, "username=%s\npassword=%s\n", r.Account.PreferredUsername, r.AccessToken)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.out, "password_expiry_utc=%d\n", r.ExpiresOn.Unix())
	return err
}

// gitErase handles git's report that the server refused the token: the next
// get must not return the same one.
func (a *app) gitErase(ctx context.Context) error {
	_, err := a.silent(ctx, azureDevOps, true)
	return err
}

// silent gets a token for a program that runs dsreg and cannot ask.
func (a *app) silent(ctx context.Context, scope string, force bool) (r broker.AuthResult, err error) {
	err = a.with(ctx, func(m *machine) error {
		opts, err := a.options(ctx, m)
		if err != nil {
			return err
		}
		if force {
			opts = append(opts, broker.WithForceRefresh())
		}
		r, err = m.broker.AcquireTokenSilent(ctx, []string{scope}, opts...)
		return err
	})
	r.ExpiresOn = r.ExpiresOn.Truncate(time.Second)
	return r, err
}
