// Package testkeys holds the RSA keys with which the emulator signs tokens, and
// certificates of devices and users. The private keys are public, since they are in this
// file: only the emulator and its tests trust them. Fixed keys make starting a server
// fast and its answers repeatable.
package testkeys

import "sync"

// TokenSigning returns the key that signs tokens, the same one each time.
func TokenSigning() *Key { return tokenSigning() }

// DeviceAuthority returns the key that signs device certificates, the same one
// each time.
func DeviceAuthority() *Key { return deviceAuthority() }

// UserAuthority returns the key that signs user certificates, the same one
// each time.
func UserAuthority() *Key { return userAuthority() }

// OutsideIssuer returns the key that signs for all other issuers, the same one each
// time.
func OutsideIssuer() *Key { return outsideIssuer() }

var (
	tokenSigning    = sync.OnceValue(func() *Key { return newKey(tokenSigningPrimes) })
	deviceAuthority = sync.OnceValue(func() *Key { return newKey(deviceAuthorityPrimes) })
	userAuthority   = sync.OnceValue(func() *Key { return newKey(userAuthorityPrimes) })
	outsideIssuer   = sync.OnceValue(func() *Key { return newKey(outsideIssuerPrimes) })
)

// The primes of each key, of 32 digits each.
const (
	tokenSigningPrimes = "" +
		"fa9fd7c68f973f142ef82bc9067552a9fe198c8d6778e51bff892c98e31d6257" +
		"fb97f665eb8b1662fef0b4771811114dff2a495c7c5dc200fd659cd8ed9ad941" +
		"feb52445bb7f977a797a44192cad3a87fe50b5c88197163f4a1d23b424b10809" +
		"fbb7e7f0b610e8bc9501117e5c9e867ffc408905b926d3c2f23895a0b55a39cf" +
		"fea8ab46d77ba89629d70c9064bf5d2bfabb8d7c70474e96cff2234c4ebf23a9" +
		"ff0e288fbbcf8a1453f59c9d9d939c59fda3f3807b8a7f5ad968b9433521bb3f" +
		"f82486351400d69b621520b2fa1f6f5bfe1eaae5fb44aece86964a97da2b833d" +
		"f92f7e20756cf3aadf42062818887f37f80b9c52374304c9c8ec063e73ea7adb"
	deviceAuthorityPrimes = "" +
		"fe860398e7be852aa3bc0cc29a98f5d3fb33216e6f92765761ee9aa6f4b3a92f" +
		"fd5a806c5ff1d10da8893092dc9df7f9fabbe049d17d67e16e2faeb2a56d8059" +
		"ff10a7425efad7ee0a539c0293597dd7fe7a549eaf4eb206f54d439e6cfae8f9" +
		"fef801eb8582e3af405a4df5186c2545fc444c5fd93e1ea6e8600515ed975ce3" +
		"f85713c9aec29cc65e41a2a4bd2a7bbbff5759aa40527013b6084f20108bee29" +
		"fb1af5d1c851e82f96fdd41082000ec5fbebf2f689e8cea943e51b897d9cad97" +
		"feb37b2fa47387a5fe68d9e992b175ddff6150ccd803a4b2b5f5f319371e4e4b" +
		"fa5a280edc619ae898ad9e282292a56bfc5c3f3a89f7b61858c78fe0879b7431"
	userAuthorityPrimes = "" +
		"fa73d9133b12ce1f56e1d6a2fb2f77e3fb0c252073e8781482ce71d1c5d3d38d" +
		"fd312c1d32ab3263aa8c17a6c9717461fd51805be495e1477f2d93126c38c47d" +
		"ff43d7e3848c922c5b155af53836b08ffca5dfa1f8c8f00c35a41f9405d561b5" +
		"fad0f619c88d70bf2867b5c77fef313df964cfe3585c744819e03dedcfe8c837" +
		"fea983ebbe45311a093cc43a49ab82f9fbd241ffc4b5e6cf142d21eb23360165" +
		"f9f5adac245b8df7743eff1eb8be6fbdfb5e43093d43a46d8464e1d25402f5dd" +
		"fb29ce830cf3c26c9767b593f79889a9fee01743915ce7e24c79fc6cfbabf39b" +
		"fd4ee6daf84176a8d04e09e04d7a5a21fda6bf46b5bf1bd9eb7844c650615bb1"
	outsideIssuerPrimes = "" +
		"fbea94467c729bb8691f2581925bcbddfcb52155b5230b26fddfff7977b9163b" +
		"fbaa801fff45e08a252d153706544397fe0860047c9709a243f510f9fcef4b33" +
		"fd9ac75bee46be5303cf4cc7777b3febf96a8e573e2592814902bf87c32fc86f" +
		"ffc4be1cb179ca628fd4b547e91c8195fd85dc6e7f664933e18f16c87ec805b5" +
		"fe3b5e6b28f061e0cbe0b00bc933f949fc285918e96a474c74bd0eebb03018c3" +
		"fba05ceab2264bebd00ad6d395457ad7fbee395119e18023d7956127721c1bd1" +
		"fc2f03c9bdd908dd4a395c2b4b87f355f882a3e5ce5855a6cded8d2fbd0e5d2b" +
		"f902e037eea4915dca1a7d01da87b1b3fdd6255425da760505192f52689107b1"
)
