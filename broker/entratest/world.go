package entratest

import (
	"crypto/sha256"
	"fmt"
	"strings"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/access"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/adfs"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/arm"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/discovery"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/drs"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/graph"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/login"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/mint"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/passkeys"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/phones"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/quirks"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/seal"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/tokenendpoint"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
	"github.com/prtbroker/prtbroker/policy"
)

// world is all that a reset of the server replaces: what it knows of its tenants and of
// sign-ins, and the services that work on it.
type world struct {
	boxKey []byte // seals what it issues
	later  bool   // it came from a reset: the seed does not give its key

	dir    *directory.Directory
	keeper *session.Keeper
	access *access.Engine
	mint   *mint.Mint
	phones *phones.Service
	sts    *tokenendpoint.Service
	drs    *drs.Service
	web    *web.Router
	log    *directory.SignInLog
	prts   *tokenendpoint.PRTList
}

const (
	boxKeySize = 32
	markSize   = 4 // of a world, in what it issues; see mint.Mint
)

// world returns the current one. A method works with one world all along.
func (s *Server) world() *world { return s.current.Load() }

// newWorld makes a world of the server's options.
func (s *Server) newWorld(key []byte, log *directory.SignInLog) (*world, error) {
	o, r := &s.opts, s.rand
	dir, err := directory.New(o.tenants(), o.DeviceQuota, r)
	if err != nil {
		return nil, err
	}
	dir.SetLag(o.DirectoryLag, s.Now)
	w := &world{boxKey: key, dir: dir, log: log, prts: tokenendpoint.NewPRTList(s.opts.SignInLog)}
	w.keeper = &session.Keeper{
		Directory: dir, Rand: r, Now: s.Now, Logf: o.Logf, TTL: session.TTL(o.TTL), Box: seal.New(key, r), Pending: session.NewPending(),
		RefuseTOTPReuse: o.RefuseTOTPReuse, Quirks: &quirks.Set{},
	}
	for _, q := range o.WithoutQuirks {
		if err := w.keeper.Quirks.Put(quirks.Quirk(q), false); err != nil {
			return nil, err
		}
	}
	w.access = &access.Engine{Keeper: w.keeper, Address: o.ClientAddress}
	if o.Judge != nil {
		w.access.Judge = func(b *policy.Bundle, in *policy.SignIn) access.Judgement { return access.Judgement(o.Judge(b, in)) }
	}
	mark := sha256.Sum256(key)
	w.mint = &mint.Mint{Keys: mint.NewKeys(), Keeper: w.keeper, World: mark[:markSize],
		GCMReplies: o.GCMReplies, PlainReplies: o.PlainReplies, DisabledDevice50155: o.DisabledDevice50155}
	w.web = web.New(web.Config{Directory: dir, Rand: r, Now: s.Now, Logf: o.Logf, Log: log, Done: s.done})
	for _, f := range o.Faults {
		w.web.AddFault(f.fault())
	}
	w.addRoutes(o)
	return w, nil
}

// addRoutes adds the routes of the services to the router. The first route that
// matches wins.
func (w *world) addRoutes(o *Options) {
	w.sts = &tokenendpoint.Service{Keeper: w.keeper, Access: w.access, Mint: w.mint, Web: w.web, PRTs: w.prts,
		InheritDeviceMFA: o.InheritDeviceMFA, RollSessionKey: o.RollSessionKey, RefuseKDFv1: o.RefuseKDFv1, RollDropsMFA: o.RollDropsMFA}
	w.drs = &drs.Service{Keeper: w.keeper, Access: w.access, Mint: w.mint, Web: w.web,
		RequireMFAToJoin: o.RequireMFAToJoin, ReplicationLag: o.ReplicationLag, ReplicationTries: o.ReplicationTries}
	w.phones = &phones.Service{Keeper: w.keeper, Web: w.web}
	pages := &login.Pages{Keeper: w.keeper, Access: w.access, Mint: w.mint, Passkeys: &passkeys.Checker{Keeper: w.keeper}, STS: w.sts, Web: w.web,
		AskToStaySignedIn: o.AskToStaySignedIn, NoUserConsent: o.NoUserConsent, BindBrowserSessions: o.BindBrowserSessions, Traits: login.Traits(o.Pages)}

	w.sts.Routes()
	(&discovery.Service{Directory: w.dir, Mint: w.mint, Web: w.web, Quirks: w.keeper.Quirks}).Routes()
	pages.Routes()
	w.phones.Routes()
	w.drs.Routes()
	(&graph.Service{Keeper: w.keeper, Mint: w.mint, Web: w.web}).Routes()
	(&adfs.Server{Keeper: w.keeper, Mint: w.mint, Web: w.web, ErrorPage: pages.ErrorPage, FormTargets: pages.FormTargets}).Routes()
	(&arm.Service{Keeper: w.keeper, Mint: w.mint, Web: w.web}).Routes()
}

// load fills a new world with what a state says.
func (w *world) load(st *savedState) error {
	if err := w.dir.Load(&st.Saved); err != nil {
		return fmt.Errorf("state: %w", err)
	}
	if err := w.mint.Keys.Restore(st.Keys); err != nil {
		return fmt.Errorf("state: %w", err)
	}
	w.keeper.Pending.RestoreRedeemed(st.Redeemed)
	return nil
}

// hosts returns the host names that the server emulates.
func (w *world) hosts() []string {
	hosts := append([]string{}, web.LoginHosts...)
	hosts = append(hosts, web.OtherHosts...)
	for _, t := range w.dir.Tenants() {
		for domain := range t.Federated {
			hosts = append(hosts, directory.FederationHost(domain))
		}
	}
	return hosts
}

func (w *world) serves(host string) bool {
	host = strings.ToLower(host)
	if web.IsLoginHost(host) {
		return true
	}
	for _, h := range web.OtherHosts {
		if h == host {
			return true
		}
	}
	return w.dir.FederationTenant(host) != nil
}
