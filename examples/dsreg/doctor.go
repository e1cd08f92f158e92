package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/tpm"
)

// finding is a line of doctor.
type finding struct {
	Check  string `json:"check"`
	Health health `json:"health"`
	Detail string `json:"detail"`
	Advice string `json:"advice,omitempty"`
}

// health is the result of a check.
type health string

const (
	healthy health = "ok"
	unsure  health = "note" // works, and should be looked at
	broken  health = "fail"
)

// errUnhealthy ends doctor with status 1 after it has printed what is wrong.
var errUnhealthy = errors.New("something is wrong: see the lines marked fail")

func (a *app) doctorCommand() *cobra.Command {
	var record string
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Check the TPM, clock, proxy, state and endpoints, and say what to do",
		Long: `Doctor checks what signing in depends on and says what to do about each thing
that is wrong. It changes nothing, sends no credential and prints no secret.

With --record it also writes what it asked the TPM and the endpoints, and what they
answered, to a directory, without names, ids or secrets. Read the files before you
send them to anybody.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			d := doctor{app: a, ctx: c.Context()}
			if err := a.recordTo(record); err != nil {
				return err
			}
			d.examine()
			if err := d.keepRecord(); err != nil {
				return err
			}
			if err := a.print(d.findings, d.table); err != nil {
				return err
			}
			for _, f := range d.findings {
				if f.Health == broken {
					return errUnhealthy
				}
			}
			return nil
		},
	}
	c.Flags().StringVar(&record, "record", "", "write what was asked and answered, without names or secrets, to this new `directory`")
	return c
}

type doctor struct {
	app      *app
	ctx      context.Context
	findings []finding
}

func (d *doctor) add(check string, h health, advice, format string, args ...any) {
	d.findings = append(d.findings, finding{check, h, fmt.Sprintf(format, args...), advice})
}

func (d *doctor) table(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, f := range d.findings {
		fmt.Fprintf(t, "%s\t%s\t%s\n", f.Health, f.Check, f.Detail)
		if f.Advice != "" {
			fmt.Fprintf(t, "\t\t→ %s\n", f.Advice)
		}
	}
	_ = t.Flush()
}

func (d *doctor) examine() {
	dir, err := d.app.stateDir()
	if err != nil {
		d.add("state directory", broken, "use --state", "%v", err)
		return
	}
	d.proxy()
	d.directory(dir)
	m, err := d.app.open(d.ctx)
	if errors.Is(err, errNotJoined) {
		d.add("registration", unsure, "dsreg join --tenant DOMAIN", "this machine has not joined a tenant from here")
		d.chip()
		d.endpoints(d.app.recorded(http.DefaultClient), publicEndpoints)
		return
	}
	if err != nil {
		d.openFailed(err)
		return
	}
	defer func() { _ = m.close() }()
	s, err := m.broker.Status(d.ctx)
	if err != nil {
		d.add("state", broken, "", "%v", err)
		return
	}
	d.keys(s.Protection)
	d.tpm(m.keys)
	d.registration(s)
	for _, p := range s.PRTs {
		d.prt(p)
	}
	client := http.DefaultClient
	if m.person != nil {
		client = m.person.client()
	}
	d.endpoints(d.app.recorded(client), endpointsOf(s.Tenant))
}

func (d *doctor) openFailed(err error) {
	switch {
	case errors.Is(err, tpm.ErrNoTPM):
		d.add("TPM", broken, "is /dev/tpmrm0 there, and is this user in the group that may use it (tss)?", "%v", err)
	case errors.Is(err, broker.ErrKeyUnusable):
		d.add("keys", broken, "this state was made with another TPM, or the TPM was cleared: delete the device object in the tenant, remove the state directory and join again", "%v", err)
	case errors.Is(err, broker.ErrStateDamaged):
		d.add("state", broken, "restore the state directory from a backup made while dsreg was not running, or remove it and join again", "%v", err)
	default:
		d.add("state", broken, "", "%v", err)
	}
}

// proxy says which proxy requests go through, without its password.
func (d *doctor) proxy() {
	req, err := http.NewRequestWithContext(d.ctx, http.MethodGet, publicEndpoints[0].address, nil)
	if err != nil {
		return
	}
	u, err := http.ProxyFromEnvironment(req)
	switch {
	case err != nil:
		d.add("proxy", broken, "correct HTTPS_PROXY", "HTTPS_PROXY is not a URL")
	case u == nil:
		d.add("proxy", healthy, "", "none")
	default:
		d.add("proxy", unsure, "a proxy that decrypts TLS sees passwords and tokens; exempt the sign-in hosts from it", "requests go through %s", u.Redacted())
	}
}

func (d *doctor) directory(dir string) {
	info, err := os.Stat(dir)
	switch {
	case os.IsNotExist(err):
		d.add("state directory", healthy, "", "%s does not exist yet", dir)
	case err != nil:
		d.add("state directory", broken, "can this user read it?", "%v", err)
	case !info.IsDir():
		d.add("state directory", broken, "use another --state", "%s is not a directory", dir)
	case info.Mode().Perm()&0o077 != 0:
		d.add("state directory", unsure, "chmod 700 "+dir, "%s can be read by others (mode %04o)", dir, info.Mode().Perm())
	default:
		d.add("state directory", healthy, "", "%s", dir)
	}
}

// chip looks at the TPM of a machine that has not joined.
func (d *doctor) chip() {
	if d.app.flags.softwareKeys {
		return
	}
	keys, err := d.app.openKeys(d.ctx, "", settled{Keys: keysTPM})
	if err != nil {
		d.openFailed(err)
		return
	}
	defer func() { _ = keys.Close() }()
	info, err := keys.Info(d.ctx)
	if err != nil {
		d.add("TPM", broken, "", "%v", err)
		return
	}
	d.keys(info)
	d.tpm(keys)
}

// An examinable is a key store that can report on its TPM.
type examinable interface {
	Check(context.Context) error
	Lockout(context.Context) (tpm.Lockout, error)
}

// tpm asks what the TPM can do and how many wrong PINs it has counted.
func (d *doctor) tpm(keys tpm.KeyStore) {
	t, ok := keys.(examinable)
	if !ok {
		return
	}
	err := t.Check(d.ctx)
	if lacks := new(tpm.CheckError); errors.As(err, &lacks) {
		d.add("TPM capabilities", broken, "this TPM cannot hold a device's keys: join --software-keys works without one, and is weaker", "lacks %s", strings.Join(lacks.Lacks, ", "))
	} else if err != nil {
		d.add("TPM capabilities", broken, "is another program using the TPM?", "%v", err)
	} else {
		d.add("TPM capabilities", healthy, "", "all that a device key and a Hello key need")
	}
	l, err := t.Lockout(d.ctx)
	switch {
	case err != nil:
		d.add("TPM lockout", broken, "", "%v", err)
	case l.Locked && l.Forgets == 0:
		d.add("TPM lockout", broken, "have the TPM's administrator reset it (tpm2_dictionarylockout --clear-lockout)", "%d wrong PINs: locked until its administrator resets it", l.WrongPINs)
	case l.Locked:
		d.add("TPM lockout", broken, "wait, or have the TPM's administrator reset it (tpm2_dictionarylockout --clear-lockout)", "%d wrong PINs: locked; one is forgotten every %s", l.WrongPINs, l.Forgets)
	case l.WrongPINs > 0:
		d.add("TPM lockout", unsure, "the correct PIN does not reset the count; only time does", "%d of %d wrong PINs counted, from any program; one is forgotten every %s", l.WrongPINs, l.MaxWrongPINs, l.Forgets)
	default:
		d.add("TPM lockout", healthy, "", "no wrong PIN counted, of %d", l.MaxWrongPINs)
	}
}

func (d *doctor) keys(i tpm.Info) {
	if !i.Hardware {
		d.add("keys", unsure, "join again with the TPM where there is one", "software keys: anyone who copies the state directory has them")
		return
	}
	d.add("TPM", healthy, "", "%s %s, firmware %s", printableID(i.Manufacturer), printableID(i.Model), printableID(i.Firmware))
}

func (d *doctor) registration(s broker.Status) {
	switch {
	case s.Problem != "":
		d.add("state", broken, "", "%s", s.Problem)
	case !s.Registered:
		d.add("registration", unsure, "dsreg join", "the registration is not complete")
	default:
		d.add("registration", healthy, "", "device %s of %s", s.Device.ID, firstOf(s.Device.TenantName, s.Device.TenantID))
	}
	if s.Registered {
		d.certificate(s)
	}
	if s.Registered && len(s.Accounts) == 0 {
		d.add("account", unsure, "dsreg signin", "nobody is signed in")
	}
}

// endsSoon is how long before its expiry a certificate is worth a note.
const endsSoon = 30 * 24 * time.Hour

func (d *doctor) certificate(s broker.Status) {
	const again = "dsreg leave, then dsreg join"
	from, to := s.Device.NotBefore.UTC(), s.Device.NotAfter.UTC()
	switch {
	case s.Time.After(to):
		d.add("certificate", broken, "dsreg leave --local, then dsreg join", "the device certificate ended on %s", to.Format(time.DateOnly))
	case s.Time.Before(from):
		d.add("certificate", broken, "set the clock", "the device certificate is not valid before %s: the clock is wrong", from.Format(time.DateTime))
	case to.Sub(s.Time) < endsSoon:
		d.add("certificate", unsure, again, "the device certificate ends on %s", to.Format(time.DateOnly))
	default:
		d.add("certificate", healthy, "", "valid until %s, thumbprint %s", to.Format(time.DateOnly), s.Device.Thumbprint)
	}
}

// prtCheck begins the name of a check; that of a person follows.
const prtCheck = "PRT of "

func (d *doctor) prt(p broker.PRTStatus) {
	if p.Failed != nil {
		defer d.failed(*p.Failed)
	}
	who := prtCheck + p.Account.PreferredUsername
	switch p.State {
	case broker.PRTFresh, broker.PRTNeedsRenewal:
		d.add(who, healthy, "", "%s until %s, MFA %s", p.State, p.ExpiresOn.UTC().Format(time.DateTime), p.MFA.MFA)
	case broker.PRTExpired:
		d.add(who, unsure, "dsreg refresh, and if that is refused dsreg signin", "expired on %s", p.ExpiresOn.UTC().Format(time.DateTime))
	default:
		detail := string(p.State)
		if p.LastError != 0 {
			detail += fmt.Sprintf(", AADSTS%d", p.LastError)
		}
		d.add(who, unsure, "dsreg signin", "%s", detail)
	}
}

// failed reports the last failed attempt to get or renew a PRT.
func (d *doctor) failed(a broker.Attempt) {
	why := firstOf(a.HTTPError, a.ErrorCode)
	if a.Code != 0 {
		why = fmt.Sprintf("AADSTS%d, %s", a.Code, firstOf(a.Description, a.ErrorCode))
	}
	d.add("last attempt", unsure, "dsreg status shows it in full, with the correlation id for the tenant's sign-in log",
		"failed on %s: %s", a.Time.UTC().Format(time.DateTime), why)
}

// endpoint is a host that has to be reached.
type endpoint struct{ name, address string }

// publicEndpoints are those of the public cloud, from Microsoft's list of URLs
// for device registration.
var publicEndpoints = []endpoint{
	{"sign-in", "https://login.microsoftonline.com/common/v2.0/.well-known/openid-configuration"},
	{"device registration", "https://enterpriseregistration.windows.net/"},
}

// endpointsOf returns the endpoints that discovery named, or the public ones if
// it named none.
func endpointsOf(t broker.Tenant) []endpoint {
	all := append([]endpoint{}, publicEndpoints...)
	if u, err := url.Parse(t.TokenURL); err == nil && u.Host != "" {
		all[0].address = "https://" + u.Host + "/common/v2.0/.well-known/openid-configuration"
	}
	if u, err := url.Parse(t.Join.URL); err == nil && u.Host != "" {
		all[1].address = "https://" + u.Host + "/"
	}
	if u, err := url.Parse(t.Key.URL); err == nil && u.Host != "" && u.Host != host(all[1].address) {
		all = append(all, endpoint{"Hello key registration", "https://" + u.Host + "/"})
	}
	return all
}

// maxSkew is how far a clock may be off. Requests carry a timestamp and are
// refused when it is off by ten minutes; half of that leaves time to act.
const maxSkew = 5 * time.Minute

func (d *doctor) endpoints(client *http.Client, all []endpoint) {
	skew, known := time.Duration(0), false
	for _, e := range all {
		at, err := d.reach(client, e.address)
		if err != nil {
			d.add(e.name, broken, "check DNS, firewall and proxy for "+host(e.address), "%s cannot be reached: %v", host(e.address), plainNetwork(err))
			continue
		}
		d.add(e.name, healthy, "", "%s answers", host(e.address))
		if !known && !at.IsZero() {
			skew, known = time.Since(at), true
		}
	}
	switch {
	case !known:
	case skew.Abs() > maxSkew:
		d.add("clock", broken, "set the clock (timedatectl set-ntp true)", "this machine's clock is %s %s the service's", skew.Abs().Round(time.Minute), aheadOrBehind(skew))
	default:
		d.add("clock", healthy, "", "agrees with the service within %s", (skew.Abs() + time.Second).Round(time.Second))
	}
}

func aheadOrBehind(skew time.Duration) string {
	if skew > 0 {
		return "ahead of"
	}
	return "behind"
}

// reach sends a request without credentials and returns the reply's date. Any
// reply over verified TLS counts, since each endpoint answers such a request
// differently.
func (d *doctor) reach(client *http.Client, address string) (time.Time, error) {
	ctx, cancel := context.WithTimeout(d.ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, address, nil)
	if err != nil {
		return time.Time{}, err
	}
	res, err := client.Do(req)
	if err != nil {
		return time.Time{}, err
	}
	_ = res.Body.Close()
	at, err := http.ParseTime(res.Header.Get("Date"))
	if err != nil {
		return time.Time{}, nil
	}
	return at, nil
}

func host(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return address
	}
	return u.Host
}

// plainNetwork drops the method and address that net/http repeats.
func plainNetwork(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// printableID reduces what a TPM says about itself to one line.
func printableID(s string) string {
	out := make([]rune, 0, len(s))
	for _, r := range s {
		if r >= ' ' && r < 0x7f {
			out = append(out, r)
		}
	}
	return string(out)
}
