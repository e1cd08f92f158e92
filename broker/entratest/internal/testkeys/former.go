package testkeys

import (
	"crypto/rsa"
	"math/big"
	"sync"
)

// FormerDeviceAuthority returns the public half of the key that earlier versions used
// to sign device certificates. Devices in a tenant saved by such a version have
// certificates from it.
func FormerDeviceAuthority() *rsa.PublicKey { return formerDeviceAuthority() }

var formerDeviceAuthority = sync.OnceValue(func() *rsa.PublicKey {
	n, ok := new(big.Int).SetString(formerDeviceAuthorityModulus, 16)
	if !ok {
		panic("testkeys: the modulus of the former device authority is not a number")
	}
	return &rsa.PublicKey{N: n, E: exponent}
})

const formerDeviceAuthorityModulus = "" +
	"b1f56fe1e716749049c19fd124e9343420a458231d4a285ea8073a23dffe9fa2" +
	"414873b08d1e70e80c5ed2efe7d00aaa5a7ee270e6bcff825bd064bddf247b1a" +
	"93d715571f9b434b506af0033afc233f7cd0d0e58362a55930b1d3fd1077980e" +
	"a8e1938aa3feac8426ec531a813a5d0bf7f10e4f9c04672547828341159fbef9" +
	"e658efec190483216835bbb6fcd36457f5798c39b9892149f89fa30851aa3e60" +
	"ea6ae1a7b7bb8c6ec69a10aadfed522bb045322c9949e51406d6da62e2d6210a" +
	"9a91d4c353df924b85f2bb2e853ebe68480f19122c785ee7d5f69d0d09f942d5" +
	"b6abc15c206a69e10c2ed4de9c8663792b305c3338da6fbbe5b77e7231225f31"
