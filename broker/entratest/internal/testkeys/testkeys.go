// Package testkeys holds the RSA keys with which the emulator signs tokens, and
// certificates of devices and users. They are public, as everything in this file is: only
// the emulator and its tests trust them. Fixed keys make starting a server
// fast and its answers repeatable.
package testkeys

import (
	"crypto/rsa"
	"fmt"
	"math/big"
	"sync"
)

// TokenSigning returns the key that signs tokens. It is the same one each
// time, since precomputing takes a millisecond: leave it as it is.
func TokenSigning() *rsa.PrivateKey { return tokenSigning() }

// DeviceAuthority returns the key that signs device certificates, the same one
// each time.
func DeviceAuthority() *rsa.PrivateKey { return deviceAuthority() }

// UserAuthority returns the key that signs user certificates, the same one
// each time.
func UserAuthority() *rsa.PrivateKey { return userAuthority() }

// OutsideIssuer returns the key that signs what other issuers would, the same one
// each time.
func OutsideIssuer() *rsa.PrivateKey { return outsideIssuer() }

var (
	outsideIssuer   = sync.OnceValue(func() *rsa.PrivateKey { return key(outsideIssuerP, outsideIssuerQ) })
	tokenSigning    = sync.OnceValue(func() *rsa.PrivateKey { return key(tokenSigningP, tokenSigningQ) })
	deviceAuthority = sync.OnceValue(func() *rsa.PrivateKey { return key(deviceAuthorityP, deviceAuthorityQ) })
	userAuthority   = sync.OnceValue(func() *rsa.PrivateKey { return key(userAuthorityP, userAuthorityQ) })
)

func key(p, q string) *rsa.PrivateKey {
	primes := [2]*big.Int{}
	for i, text := range []string{p, q} {
		n, ok := new(big.Int).SetString(text, 16)
		if !ok {
			panic(fmt.Sprintf("testkeys: prime %d is not a number", i))
		}
		primes[i] = n
	}
	one := big.NewInt(1)
	phi := new(big.Int).Mul(new(big.Int).Sub(primes[0], one), new(big.Int).Sub(primes[1], one))
	k := &rsa.PrivateKey{
		PublicKey: rsa.PublicKey{N: new(big.Int).Mul(primes[0], primes[1]), E: 65537},
		D:         new(big.Int).ModInverse(big.NewInt(65537), phi),
		Primes:    primes[:],
	}
	k.Precompute()
	if err := k.Validate(); err != nil {
		panic("testkeys: " + err.Error())
	}
	return k
}

const (
	tokenSigningP = "ff36a7b561109c1db2141474815c33eca6bb8c3ce1a663d6f9e337f3c60b0773" +
		"a498b80bf56bbd2a395f5e6e6d787897afabbf040aad73fbea7de1f6c0e62fc9" +
		"c7f5a93f26335c8a06d3244321d206fb91d6b1b9bef3e52213424ce05c50c0f7" +
		"5a40195cd64573b4c9cd4754d395daef0041c03540590e789022af79ad4f704b"
	tokenSigningQ = "ee8725492e3b2cf2e76a63b4088a8f8050cfc92b6c9b15051dfc0a7c5f31522d" +
		"19befe2322c7af3d4bc547e1fc0ee6acdc8570de6fb910c2b19ea9e5ec22b607" +
		"cf0d1661aa2f6affc4397b27f0a623fd8fc36e551643eca043c3f25376e23a4d" +
		"95e7f132cb72e7379019363c40c1ff09346284f593a405d3c7ed41eda47a3d0f"
	deviceAuthorityP = "f74309e1f1dc9bd162415ef624bdb4a3c52cdcbbdd1a87d91de402c7ebd5ef43" +
		"768ae6c91eef6a1ce245f53e20e17cbd37fda453820df941ec6dbe4f6c3dc153" +
		"23e97ccf2d56af286a9c75dfd23b3f7ac3b2a1d07a59cd8df2fcd9b4678634d1" +
		"cab2085eb84ce02bf7d50fa9f5edb9ac6ecf76dd75fe221b084dc24691a60409"
	deviceAuthorityQ = "b83f6aee7431f521f991e80aaed7ca6f0cd14f658541beeb90c40b325856ec08" +
		"eb43e440a38e6507ef6ab085eebc18355e2ba09685c9a99476b94f596900be1e" +
		"1118e8cf7332eaebc75716a9262865eab94f961c0069d63e84f3f969733f4326" +
		"a42efa5c6e08b8312d6aa9ed48e1f4f93fd85e5923718f82a1f33b66362ddbe9"
	userAuthorityP = "e414f7b2c88599c081c2f42f16ca9a254a1d6b39d03c77fcdc38c3d65e3a05a0" +
		"cf39ada61f98abab47aeb997617676c4966ff23bf49628ea78557dc5adc98456" +
		"bab354090247f3c61627b3982459807b4bcea10435b456bffe05d88df7b73c9c" +
		"8a72dd924158c27def0ff829bdb286f778680ea75a12dc60a10714bb44d197bf"
	userAuthorityQ = "e1a9890435ff32045f9a45f63e4689db2e49073d84b9897f4898df2965e22d89" +
		"e116fc6e9837ec090ec2bc9a90d65d15dd6d58b85083fd849c2a8af5d380c0bd" +
		"88dd296b0274640482c6f18679c6827b2f8269c3fd80a5255f30675d9498a9e9" +
		"1a35cbbcac0ae6ad3479a73f90b3efd6475939dae2ccd82622f1b63a80c7388f"
	outsideIssuerP = "e21f4a97cbea7e730da7231af10a614bbd8e4b5ec4283023259f46e6959a6d34" +
		"baeebc941f473b5348faaf4814a4b9080af54f1f7487c23977173f9c8fba3f50" +
		"5847673ddb3488cbf81cbc42da461a2881a8eff32c94d796c2fb51bab007cfe9" +
		"be7d12cdb1da9b1a5fafb0ab84a95ef0279a57d58f0f7f9505813cc3ab286dfb"
	outsideIssuerQ = "d222f750365b9c503ab8db3e6adb309e0412271805cbdafab12c79bf4e16aaa1" +
		"77a61cb84775306469c35e01861441880b11835f734e10cc7f3e63058a4b57ea" +
		"b431028b227611a745179ebdec04663c0e3c59a2bbc3f4300d59116dc3e53e03" +
		"387d1f41a56bf448d3c80d3fa8d83cad5c010bcb4f4648ab126647ead28bee5f"
)
