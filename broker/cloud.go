package broker

import "github.com/prtbroker/prtbroker/broker/internal/sts"

// A Cloud is a national cloud: where its services are. The zero value is the
// public cloud.
type Cloud struct {
	// LoginHost is the host of the sign-in service.
	LoginHost string
	// RegistrationHost is the host of the device registration service.
	RegistrationHost string
	// GraphHost is the host of Microsoft Graph, which scopes without a
	// resource belong to.
	GraphHost string
	// Environment is the name of the cloud's token cache, which account keys
	// carry. Empty: LoginHost.
	Environment string
	// Aliases are further hosts of the sign-in service, to which SSO cookies
	// may go.
	Aliases []string
	// InsecureSkipInstanceDiscovery sends credentials to LoginHost although
	// the public cloud does not know it. It is for clouds that have no way to
	// the public one. False: of a LoginHost that this package does not know,
	// the public cloud is asked once.
	InsecureSkipInstanceDiscovery bool
}

// The national clouds. Their hosts are documented by Microsoft ("National
// clouds", Microsoft Graph and identity platform documentation).
var (
	// CloudPublic is the worldwide cloud: login.microsoftonline.com.
	CloudPublic = Cloud(sts.Public)
	// CloudUSGovernment is the cloud of the US government:
	// login.microsoftonline.us.
	CloudUSGovernment = Cloud(sts.USGovernment)
	// CloudChina is the cloud that 21Vianet operates:
	// login.partner.microsoftonline.cn. The host of its registration service is
	// not in a public document of Microsoft.
	CloudChina = Cloud(sts.China)
)

// graph is the resource of scopes that name none.
func (c Cloud) graph() string { return sts.Cloud(c).Graph() }

// cloud is where the services are, as it is known by now.
func (b *Broker) cloud() sts.Cloud { return b.sts.Cloud() }
