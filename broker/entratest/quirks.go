package entratest

import (
	"fmt"
	"time"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/quirks"
)

// Quirk is a behaviour in which Entra differs from OpenID Connect. A server has it by
// default and can switch it off. docs/quirks.md describes each, and the quirks that
// other settings control.
type Quirk string

// Quirks.
const (
	// GraphNonce puts a nonce into the header of access tokens for Microsoft Graph and
	// SharePoint, so that no other service can verify their signatures.
	GraphNonce Quirk = "graph-nonce"
	// GroupOverage names at most 200 groups in a token, and refers to Microsoft Graph for
	// more.
	GroupOverage Quirk = "group-overage"
	// KeysWithoutAlg publishes signing keys without the member alg.
	KeysWithoutAlg Quirk = "keys-without-alg"
	// OfflineNotEchoed leaves offline_access out of the scope of a reply, even if the
	// reply has a refresh token.
	OfflineNotEchoed Quirk = "offline-access-not-echoed"
	// PairwiseSubject gives a user another sub in the tokens of each application.
	// Without it, sub is the object id.
	PairwiseSubject Quirk = "pairwise-sub"
	// RefreshTokenReuse lets a refresh token be redeemed again after it was replaced.
	RefreshTokenReuse Quirk = "refresh-token-reuse"
	// ScopesInAnyCase ignores the case of scopes in requests.
	ScopesInAnyCase Quirk = "scopes-in-any-case"
	// TenantIDInIssuer has {tenantid} in the issuer that the metadata of common and
	// organizations names. Without it, they name the first tenant.
	TenantIDInIssuer Quirk = "tenantid-in-issuer"
	// UnsignedV1IDToken leaves id_tokens of the v1 token endpoint unsigned (alg none).
	UnsignedV1IDToken Quirk = "unsigned-v1-id-token"
	// NumbersAsText writes expires_in and the like as text in replies of the v1 endpoint.
	NumbersAsText Quirk = "v1-numbers-as-text"
)

// SetQuirk turns a quirk on or off. It returns an error if it does not know the quirk.
func (s *Server) SetQuirk(q Quirk, on bool) error {
	if err := s.world().keeper.Quirks.Put(quirks.Quirk(q), on); err != nil {
		return fmt.Errorf("entratest: %w", err)
	}
	return nil
}

// QuirkStatus says whether a server has a quirk.
type QuirkStatus struct {
	Quirk Quirk
	On    bool
}

// Quirks lists the quirks, by name.
func (s *Server) Quirks() []QuirkStatus {
	var out []QuirkStatus
	for _, q := range quirks.All {
		out = append(out, QuirkStatus{Quirk(q), s.world().keeper.Quirks.On(q)})
	}
	return out
}

// SetDirectoryLag sets how long the sign-in service does not know a user from AddUser or
// an application from AddApp; see [Options].DirectoryLag. Zero: it knows them at once.
func (s *Server) SetDirectoryLag(d time.Duration) { s.world().dir.SetLag(d, s.Now) }

// SigningKey is a key that the server publishes for the signatures of its tokens.
type SigningKey struct {
	ID  string // kid
	Use string // former, current or next
}

// SigningKeys lists the published keys, oldest first.
func (s *Server) SigningKeys() []SigningKey {
	var out []SigningKey
	for _, k := range s.world().mint.Keys.Published() {
		out = append(out, SigningKey(k))
	}
	return out
}

// PublishNextKey publishes the next signing key ahead of its use, as Entra does before
// it rolls the key over. It has no effect if the next key is published, as that of a
// new server is.
func (s *Server) PublishNextKey() error { return wrap(s.world().mint.Keys.PublishNext()) }

// UseNextKey signs with the next key from now on. If it was not published ahead, as
// in an emergency, it is published at the same time. The former key stays published, so
// that its tokens are valid until [Server.DropFormerKeys].
func (s *Server) UseNextKey() error { return wrap(s.world().mint.Keys.UseNext()) }

// DropFormerKeys takes former keys out of the published set. Tokens that they signed are
// invalid then, at Microsoft Graph too.
func (s *Server) DropFormerKeys() { s.world().mint.Keys.DropFormer() }

func wrap(err error) error {
	if err != nil {
		return fmt.Errorf("entratest: %w", err)
	}
	return nil
}
