package broker

import "github.com/prtbroker/prtbroker/broker/internal/sts"

// A Cloud is a national cloud, given by the hosts of its services. The zero
// value is the public cloud.
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
	// Aliases are further hosts of the sign-in service, to which SSO cookies may
	// be sent.
	Aliases []string
	// InsecureSkipInstanceDiscovery sends credentials to LoginHost even though
	// the public cloud does not know it. It is for clouds that cannot reach the
	// public one. False: if this package does not know LoginHost, it asks the
	// public cloud about it once.
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
	// CloudChina is the cloud operated by 21Vianet:
	// login.partner.microsoftonline.cn. No public document of Microsoft names the
	// host of its registration service.
	CloudChina = Cloud(sts.China)
)

// graph is the resource of scopes that name none.
func (c Cloud) graph() string { return sts.Cloud(c).Graph() }

// cloud returns the cloud as known so far.
func (b *Broker) cloud() sts.Cloud { return b.sts.Cloud() }
