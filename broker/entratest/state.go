package entratest

import (
	"crypto/x509"
	"encoding/json"
	"fmt"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/mint"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/tokenendpoint"
)

// stateFormat is the version of the saved state.
const stateFormat = 1

// savedState is what a server needs to continue where another one stopped.
type savedState struct {
	Format int
	Seed   uint64
	Random []byte // state of the source of identifiers, so that it does not repeat any
	Ahead  int64  // seconds that a running clock is ahead of the real time
	CA     []byte // DER of the TLS authority
	CAKey  []byte // its key, PKCS #8
	directory.Saved
	Redeemed map[string]int64
	PRTs     []tokenendpoint.TrackedPRT
	SignIns  []directory.LogEntry
	Keys     mint.Generations `json:",omitzero"`
	BoxKey   []byte           `json:",omitempty"` // that seals tokens; empty: that of the seed
}

// State returns the state of the server, for [Options].State of a later one: users
// and devices, applications, groups, policies, the log, the list of PRTs, and the
// keys of the service, so that tokens and certificates stay valid. Sign-ins in
// progress and faults are not part of it. Equal states give equal bytes.
//
// The state contains passwords and keys in the clear. They are of no use outside
// this tenant, but anyone who has them can impersonate the server: keep the file
// readable by its owner only.
func (s *Server) State() ([]byte, error) {
	w := s.world()
	random, err := s.rand.State()
	if err != nil {
		return nil, fmt.Errorf("entratest: state: %w", err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(s.tlsCA.key)
	if err != nil {
		return nil, fmt.Errorf("entratest: state: %w", err)
	}
	dir, err := w.dir.Save()
	if err != nil {
		return nil, fmt.Errorf("entratest: state: %w", err)
	}
	st := savedState{
		Format: stateFormat, Seed: s.rand.Seed, Random: random, Ahead: s.clock.ahead(), CA: s.tlsCA.der, CAKey: key,
		Saved:    dir,
		Redeemed: w.keeper.Pending.RedeemedCodes(), PRTs: w.prts.All(), SignIns: w.log.All(), Keys: w.mint.Keys.Generations(),
	}
	if w.later {
		st.BoxKey = w.boxKey
	}
	return json.Marshal(st)
}

func readState(data []byte) (*savedState, error) {
	if len(data) == 0 {
		return nil, nil
	}
	var st savedState
	if err := json.Unmarshal(data, &st); err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	if st.Format != stateFormat || len(st.Tenants) == 0 {
		return nil, fmt.Errorf("state: unknown format %d", st.Format)
	}
	return &st, nil
}

// options returns o with the tenants of the state.
func (st *savedState) options(o Options) Options {
	o.Seed, o.Users, o.Groups, o.Apps, o.Devices, o.OtherTenants = st.Seed, nil, nil, nil, nil, nil
	for i, t := range st.Tenants {
		policies := t.Policies
		var apps []App
		for _, a := range t.Apps {
			apps = append(apps, appOf(a))
		}
		if i > 0 {
			o.OtherTenants = append(o.OtherTenants, Tenant{Domain: t.Domain, TenantID: t.ID, DisplayName: t.Name,
				Domains: t.Domains, Federated: t.Federated, FederatedMFA: t.FederatedMFA, Apps: apps, Policies: policies})
			continue
		}
		o.Domain, o.TenantID, o.DisplayName, o.Federated, o.Apps = t.Domain, t.ID, t.Name, t.Federated, apps
		o.Domains, o.FederatedMFA = t.Domains, t.FederatedMFA
		if o.Policies == nil {
			o.Policies = policies
		}
	}
	return o
}

// restore fills a server that was started with st.options.
func (s *Server) restore(st *savedState) error {
	w := s.world()
	if err := w.load(st); err != nil {
		return err
	}
	if err := s.rand.Restore(st.Random); err != nil {
		return fmt.Errorf("state: %w", err)
	}
	s.clock.setAhead(st.Ahead)
	w.prts.Restore(st.PRTs)
	w.log.Restore(st.SignIns)
	w.later = st.BoxKey != nil
	return nil
}

// authority is the TLS authority of the state.
func (st *savedState) authority(hosts []string) (*tlsAuthority, error) {
	key, err := x509.ParsePKCS8PrivateKey(st.CAKey)
	if err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	return tlsAuthorityFrom(st.CA, key, hosts)
}
